package main

import (
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/gateway"
)

// mistakes are requests of which llama-server says 500, nothing, or not which field is
// wrong. Each is the client's fault, and named.
func mistakes() []struct{ path, more, param string } {
	const (
		completion = `"prompt":"hi","n_predict":5,`
		hi         = `"messages":[{"role":"user","content":"hi"}],"max_tokens":5,`
		call       = hi + `"tool_choice":"required","logit_bias":{"99":100},`
	)
	user := func(content string) string {
		return `"messages":[{"role":"user","content":` + content + `}],"max_tokens":5`
	}
	tool := func(schema string) string {
		return `"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"x":` + schema + `},"required":["x"]}}}]`
	}
	return []struct{ path, more, param string }{
		{"/detokenize", `"tokens":[-1]`, "tokens"},
		{"/detokenize", `"tokens":[1,4096]`, "tokens"},
		{"/detokenize", `"tokens":[1.5]`, "tokens"},
		{"/detokenize", `"tokens":["1"]`, "tokens"},
		{"/detokenize", `"tokens":[[1]]`, "tokens"},
		{"/detokenize", `"tokens":5`, "tokens"},
		{"/tokenize", `"content":["a",-1],"with_pieces":true`, "content"},
		{"/tokenize", `"content":[4096],"with_pieces":true`, "content"},
		{"/completion", `"prompt":[4294967297],"n_predict":2`, "prompt"},
		{"/v1/completions", `"prompt":[[1],[-1]],"max_tokens":2`, "prompt"},

		{"/completion", completion + `"grammar":"root ::= [z-a]"`, "grammar"},
		{"/completion", completion + `"grammar":"root ::= <[4097]>"`, "grammar"},
		{"/completion", completion + `"grammar":"root ::= <zzz>"`, "grammar"},
		{"/completion", completion + `"grammar":"root ::= \"a\" <[5]>"`, "grammar"},
		{"/v1/completions", `"prompt":"hi","grammar":"root ::= \"a\" <[5]>"`, "grammar"},
		{chatPath, hi + `"grammar":"root ::= \"a\" <[5]>"`, "grammar"},
		{chatPath, hi + `"json_schema":{},"grammar":"root ::= \"a\""`, "grammar"},
		{"/completion", completion + `"json_schema":{"type":"string","pattern":"^[z-a]$"}`, "json_schema"},
		{"/completion", completion + `"json_schema":{"type":"string","pattern":"^(a$"}`, "json_schema"},
		{"/completion", completion + `"json_schema":{"type":"integer","minimum":5,"maximum":1}`, "json_schema"},
		{"/completion", completion + `"json_schema":{"type":"odd"}`, "json_schema"},
		{chatPath, hi + `"response_format":{"type":"json_schema","json_schema":{"schema":{"enum":[]}}}`, "response_format"},
		{"/v1/responses", `"input":"hi","text":{"format":{"type":"json_schema","name":"x","schema":{"type":"odd"}}}`, "text"},
		{"/v1/messages", hi + `"output_config":{"format":{"type":"json_schema","schema":{"type":"odd"}}}`, "output_config"},

		{chatPath, hi + `"tools":5`, "tools"},
		{chatPath, hi + `"tools":[{}]`, "tools"},
		{chatPath, hi + `"tools":[{"type":"function","function":{"name":5}}]`, "tools"},
		{chatPath, call + tool(`{"type":"string","pattern":"^[z-a]$"}`), "tools"},
		{chatPath, call + tool(`{"type":"odd"}`), "tools"},

		{chatPath, user(`[{"type":"text","text":5}]`), "messages[0].content[0].text"},
		{chatPath, user(`[{"type":"image_url","image_url":{"url":"data:image/png;base64,xx"}}]`), "messages[0].content[0]"},
		{"/apply-template", `"messages":[{"role":5,"content":"a"}]`, "messages[0].role"},
		{"/v1/messages/count_tokens", `"messages":[{"role":"user","content":[{"type":"text"}]}]`, "messages"},
		{chatPath, hi + `"reasoning_format":"odd"`, "reasoning_format"},
		{chatPath, hi + `"reasoning_format":""`, "reasoning_format"},
		{chatPath, hi + `"tools":0`, "tools"},
		{"/apply-template", hi + `"tools":""`, "tools"},
		{"/v1/messages/count_tokens", `"system":"a"`, "messages"},
		{"/v1/messages/count_tokens", `"messages":[{"role":"user","content":[{"type":"text","text":null}]}]`, "messages"},

		{chatPath, `"messages":[{"content":"a"}]`, "messages[0].role"},
		{chatPath, `"messages":[{"role":"user","content":"a"},{"role":"robot","content":"a"}]`, "messages[1].role"},
		{chatPath, `"messages":[{"role":"user"}]`, "messages[0].content"},
		{chatPath, `"messages":[{"role":"assistant"}]`, "messages[0].content"},
		{chatPath, user(`[{"type":"input_audio","input_audio":{"data":"x"}}]`), "messages[0].content[0]"},
		{chatPath, user(`[{"type":"smell"}]`), "messages[0].content[0].type"},
		{chatPath, hi + `"seed":"x"`, "seed"},
		{chatPath, hi + `"min_keep":{}`, "min_keep"},
		{chatPath, hi + `"samplers":[1]`, "samplers"},
		{chatPath, hi + `"adaptive_decay":"x"`, "adaptive_decay"},
		{chatPath, hi + `"thinking_budget_tokens":"x","sse_ping_interval":"y"`, "sse_ping_interval"},
		{chatPath, hi + `"n":99`, "n"},
		{chatPath, hi + `"max_tokens":-2`, "max_tokens"},
		{chatPath, hi + `"top_p":1.5`, "top_p"},
		{chatPath, hi + `"top_logprobs":2`, "top_logprobs"},
		{chatPath, hi + `"logprobs":true,"top_logprobs":21`, "top_logprobs"},
		{chatPath, hi + `"stream_options":{"include_usage":"x"}`, "stream_options.include_usage"},
		{chatPath, hi + `"logit_bias":{"999999":1}`, "logit_bias.999999"},
		{chatPath, hi + `"response_format":{"type":"xml"}`, "response_format.type"},
		{"/v1/responses", `"input":"hi","text":{"format":{"type":"xml"}}`, "text"},
		{"/v1/messages", hi + `"stop_sequences":[5]`, "stop_sequences[0]"},
		{"/v1/completions", `"prompt":"hi","best_of":2,"stream":true`, "best_of"},
		{"/v1/completions", `"prompt":"hi","best_of":9`, "best_of"},
		{"/v1/completions", `"prompt":"hi","n":2,"best_of":1`, "best_of"},
		{"/v1/completions", `"prompt":"hi","echo":true,"logprobs":0`, "logprobs"},
		{"/v1/completions", `"prompt":[1,"a"],"echo":true`, "echo"},
		{"/v1/completions", `"prompt":"hi","suffix":"x"`, "suffix"},
		{"/completion", completion + `"temperature":"x"`, "temperature"},
		{"/tokenize", `"content":{}`, "content"},
		{"/tokenize", `"content":[true]`, "content[0]"},
	}
}

// TestNullsMeanNothing: a field that is null is as if it were not there, also where llama-server takes it for said.
func TestNullsMeanNothing(t *testing.T) {
	t.Parallel()
	g := serve(t, toolsConfig(t))
	call := `{"id":null,"type":"function","function":{"name":"f","arguments":"{}"}}`
	for path, body := range map[string]string{
		chatPath: `"messages":[{"role":"user","content":"hi","name":null},{"role":"assistant","content":null,"tool_calls":[` + call +
			`],"refusal":null,"reasoning_content":null},{"role":"tool","content":"x","tool_call_id":null}],"max_tokens":2,` +
			`"reasoning_format":null,"grammar":null,"tool_choice":null,"continue_final_message":null,"stop":[null],"logit_bias":null,` +
			`"tools":[{"type":"function","function":{"name":"f"}}]`,
		"/v1/completions": `"prompt":"hi","max_tokens":2,"suffix":null,"best_of":null,"echo":null,"logprobs":null`,
		"/v1/messages": `"messages":[{"role":"user","content":"hi"}],"max_tokens":2,"system":null,"output_config":` +
			`{"format":{"type":"json_schema","schema":null}}`,
		"/apply-template": `"messages":[{"role":"user","content":"hi","name":null}],"tools":null`,
		"/tokenize":       `"content":null`,
	} {
		if status, text := g.post(path, `{"model":"coding",`+body+`}`); status != 200 {
			t.Errorf("%s: %d %.300s", path, status, text)
		}
	}
}

// TestMistakesAreTheClients: what llama-server cannot make anything of is a 400 that names
// the field, whether it or the gateway finds it, and costs no worker.
func TestMistakesAreTheClients(t *testing.T) {
	t.Parallel()
	g := serve(t, toolsConfig(t))
	pid := g.workerPIDs(1)[0]
	for _, m := range mistakes() {
		status, text := g.post(m.path, `{"model":"coding",`+m.more+`}`)
		named := strings.Contains(text, `"param":"`+m.param) || strings.HasPrefix(m.path, "/v1/messages") &&
			(strings.Contains(text, `\"`+m.param) || strings.Contains(text, `"`+m.param+`:`))
		if strings.Contains(text, "exception") {
			t.Errorf("%s %s: %.300s", m.path, m.more, text)
		}
		if status != 400 || !strings.Contains(text, `"type":"invalid_request_error"`) || !named {
			t.Errorf("%s %s: %d %.300s", m.path, m.more, status, text)
		}
	}
	// llama-server comes to it in the middle of the stream.
	status, text := g.post("/completion", `{"model":"coding","prompt":"hi","stream":true,"grammar":"root ::= \"ab\" <[5]>"}`)
	events := strings.Split(strings.TrimSpace(text), "\n\n")
	if last := events[len(events)-1]; status != 200 || len(events) < 2 ||
		!strings.Contains(last, `"invalid_request_error","param":"grammar"`) {
		t.Errorf("streamed: %d %s", status, text)
	}
	if status, text := g.post(chatPath, chat("coding", "hi", `,"max_tokens":4`)); status != 200 || !gateway.Runs(pid) {
		t.Errorf("afterwards: %d %.300s", status, text)
	}
}
