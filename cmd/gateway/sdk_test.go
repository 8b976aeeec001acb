package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	community "github.com/sashabaranov/go-openai"

	"github.com/loragate/loragate/internal/llamatest"
)

// TestSDKs drives the gateway with the clients that people have, against the
// real llama-server.
func TestSDKs(t *testing.T) {
	g := serve(t, realConfig(t, 1, 4))
	t.Run("openai-go", func(t *testing.T) { testOpenAIGo(t, g) })
	t.Run("go-openai", func(t *testing.T) { testGoOpenAI(t, g) })
	t.Run("openai for Node", func(t *testing.T) { testOpenAINode(t, g) })
}

const sdkQuestion = "How do I sort a list?"

func testOpenAIGo(t *testing.T, g *gatewayProcess) {
	client := openai.NewClient(option.WithBaseURL(g.url+"/v1"), option.WithAPIKey("unused"), option.WithMaxRetries(0))
	ctx := t.Context()

	var ids []string
	models := client.Models.ListAutoPaging(ctx)
	for models.Next() {
		ids = append(ids, models.Current().ID)
	}
	if err := models.Err(); err != nil || !slices.Contains(ids, "coding") || !slices.Contains(ids, "demo") {
		t.Errorf("models %v, %v", ids, err)
	}

	params := openai.ChatCompletionNewParams{
		Model:       "coding",
		Messages:    []openai.ChatCompletionMessageParamUnion{openai.UserMessage(sdkQuestion)},
		MaxTokens:   openai.Int(16),
		Temperature: openai.Float(0),
	}
	answer, err := client.Chat.Completions.New(ctx, params)
	if err != nil {
		t.Fatal(err)
	}
	if answer.Model != "coding" || answer.Choices[0].Message.Content == "" || answer.Usage.CompletionTokens == 0 {
		t.Errorf("answer %+v", answer)
	}
	stream := client.Chat.Completions.NewStreaming(ctx, params)
	var text strings.Builder
	for stream.Next() {
		for _, c := range stream.Current().Choices {
			text.WriteString(c.Delta.Content)
		}
	}
	if err := stream.Err(); err != nil || text.String() != answer.Choices[0].Message.Content {
		t.Errorf("streamed %q, %v; whole %q", text.String(), err, answer.Choices[0].Message.Content)
	}

	params.Model = "nope"
	_, err = client.Chat.Completions.New(ctx, params)
	var failure *openai.Error
	if !errors.As(err, &failure) || failure.StatusCode != http.StatusNotFound || failure.Code != "model_not_found" {
		t.Errorf("unknown model: %v", err)
	}
	params.Model, params.Messages = "demo", nil
	_, err = client.Chat.Completions.New(ctx, params)
	if !errors.As(err, &failure) || failure.StatusCode != http.StatusBadRequest || failure.Type != "invalid_request_error" {
		t.Errorf("bad request: %v", err)
	}
}

func testGoOpenAI(t *testing.T, g *gatewayProcess) {
	config := community.DefaultConfig("unused")
	config.BaseURL = g.url + "/v1"
	client := community.NewClientWithConfig(config)
	ctx := t.Context()

	list, err := client.ListModels(ctx)
	if err != nil || !slices.ContainsFunc(list.Models, func(m community.Model) bool { return m.ID == "legal" }) {
		t.Errorf("models %+v, %v", list.Models, err)
	}
	request := community.ChatCompletionRequest{
		Model:               "chat",
		Messages:            []community.ChatCompletionMessage{{Role: "user", Content: sdkQuestion}},
		MaxCompletionTokens: 16,
	}
	answer, err := client.CreateChatCompletion(ctx, request)
	if err != nil || answer.Model != "chat" || answer.Choices[0].Message.Content == "" {
		t.Errorf("answer %+v, %v", answer, err)
	}
	if err := readCommunityStream(ctx, client, request); err != nil {
		t.Errorf("stream: %v", err)
	}
	request.Model = "nope"
	_, err = client.CreateChatCompletion(ctx, request)
	var failure *community.APIError
	if !errors.As(err, &failure) || failure.HTTPStatusCode != http.StatusNotFound || failure.Code != "model_not_found" {
		t.Errorf("unknown model: %v", err)
	}
	request.Model, request.Messages = "demo", nil
	if _, err = client.CreateChatCompletion(ctx, request); !errors.As(err, &failure) || failure.HTTPStatusCode != http.StatusBadRequest {
		t.Errorf("bad request: %v", err)
	}
}

func readCommunityStream(ctx context.Context, client *community.Client, request community.ChatCompletionRequest) error {
	stream, err := client.CreateChatCompletionStream(ctx, request)
	if err != nil {
		return err
	}
	defer stream.Close()
	for n := 0; ; n++ {
		switch _, err := stream.Recv(); {
		case errors.Is(err, io.EOF) && n > 1:
			return nil
		case err != nil:
			return err
		}
	}
}

func testOpenAINode(t *testing.T, g *gatewayProcess) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("no Node here: the test with OpenAI's Node SDK did not run")
	}
	dir := filepath.Join(llamatest.Root(), "test", "sdk", "node")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "openai")); err != nil {
		t.Fatalf("the Node SDK is not installed (%v): run `make node-modules`", err)
	}
	cmd := exec.CommandContext(t.Context(), node, "--test", "openai.test.mjs")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GATEWAY_URL="+g.url)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
