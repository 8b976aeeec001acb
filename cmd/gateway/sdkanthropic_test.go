package main

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
)

func anthropicClient(g *gatewayProcess, key string, more ...anthropicoption.RequestOption) anthropic.Client {
	return anthropic.NewClient(append([]anthropicoption.RequestOption{
		anthropicoption.WithBaseURL(g.url), anthropicoption.WithAPIKey(key), anthropicoption.WithMaxRetries(0),
	}, more...)...)
}

func anthropicParams(model anthropic.Model) anthropic.MessageNewParams {
	return anthropic.MessageNewParams{
		Model: model, MaxTokens: 16, Temperature: anthropic.Float(0),
		Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock(sdkQuestion))},
	}
}

func endlessAnthropic() (anthropic.MessageNewParams, anthropicoption.RequestOption) {
	params := anthropicParams("chat")
	params.MaxTokens = 900
	return params, anthropicoption.WithJSONSet("ignore_eos", true)
}

var anthropicGo = map[string]func(*testing.T, *gatewayProcess){
	"answers": func(t *testing.T, g *gatewayProcess) {
		client := anthropicClient(g, sdkKey)
		m, err := client.Messages.New(t.Context(), anthropicParams("coding"))
		if err != nil {
			t.Fatal(err)
		}
		if m.Model != "coding" || len(m.Content) != 1 || m.Content[0].Text == "" || m.StopReason != "max_tokens" ||
			m.Usage.OutputTokens != 16 {
			t.Errorf("%+v", m)
		}
	},
	"streams": func(t *testing.T, g *gatewayProcess) {
		client := anthropicClient(g, sdkKey)
		whole, err := client.Messages.New(t.Context(), anthropicParams("coding"))
		if err != nil {
			t.Fatal(err)
		}
		var streamed anthropic.Message
		stream := client.Messages.NewStreaming(t.Context(), anthropicParams("coding"))
		for stream.Next() {
			if err := streamed.Accumulate(stream.Current()); err != nil {
				t.Fatal(err)
			}
		}
		if err := stream.Err(); err != nil || len(streamed.Content) != 1 ||
			streamed.Content[0].Text != whole.Content[0].Text {
			t.Errorf("streamed %+v, %v; whole %+v", streamed, err, whole)
		}
	},
	"tools": func(t *testing.T, g *gatewayProcess) {
		client, params := anthropicClient(g, sdkKey), anthropicParams(caller)
		params.MaxTokens = 100
		params.Tools = []anthropic.ToolUnionParam{{OfTool: &anthropic.ToolParam{
			Name: "weather", InputSchema: anthropic.ToolInputSchemaParam{Properties: citySpec, Required: []string{"city"}},
		}}}
		params.ToolChoice.OfAny = &anthropic.ToolChoiceAnyParam{}
		m, err := client.Messages.New(t.Context(), params)
		if err != nil || m.StopReason != anthropic.StopReasonToolUse {
			t.Fatalf("%+v, %v", m, err)
		}
		call := m.Content[len(m.Content)-1]
		isCity(t, string(call.Input))
		params.Model, params.ToolChoice = "demo", anthropic.ToolChoiceUnionParam{}
		params.Messages = append(params.Messages, m.ToParam(),
			anthropic.NewUserMessage(anthropic.NewToolResultBlock(call.ID, "warm", false)))
		if _, err := client.Messages.New(t.Context(), params); err != nil || call.Name != "weather" {
			t.Errorf("%+v, %v", call, err)
		}
	},
	"structured output": func(t *testing.T, g *gatewayProcess) {
		client, params := anthropicClient(g, sdkKey), anthropicParams("coding")
		params.MaxTokens = 64
		params.OutputConfig.Format = anthropic.JSONOutputFormatParam{Schema: sdkSchema}
		m, err := client.Messages.New(t.Context(), params)
		if err != nil {
			t.Fatal(err)
		}
		isCity(t, m.Content[0].Text)
	},
	"leaving": func(t *testing.T, g *gatewayProcess) {
		client := anthropicClient(g, "anthropic-go-leaves", anthropicoption.WithMaxRetries(5))
		params, endless := endlessAnthropic()
		stream := client.Messages.NewStreaming(t.Context(), params, endless)
		if !stream.Next() {
			t.Fatal(stream.Err())
		}
		stream.Close()
		if _, err := client.Messages.New(t.Context(), anthropicParams("chat")); err != nil {
			t.Error(err)
		}
	},
	"retries": func(t *testing.T, g *gatewayProcess) {
		o := occupy(t, g, "anthropic-go")
		client := anthropicClient(g, "anthropic-go", anthropicoption.WithMaxRetries(5),
			anthropicoption.WithHTTPClient(&http.Client{Transport: o}))
		_, err := client.Messages.New(t.Context(), anthropicParams("coding"))
		o.check(t, err)
	},
	"time-outs": func(t *testing.T, g *gatewayProcess) {
		client := anthropicClient(g, sdkKey)
		params, endless := endlessAnthropic()
		if _, err := client.Messages.New(t.Context(), params, endless,
			anthropicoption.WithRequestTimeout(time.Millisecond)); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	},
	"errors": func(t *testing.T, g *gatewayProcess) {
		client := anthropicClient(g, sdkKey)
		_, err := client.Messages.New(t.Context(), anthropicParams("nope"))
		var failure *anthropic.Error
		if !errors.As(err, &failure) || failure.StatusCode != http.StatusNotFound || failure.RequestID == "" {
			t.Errorf("unknown model: %v", err)
		}
	},
}
