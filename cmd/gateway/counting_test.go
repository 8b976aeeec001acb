package main

import (
	"net/http"
	"strings"
	"testing"
)

// TestCountsAreWhatRuns counts the tokens of bodies, and runs them: it is the same number, with
// what rules put into requests, tools, thinking, and what is left out of them.
func TestCountsAreWhatRuns(t *testing.T) {
	t.Parallel()
	g := serve(t, toolsConfig(t)+`
rules:
  - {match: ruled, model: demo, system: "Be as brief as you can, please.", set: '{"tools": []}'}
  - {match: asked, model: demo, default: '{"system": "You are kind."}', strip: [thinking]}
`)
	const tool = `,"tools":[{"name":"w","description":"the weather","input_schema":{"type":"object","properties":{"c":{"type":"string"}}}},{"type":"bash_20250124","name":"bash"}]`
	const user = `"messages":[{"role":"user","content":"What is rain?"}]`
	for name, more := range map[string]string{
		"plain": user, "tools": user + tool, "a tool": user + tool + `,"tool_choice":{"type":"tool","name":"w"}`,
		"system":   user + `,"system":[{"type":"text","text":"x-anthropic-billing-header: cc_version=1; cch=36ee5;"},{"type":"text","text":"Hi","cache_control":{"type":"ephemeral"}}]`,
		"document": `"messages":[{"role":"user","content":[{"type":"document","title":"T","source":{"type":"text","media_type":"text/plain","data":"It rains."}},{"type":"text","text":"Why?"}]}]`,
		"turns":    `"messages":[{"role":"user","content":"a"},{"role":"user","content":"b"},{"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":""},{"type":"text","text":"c"}]},{"role":"user","content":"d"}]`,
		"results":  `"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"w","input":{"c":"rome"}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","is_error":true,"content":"no"}]}]` + tool,
		"thinking": user + `,"thinking":{"type":"enabled","budget_tokens":1024}`,
	} {
		for _, model := range []string{"demo", "ruled", "asked"} {
			body := `{"model":"` + model + `",` + more
			status, counted := g.post("/v1/messages/count_tokens", body+"}")
			ran, text := g.post("/v1/messages", body+`,"max_tokens":1}`)
			usage := at(parsed(text), "usage")
			cached, _ := at(usage, "cache_read_input_tokens").(float64)
			input, _ := at(usage, "input_tokens").(float64)
			if n := at(parsed(counted), "input_tokens"); ran != status || status == http.StatusOK && n != input+cached {
				t.Errorf("%s of %s: %d %s is counted, and %d %s runs", name, model, status, counted, ran, text)
			}
		}
	}
	const image = `{"model":"demo","messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AA=="}}]}]`
	for _, more := range []string{
		image, `{"model":"demo",` + user + `,"tools":[{"type":"web_search_20250305","name":"web_search"}]`,
		`{"model":"demo","messages":[]`, `{"model":"demo",` + user + tool + `,"tool_choice":{"type":"tool","name":"x"}`,
	} {
		status, counted := g.post("/v1/messages/count_tokens", more+"}")
		ran, text := g.post("/v1/messages", more+`,"max_tokens":1}`)
		if status != ran || status != http.StatusBadRequest || !strings.Contains(counted, `"type":"error"`) {
			t.Errorf("%d %s is counted, and %d %s runs", status, counted, ran, text)
		}
	}
	const chat = `{"model":"ruled",` + user + `,"functions":` + twoFunctions + `,"function_call":{"name":"w"}`
	_, counted := g.post("/v1/chat/completions/input_tokens", chat+"}")
	_, text := g.post(chatPath, chat+`,"max_tokens":1}`)
	if n := at(parsed(counted), "input_tokens"); n == nil || n != at(parsed(text), "usage", "prompt_tokens") {
		t.Errorf("%s is counted, and %s runs", counted, text)
	}
}
