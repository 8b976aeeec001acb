package proxy_test

import (
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/proxy"
	"github.com/loragate/loragate/internal/rawjson"
)

const messagesPath = "/v1/messages"

// TestMessagesThatFail tells Anthropic's clients of failures as Anthropic does.
func TestMessagesThatFail(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	for what, want := range map[string]string{
		"die-at=3":  `{"error":{"message":"The model's process ended while it was answering.","type":"api_error"}`,
		"fail-at=2": `{"error":{"message":"failed as told","type":"api_error"}`,
	} {
		resp, text := s.post(messagesPath, chat("coding", what, `,"stream":true,"max_tokens":9`))
		last := text[strings.LastIndex(text, "event: "):]
		if !strings.HasPrefix(last, "event: error\ndata: "+want) || !strings.HasSuffix(last, "\n\n") ||
			strings.Contains(text, "message_stop") {
			t.Errorf("%s: the last event is %q", what, last)
		}
		if !strings.Contains(last, resp.Header.Get("Request-Id")) || resp.Header.Get("Request-Id") == "" {
			t.Errorf("%s: no request id in %q", what, last)
		}
	}
	for body, status := range map[string]int{
		chat("coding", "refuse=400", `,"max_tokens":9`): 400, chat("nobody", "hi", `,"max_tokens":9`): 404,
		chat("coding", "hi", `,"max_tokens":-1`): 400, `{`: 400,
	} {
		if resp, text := s.post(messagesPath, body); resp.StatusCode != status || !strings.Contains(text, `"type":"error"`) {
			t.Errorf("%s: %d %s, want %d", body, resp.StatusCode, text, status)
		}
	}
}

// TestMessagesGoThroughTheSameMill looks at what the worker gets.
func TestMessagesGoThroughTheSameMill(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	resp, text := s.post(messagesPath, chat("gpt-4o-mini", "echo",
		`,"max_tokens":9,"id_slot":7,"lora":[{"id":9,"scale":5}],"min_p":0.10`))
	if resp.StatusCode != 200 || resp.Header.Get("X-Adapter") != "coding" {
		t.Fatalf("%d %s", resp.StatusCode, text)
	}
	for _, part := range []string{`\"lora\":[{\"id\":0,\"scale\":1}]`, `\"id_slot\":`, `\"min_p\":0.10`,
		`\"model\":\"base\"`, `"model":"gpt-4o-mini"`} {
		if !strings.Contains(text, part) {
			t.Errorf("%s is not in %s", part, text)
		}
	}
	if strings.Contains(text, `\"scale\":5`) || strings.Contains(text, `\"id_slot\":7`) {
		t.Errorf("the client's own adapter or slot reached the worker: %s", text)
	}
}

// TestAnyWorkerAnswersUtilities refuses what makes no sense; cmd/gateway has the
// rest, on the real llama-server.
func TestAnyWorkerAnswersUtilities(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	if resp, text := s.post("/tokenize", `{"model":"nobody","content":"x"}`); resp.StatusCode != 404 {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
	s.proxy.Drain()
	if resp, text := s.post("/tokenize", `{"content":"x"}`); resp.StatusCode != 503 {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
}

// TestRulesGiveNamesMeaning asks by names that only rules know.
func TestRulesGiveNamesMeaning(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.proxy.SetRules([]*proxy.Rule{
		{Match: "gpt-4o*", Model: "coding", Set: []rawjson.Edit{{Key: "top_k", Value: []byte("7")}}},
		{Match: "gpt-*", Model: "nobody"},
		{Match: "coding", Model: "team/legal", Strip: []string{"user"}},
	})
	for _, c := range []struct {
		model   string
		status  int
		adapter string
		says    string
	}{
		{"gpt-4o", 200, "coding", `\"top_k\":7`},
		{"gpt-4o-mini", 200, "coding", `\"top_k\":7`}, // an alias: the rule changes its requests all the same
		{"gpt-3", 404, "", "gpt-3"},
		{"coding", 200, "coding", `"model":"coding"`}, // a model's own name keeps its meaning
		{"claude", 404, "", "claude"},
	} {
		resp, text := s.post(chatPath, chat(c.model, "echo", `,"user":"u"`))
		if resp.StatusCode != c.status || resp.Header.Get("X-Adapter") != c.adapter || !strings.Contains(text, c.says) {
			t.Errorf("%s: %d by %q: %s", c.model, resp.StatusCode, resp.Header.Get("X-Adapter"), text)
		}
		if stripped := !strings.Contains(text, `\"user\":\"u\"`); resp.StatusCode == 200 &&
			stripped != (c.model == "coding") {
			t.Errorf("%s: %s", c.model, text)
		}
	}
}
