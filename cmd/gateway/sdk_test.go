package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	community "github.com/sashabaranov/go-openai"

	"github.com/loragate/loragate/internal/auth"
	"github.com/loragate/loragate/internal/llamatest"
)

const (
	sdkQuestion = "How do I sort a list?"
	sdkKey      = "sdk-key"
	// caller is a model that calls the tool that it is given: a rule makes a brace
	// its first token.
	caller = "calls-tools"
)

// single are keys of tenants that may have one request at once, each for one test.
var single = []string{
	"openai-node-leaves", "openai-node-chat", "openai-node-completions-leaves", "openai-node-completions",
	"openai-node-responses-leaves", "openai-node-responses", "anthropic-node-leaves", "anthropic-node",
	"ai-leaves", "ai", "ai-responses-leaves", "ai-responses", "langchain-leaves", "langchain",
	"openai-go-leaves", "openai-go", "go-openai-leaves", "anthropic-go-leaves", "anthropic-go",
}

// toolsConfig is realConfig with a template that has tools.
func toolsConfig(t *testing.T) string {
	t.Helper()
	template, err := filepath.Abs(filepath.Join("testdata", "tools.jinja"))
	if err != nil {
		t.Fatal(err)
	}
	const plain = `args: ["--threads", "1"]`
	config := realConfig(t, 1, 4)
	if !strings.Contains(config, plain) {
		t.Fatal("the configuration has other arguments")
	}
	return strings.Replace(config, plain, fmt.Sprintf(`args: ["--threads", "1", "--jinja", "--chat-template-file", %q]`,
		template), 1)
}

// sdkConfig is toolsConfig with tenants and embeddings.
func sdkConfig(t *testing.T) string {
	t.Helper()
	config := toolsConfig(t) + fmt.Sprintf(`
embedders: [{name: small, path: %s, args: [--pooling, mean]}]
rules: [{match: %s, model: demo, set: '{"logit_bias": {"99": 100}}'}]
tenants:
  - {name: sdk, keys: [%s]}
`, llamatest.Base(), caller, auth.Hash(sdkKey))
	for _, key := range single {
		config += fmt.Sprintf("  - {name: %s, keys: [%s], concurrency: 1}\n", key, auth.Hash(key))
	}
	return config
}

// TestSDKs drives the gateway with the clients that people have, against the
// real llama-server.
func TestSDKs(t *testing.T) {
	t.Parallel()
	g := serve(t, sdkConfig(t))
	var passed []string
	for client, tests := range map[string]map[string]func(*testing.T, *gatewayProcess){
		"openai-go | /v1/chat/completions": openAIGo, "go-openai | /v1/chat/completions": goOpenAI,
		"anthropic-sdk-go | /v1/messages": anthropicGo,
	} {
		for feature, test := range tests {
			name := client + " | " + feature
			if t.Run(strings.Fields(client)[0]+"/"+feature, func(t *testing.T) { test(t, g) }) {
				passed = append(passed, name)
			}
		}
	}
	t.Run("Node", func(t *testing.T) { checkTable(t, append(passed, testNode(t, g)...)) })
}

// TestSDKsReadSignsOfLife has them read streams whose first events come late enough for some.
func TestSDKsReadSignsOfLife(t *testing.T) {
	t.Parallel()
	g := serve(t, sdkConfig(t)+"limits: {keepalive: 1ms}\n")
	openAIGo["streams"](t, g)
	goOpenAI["streams"](t, g)
	anthropicGo["streams"](t, g)
	if passed := testNode(t, g, "--test-name-pattern", "streams:"); len(passed) < 5 {
		t.Errorf("only %q ran", passed)
	}
}

// testNode runs the tests of test/sdk/node and returns the names of those that
// passed.
func testNode(t *testing.T, g *gatewayProcess, args ...string) (passed []string) {
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
	cmd := exec.CommandContext(t.Context(), node,
		slices.Concat([]string{"--test", "--test-reporter=tap"}, args, files)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GATEWAY_URL="+g.url)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for _, m := range regexp.MustCompile(`(?m)^ok \d+ - (.*)$`).FindAllStringSubmatch(string(out), -1) {
		passed = append(passed, strings.ReplaceAll(m[1], `\`, ""))
	}
	return passed
}

// occupied takes the one place of a tenant with a stream, and gives it back at the
// first 429 that it sees as the transport of an SDK.
type occupied struct {
	release context.CancelFunc

	mu   sync.Mutex
	seen []string
}

func occupy(t *testing.T, g *gatewayProcess, key string) *occupied {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "POST", g.url+chatPath,
		strings.NewReader(chat("chat", sdkQuestion, `,"max_tokens":900,"ignore_eos":true,"stream":true`)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); resp.Body.Close() })
	if _, err := io.ReadFull(resp.Body, make([]byte, 10)); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %v", resp.StatusCode, err)
	}
	return &occupied{release: cancel}
}

func (o *occupied) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	what := fmt.Sprint(resp.StatusCode)
	if resp.StatusCode == http.StatusTooManyRequests {
		what += ", " + resp.Header.Get("Retry-After") + " s"
		o.release()
	}
	o.seen = append(o.seen, what)
	return resp, nil
}

// check wants refusals with Retry-After, then success.
func (o *occupied) check(t *testing.T, err error) {
	t.Helper()
	if err != nil || len(o.seen) < 2 || o.seen[0] != "429, 1 s" || o.seen[len(o.seen)-1] != "200" {
		t.Errorf("%v; answers were %v", err, o.seen)
	}
}

var (
	sdkCities = []string{"Rome", "Oslo"}
	citySpec  = map[string]any{"city": map[string]any{"enum": sdkCities}}
	sdkSchema = map[string]any{"type": "object", "properties": citySpec, "required": []string{"city"},
		"additionalProperties": false}
)

// isCity checks JSON of sdkSchema.
func isCity(t *testing.T, text string) {
	t.Helper()
	var v struct{ City string }
	if err := json.Unmarshal([]byte(text), &v); err != nil || !slices.Contains(sdkCities, v.City) {
		t.Errorf("%q, %v", text, err)
	}
}

func openAIClient(g *gatewayProcess, key string, more ...option.RequestOption) openai.Client {
	return openai.NewClient(append([]option.RequestOption{option.WithBaseURL(g.url + "/v1"), option.WithAPIKey(key),
		option.WithMaxRetries(0)}, more...)...)
}

func openAIParams(model string) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model: model, Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(sdkQuestion)},
		MaxTokens: openai.Int(16), Temperature: openai.Float(0),
	}
}

// endless makes answers go on for so long that nobody waits for their end.
func endlessOpenAI() (openai.ChatCompletionNewParams, option.RequestOption) {
	params := openAIParams("chat")
	params.MaxTokens = openai.Int(900)
	return params, option.WithJSONSet("ignore_eos", true)
}

var openAIGo = map[string]func(*testing.T, *gatewayProcess){
	"answers": func(t *testing.T, g *gatewayProcess) {
		client := openAIClient(g, sdkKey)
		var ids []string
		models := client.Models.ListAutoPaging(t.Context())
		for models.Next() {
			ids = append(ids, models.Current().ID)
		}
		if err := models.Err(); err != nil || !slices.Contains(ids, "coding") || !slices.Contains(ids, "demo") {
			t.Errorf("models %v, %v", ids, err)
		}
		answer, err := client.Chat.Completions.New(t.Context(), openAIParams("coding"))
		if err != nil {
			t.Fatal(err)
		}
		if answer.Model != "coding" || answer.Choices[0].Message.Content == "" || answer.Usage.CompletionTokens != 16 {
			t.Errorf("answer %+v", answer)
		}
	},
	"streams": func(t *testing.T, g *gatewayProcess) {
		client := openAIClient(g, sdkKey)
		whole, err := client.Chat.Completions.New(t.Context(), openAIParams("legal"))
		if err != nil {
			t.Fatal(err)
		}
		stream := client.Chat.Completions.NewStreaming(t.Context(), openAIParams("legal"))
		var acc openai.ChatCompletionAccumulator
		for stream.Next() {
			acc.AddChunk(stream.Current())
		}
		if err := stream.Err(); err != nil || acc.Choices[0].Message.Content != whole.Choices[0].Message.Content {
			t.Errorf("streamed %+v, %v; whole %q", acc.Choices, err, whole.Choices[0].Message.Content)
		}
	},
	"tools": func(t *testing.T, g *gatewayProcess) {
		client, params := openAIClient(g, sdkKey), openAIParams(caller)
		params.MaxTokens = openai.Int(100)
		params.Tools = []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(openai.FunctionDefinitionParam{
			Name: "weather", Description: openai.String("the weather"), Parameters: sdkSchema,
		})}
		params.ToolChoice = openai.ChatCompletionToolChoiceOptionUnionParam{OfAuto: openai.String("required")}
		answer, err := client.Chat.Completions.New(t.Context(), params)
		if err != nil || len(answer.Choices[0].Message.ToolCalls) != 1 || answer.Choices[0].FinishReason != "tool_calls" {
			t.Fatalf("%+v, %v", answer, err)
		}
		call := answer.Choices[0].Message.ToolCalls[0]
		isCity(t, call.Function.Arguments)
		params.Model, params.ToolChoice = "demo", openai.ChatCompletionToolChoiceOptionUnionParam{}
		params.Messages = append(params.Messages, answer.Choices[0].Message.ToParam(), openai.ToolMessage("warm", call.ID))
		if _, err := client.Chat.Completions.New(t.Context(), params); err != nil || call.Function.Name != "weather" {
			t.Errorf("%+v, %v", call, err)
		}
	},
	"structured output": func(t *testing.T, g *gatewayProcess) {
		client, params := openAIClient(g, sdkKey), openAIParams("coding")
		params.MaxTokens = openai.Int(64)
		params.ResponseFormat.OfJSONSchema = &openai.ResponseFormatJSONSchemaParam{
			JSONSchema: openai.ResponseFormatJSONSchemaJSONSchemaParam{Name: "city", Schema: sdkSchema,
				Strict: openai.Bool(true)},
		}
		answer, err := client.Chat.Completions.New(t.Context(), params)
		if err != nil {
			t.Fatal(err)
		}
		isCity(t, answer.Choices[0].Message.Content)
	},
	"leaving": func(t *testing.T, g *gatewayProcess) {
		client := openAIClient(g, "openai-go-leaves", option.WithMaxRetries(5))
		params, endless := endlessOpenAI()
		stream := client.Chat.Completions.NewStreaming(t.Context(), params, endless)
		if !stream.Next() {
			t.Fatal(stream.Err())
		}
		stream.Close()
		if _, err := client.Chat.Completions.New(t.Context(), openAIParams("chat")); err != nil {
			t.Error(err)
		}
	},
	"retries": func(t *testing.T, g *gatewayProcess) {
		o := occupy(t, g, "openai-go")
		client := openAIClient(g, "openai-go", option.WithMaxRetries(5), option.WithHTTPClient(&http.Client{Transport: o}))
		_, err := client.Chat.Completions.New(t.Context(), openAIParams("coding"))
		o.check(t, err)
	},
	"time-outs": func(t *testing.T, g *gatewayProcess) {
		client := openAIClient(g, sdkKey)
		params, endless := endlessOpenAI()
		if _, err := client.Chat.Completions.New(t.Context(), params, endless,
			option.WithRequestTimeout(time.Millisecond)); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	},
	"errors": func(t *testing.T, g *gatewayProcess) {
		client := openAIClient(g, sdkKey)
		_, err := client.Chat.Completions.New(t.Context(), openAIParams("nope"))
		var failure *openai.Error
		if !errors.As(err, &failure) || failure.StatusCode != http.StatusNotFound || failure.Code != "model_not_found" {
			t.Errorf("unknown model: %v", err)
		}
		params := openAIParams("demo")
		params.Messages = nil
		_, err = client.Chat.Completions.New(t.Context(), params)
		if !errors.As(err, &failure) || failure.StatusCode != http.StatusBadRequest ||
			failure.Type != "invalid_request_error" {
			t.Errorf("bad request: %v", err)
		}
	},
}

func communityClient(g *gatewayProcess, key string) *community.Client {
	config := community.DefaultConfig(key)
	config.BaseURL = g.url + "/v1"
	return community.NewClientWithConfig(config)
}

func communityRequest(model string) community.ChatCompletionRequest {
	return community.ChatCompletionRequest{
		Model: model, Messages: []community.ChatCompletionMessage{{Role: "user", Content: sdkQuestion}},
		MaxCompletionTokens: 16,
		Temperature:         math.SmallestNonzeroFloat32, // it leaves 0 out
	}
}

var goOpenAI = map[string]func(*testing.T, *gatewayProcess){
	"answers": func(t *testing.T, g *gatewayProcess) {
		client := communityClient(g, sdkKey)
		list, err := client.ListModels(t.Context())
		if err != nil || !slices.ContainsFunc(list.Models, func(m community.Model) bool { return m.ID == "legal" }) {
			t.Errorf("models %+v, %v", list.Models, err)
		}
		answer, err := client.CreateChatCompletion(t.Context(), communityRequest("chat"))
		if err != nil || answer.Model != "chat" || answer.Choices[0].Message.Content == "" {
			t.Errorf("answer %+v, %v", answer, err)
		}
	},
	"streams": func(t *testing.T, g *gatewayProcess) {
		stream, err := communityClient(g, sdkKey).CreateChatCompletionStream(t.Context(), communityRequest("chat"))
		if err != nil {
			t.Fatal(err)
		}
		defer stream.Close()
		text := ""
		for {
			chunk, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range chunk.Choices {
				text += c.Delta.Content
			}
		}
		if text == "" {
			t.Error("nothing was streamed")
		}
	},
	"tools": func(t *testing.T, g *gatewayProcess) {
		request := communityRequest(caller)
		request.MaxCompletionTokens = 100
		request.Tools = []community.Tool{{Type: community.ToolTypeFunction,
			Function: &community.FunctionDefinition{Name: "weather", Parameters: sdkSchema}}}
		request.ToolChoice = "required"
		answer, err := communityClient(g, sdkKey).CreateChatCompletion(t.Context(), request)
		if err != nil || len(answer.Choices[0].Message.ToolCalls) != 1 ||
			answer.Choices[0].Message.ToolCalls[0].Function.Name != "weather" {
			t.Fatalf("%+v, %v", answer, err)
		}
		isCity(t, answer.Choices[0].Message.ToolCalls[0].Function.Arguments)
	},
	"structured output": func(t *testing.T, g *gatewayProcess) {
		schema, err := json.Marshal(sdkSchema)
		if err != nil {
			t.Fatal(err)
		}
		request := communityRequest("coding")
		request.MaxCompletionTokens = 64
		request.ResponseFormat = &community.ChatCompletionResponseFormat{
			Type: community.ChatCompletionResponseFormatTypeJSONSchema,
			JSONSchema: &community.ChatCompletionResponseFormatJSONSchema{Name: "city", Schema: json.RawMessage(schema),
				Strict: true},
		}
		answer, err := communityClient(g, sdkKey).CreateChatCompletion(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		isCity(t, answer.Choices[0].Message.Content)
	},
	"leaving": func(t *testing.T, g *gatewayProcess) {
		client, request := communityClient(g, "go-openai-leaves"), communityRequest("chat")
		request.MaxCompletionTokens = 900
		stream, err := client.CreateChatCompletionStream(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
		stream.Close()
		for { // it retries nothing by itself
			_, err := client.CreateChatCompletion(t.Context(), communityRequest("chat"))
			var failure *community.APIError
			if err == nil {
				return
			}
			if !errors.As(err, &failure) || failure.HTTPStatusCode != http.StatusTooManyRequests {
				t.Fatal(err)
			}
		}
	},
	"time-outs": func(t *testing.T, g *gatewayProcess) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		request := communityRequest("chat")
		request.MaxCompletionTokens = 900
		if _, err := communityClient(g, sdkKey).CreateChatCompletion(ctx, request); !errors.Is(err,
			context.DeadlineExceeded) {
			t.Error(err)
		}
	},
	"errors": func(t *testing.T, g *gatewayProcess) {
		client := communityClient(g, sdkKey)
		_, err := client.CreateChatCompletion(t.Context(), communityRequest("nope"))
		var failure *community.APIError
		if !errors.As(err, &failure) || failure.HTTPStatusCode != http.StatusNotFound || failure.Code != "model_not_found" {
			t.Errorf("unknown model: %v", err)
		}
		request := communityRequest("demo")
		request.Messages = nil
		if _, err = client.CreateChatCompletion(t.Context(), request); !errors.As(err, &failure) ||
			failure.HTTPStatusCode != http.StatusBadRequest {
			t.Errorf("bad request: %v", err)
		}
	},
}
