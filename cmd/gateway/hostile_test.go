package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/gateway"
)

// hostile are requests that end or block a llama-server that gets them, or take its
// memory, and honest ones that look like them.
func hostile() map[string]struct {
	path, more string
	status     int
} {
	type request = struct {
		path, more string
		status     int
	}
	quote := func(text string) string { raw, _ := json.Marshal(text); return string(raw) }
	grammar := func(text string, status int) request {
		return request{"/completion", `"prompt":"hi","n_predict":5,"grammar":` + quote(text), status}
	}
	schema := func(text string, status int) request {
		return request{"/completion", `"prompt":"hi","n_predict":5,"json_schema":` + text, status}
	}
	field := func(text string, status int) request {
		return request{"/completion", `"prompt":"hi","n_predict":5,` + text, status}
	}
	parens := func(n int) string { return strings.Repeat("(", n) + `"a"` + strings.Repeat(")", n) }
	words := func(n int) string { return strings.TrimSuffix(strings.Repeat(`"zz",`, n), ",") }
	tool := `{"type":"function","function":{"name":"f%d","description":"as in {\"a\": [{\"b\": [","parameters":{"type":"object","properties":{"x":{"type":"string","enum":["[["]}}}}}`
	var tools []string
	for i := range 45 {
		tools = append(tools, fmt.Sprintf(tool, i))
	}
	doubled := "root ::= r0\n"
	for i := range 40 {
		doubled += fmt.Sprintf("r%d ::= r%d | r%d\n", i, i+1, i+1)
	}
	chat := `"messages":[{"role":"user","content":"hi"}],"max_tokens":5`
	return map[string]request{
		"brackets in a comment":      grammar("root ::= \"a\" # "+strings.Repeat(")", 21000)+"\nx ::= "+parens(21000), 400),
		"brackets in a string":       grammar(`root ::= "`+strings.Repeat(")", 21000)+`" `+parens(21000), 400),
		"smileys":                    grammar("root ::= "+strings.Repeat(`":(" `, 130), 200),
		"crossed counts":             grammar(`root ::= "a"{3,1}`, 400),
		"crossed counts in brackets": grammar(`root ::= ("a" | "b"){9,0}`, 400),
		"a long text, repeated":      grammar(`root ::= "`+strings.Repeat("a", 30000)+`"{1999}`, 400),
		"a count":                    grammar(`root ::= "a"{1999}`, 200),
		"hidden left recursion":      grammar("root ::= e root \"a\" | \"a\"\ne ::= \"b\"?", 400),
		"left rules that double":     grammar(doubled+`r40 ::= "a"`, 400),
		"nested stars":               grammar(`root ::= (("a"*)*)*`, 200),
		"1500 optional letters":      grammar("root ::= "+strings.Repeat(`"a"? `, 1500)+`"b"`, 400),
		"stacks that double":         grammar(`root ::= "a" root "b" | "a" root "c" | "a"`, 400),
		"crossed lengths":            schema(`{"type":"string","minLength":40,"maxLength":5}`, 400),
		"crossed sizes":              schema(`{"type":"array","items":{},"minItems":40,"maxItems":5}`, 400),
		"a long string":              schema(`{"type":"string","maxLength":100000}`, 200),
		"a crossed pattern":          schema(`{"type":"string","pattern":"^a{3,1}$"}`, 400),
		"a pattern of optional":      schema(`{"type":"string","pattern":"^((a?){999}){999}$"}`, 400),
		"an honest pattern":          schema(`{"type":"string","pattern":"^[A-Z]{2}[0-9]{4}$"}`, 200),
		"a cycle":                    schema(`{"$defs":{"a":{"$ref":"#/$defs/a"}},"allOf":[{"$ref":"#/$defs/a"}]}`, 200), // says nothing
		"a remote reference":         schema(`{"$ref":"https://127.0.0.1:1/x"}`, 400),
		"a tree":                     schema(`{"$defs":{"n":{"type":"object","properties":{"n":{"$ref":"#/$defs/n"}}}},"$ref":"#/$defs/n"}`, 200),
		"types that double": schema(strings.Repeat(`{"type":["array","array"],"items":`,
			24)+"{}"+strings.Repeat("}", 24), 400),
		"brackets in an enum": schema(`{"enum":["[[","{{"]}`, 200),
		"a format":            {chatPath, chat + `,"response_format":{"type":"json_schema","json_schema":{"schema":{"type":"string","minLength":9,"maxLength":1}}}`, 400},
		"45 tools":            {chatPath, chat + `,"tools":[` + strings.Join(tools, ",") + `]`, 200},
		"a crossed tool":      {chatPath, chat + `,"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"x":{"type":"string","minLength":9,"maxLength":1}}}}}]`, 400},
		"a crossed tool of messages": {"/v1/messages",
			chat + `,"tools":[{"name":"f","input_schema":{"type":"object","properties":{"x":{"type":"string","minLength":9,"maxLength":1}}}}]`, 400},
		"a crossed response": {"/v1/responses",
			`"input":"hi","text":{"format":{"type":"json_schema","name":"x","schema":{"type":"string","minLength":9,"maxLength":1}}}`, 400},
		"10,000 breakers":      field(`"dry_multiplier":1,"dry_sequence_breakers":[`+words(10_000)+`]`, 400),
		"breakers":             field(`"dry_multiplier":1,"dry_sequence_breakers":["\n",":"]`, 200),
		"a long memory":        field(`"repeat_penalty":1.1,"repeat_last_n":400000000`, 400),
		"a long memory of DRY": field(`"dry_multiplier":1,"dry_penalty_last_n":400000000`, 400),
		"a memory":             field(`"repeat_penalty":1.1,"repeat_last_n":256`, 200),
		"all probabilities":    field(`"n_probs":1000000`, 400),
		"some probabilities":   field(`"n_probs":20`, 200),
		"10,000 samplers": field(`"repeat_penalty":1.5,"samplers":[`+strings.ReplaceAll(words(10_000), "zz",
			"penalties")+`]`, 400),
		"100,000 stops": field(`"stop":[`+words(100_000)+`]`, 400),
	}
}

// TestWorkersSurviveHostileRequests sends each to a real llama-server through the
// gateway: the worker stays the same, and serves what follows.
func TestWorkersSurviveHostileRequests(t *testing.T) {
	t.Parallel()
	g := serve(t, realConfig(t, 1, 2))
	pid := g.workerPIDs(1)[0]
	for name, request := range hostile() {
		status, text := g.post(request.path, `{"model":"coding",`+request.more+`}`)
		if status != request.status {
			t.Errorf("%s: %d %.300s", name, status, text)
		}
		if status, text := g.post(chatPath, chat("coding", "hi", `,"max_tokens":4`)); status != 200 {
			t.Errorf("after %s: %d %.300s", name, status, text)
		}
		if !gateway.Runs(pid) {
			t.Fatalf("%s ended the worker", name)
		}
	}
	state, err := adminState(g.adminURL())
	if err != nil || len(state.Workers) != 1 || state.Workers[0].PID != pid {
		t.Errorf("the worker was replaced: %+v, %v", state.Workers, err)
	}
}
