package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	community "github.com/sashabaranov/go-openai"

	"github.com/loragate/loragate/internal/llamatest"
)

// TestSDKs drives the gateway with the clients that people have, against the
// real llama-server.
func TestSDKs(t *testing.T) {
	g := serve(t, realConfig(t, 1, 4))
	var passed []string
	for name, test := range map[string]func(*testing.T, *gatewayProcess){
		"openai-go | /v1/chat/completions | answers, streams, an unknown model and a bad request are its own errors": testOpenAIGo,
		"go-openai | /v1/chat/completions | answers, streams, an unknown model and a bad request are its own errors": testGoOpenAI,
		"anthropic-sdk-go | /v1/messages | answers, streams, an unknown model is its own error":                      testAnthropicGo,
	} {
		if t.Run(strings.Fields(name)[0], func(t *testing.T) { test(t, g) }) {
			passed = append(passed, name)
		}
	}
	t.Run("Node", func(t *testing.T) { checkTable(t, append(passed, testNode(t, g)...)) })
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

// testNode runs the tests of test/sdk/node, whose names are "SDK | endpoint |
// what", and returns them.
func testNode(t *testing.T, g *gatewayProcess) (passed []string) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("no Node here: the tests with Node's SDKs did not run")
	}
	dir := filepath.Join(llamatest.Root(), "test", "sdk", "node")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "openai")); err != nil {
		t.Fatalf("the Node SDKs are not installed (%v): run `make node-modules`", err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.test.mjs"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), node, append([]string{"--test", "--test-reporter=tap"}, files...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GATEWAY_URL="+g.url)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for _, m := range regexp.MustCompile(`(?m)^ok \d+ - (.*)$`).FindAllStringSubmatch(string(out), -1) {
		passed = append(passed, m[1])
	}
	return passed
}

// compatibility is the file with the table of what the SDKs did.
var compatibility = filepath.Join(llamatest.Root(), "docs", "compatibility.md")

// checkTable holds the table in the docs to the tests that passed; with
// LORAGATE_UPDATE set it writes it.
func checkTable(t *testing.T, passed []string) {
	const begin, end = "<!-- made by TestSDKs -->\n", "<!-- end -->\n"
	var rows strings.Builder
	rows.WriteString("| SDK | endpoint | what was done |\n| --- | --- | --- |\n")
	byPlace := map[string][]string{}
	for _, name := range passed {
		parts := strings.SplitN(name, " | ", 3)
		if len(parts) != 3 {
			t.Fatalf("the test %q is not named SDK | endpoint | what", name)
		}
		place := "| " + parts[0] + " | `" + parts[1] + "`"
		byPlace[place] = append(byPlace[place], parts[2])
	}
	for _, place := range slices.Sorted(maps.Keys(byPlace)) {
		fmt.Fprintf(&rows, "%s | %s |\n", place, strings.Join(byPlace[place], "; "))
	}
	text, err := os.ReadFile(compatibility)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	old, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no place for the table", compatibility)
	}
	switch {
	case old == rows.String():
	case os.Getenv("LORAGATE_UPDATE") == "":
		t.Errorf("%s is not what the tests showed; LORAGATE_UPDATE=1 writes\n%s", compatibility, rows.String())
	default:
		if err := os.WriteFile(compatibility, []byte(before+begin+rows.String()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// testAnthropicGo drives the Messages API with Anthropic's own client.
func testAnthropicGo(t *testing.T, g *gatewayProcess) {
	client := anthropic.NewClient(anthropicoption.WithBaseURL(g.url), anthropicoption.WithAPIKey("unused"), anthropicoption.WithMaxRetries(0))
	params := anthropic.MessageNewParams{
		Model: "coding", MaxTokens: 16, Temperature: anthropic.Float(0),
		Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock(sdkQuestion))},
	}
	whole, err := client.Messages.New(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	if whole.Model != "coding" || len(whole.Content) != 1 || whole.Content[0].Text == "" || whole.StopReason != "max_tokens" || whole.Usage.OutputTokens != 16 {
		t.Errorf("%+v", whole)
	}
	var streamed anthropic.Message
	stream := client.Messages.NewStreaming(t.Context(), params)
	for stream.Next() {
		if err := streamed.Accumulate(stream.Current()); err != nil {
			t.Fatal(err)
		}
	}
	if err := stream.Err(); err != nil || len(streamed.Content) != 1 || streamed.Content[0].Text != whole.Content[0].Text {
		t.Errorf("streamed %+v, %v; whole %+v", streamed, err, whole)
	}
	params.Model = "nope"
	_, err = client.Messages.New(t.Context(), params)
	var failure *anthropic.Error
	if !errors.As(err, &failure) || failure.StatusCode != http.StatusNotFound || failure.RequestID == "" {
		t.Errorf("unknown model: %v", err)
	}
}
