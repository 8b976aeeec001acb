package proxy

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/loragate/loragate/internal/rawjson"
)

func edit(key, value string) rawjson.Edit {
	return rawjson.Edit{Key: key, Value: json.RawMessage(value)}
}

// TestRulesChangeRequests applies rules to bodies of every API.
func TestRulesChangeRequests(t *testing.T) {
	params := &Rule{Set: []rawjson.Edit{edit("temperature", "0.2")},
		Default: []rawjson.Edit{edit("max_tokens", "512"), edit("seed", "1")}, Strip: []string{"logit_bias", "temperature"}}
	system := &Rule{System: "Be brief."}
	short := &Rule{Set: []rawjson.Edit{edit("max_tokens", "5"), edit("stop", `["."]`)}}
	usual := &Rule{Default: []rawjson.Edit{edit("n_predict", "5")}}
	unbound := &Rule{Strip: []string{"max_output_tokens"}}
	for _, c := range []struct {
		rule             *Rule
		path, body, want string
	}{
		{params, "/v1/chat/completions", `{"temperature":1,"logit_bias":{},"max_tokens":5,"seed":null,"big":12345678901234567890}`,
			`{"temperature":0.2,"max_tokens":5,"seed":1,"big":12345678901234567890}`},
		{params, "/v1/completions", `{}`, `{"temperature":0.2,"max_tokens":512,"seed":1}`},
		{system, "/v1/chat/completions", `{"messages":[{"role":"user","content":"Hi"}]}`,
			`{"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hi"}]}`},
		{system, "/v1/chat/completions", `{"messages":[{"role":"developer","content":"Be \"kind\"","name":"x"},{"role":"user","content":"Hi"}]}`,
			`{"messages":[{"role":"developer","content":"Be brief.\n\nBe \"kind\"","name":"x"},{"role":"user","content":"Hi"}]}`},
		{system, "/v1/chat/completions", `{"messages":[{"role":"system","content":[{"type":"text","text":"x"}]}]}`,
			`{"messages":[{"role":"system","content":[{"text":"Be brief.","type":"text"},{"type":"text","text":"x"}]}]}`},
		{system, "/v1/chat/completions", `{"messages":[]}`, `{"messages":[{"role":"system","content":"Be brief."}]}`},
		{system, "/v1/completions", `{"prompt":"Hi"}`, `{"prompt":"Hi"}`},
		{system, "/v1/responses", `{"input":"Hi"}`, `{"input":"Hi","instructions":"Be brief."}`},
		{system, "/v1/responses", `{"instructions":"Be kind."}`, `{"instructions":"Be brief.\n\nBe kind."}`},
		{system, "/v1/messages", `{"system":"Be kind."}`, `{"system":"Be brief.\n\nBe kind."}`},
		{system, "/v1/messages", `{"system":[{"type":"text","text":"x"}]}`,
			`{"system":[{"type":"text","text":"Be brief."},{"type":"text","text":"x"}]}`},
		{system, "/v1/messages", `{"system":{"type":"text","text":"x"}}`,
			`{"system":[{"type":"text","text":"Be brief."},{"type":"text","text":"x"}]}`},
		// What is no list of messages, or no text, is not replaced: it is to be refused.
		{system, "/v1/chat/completions", `{"messages":"Hi"}`, `{"messages":"Hi"}`},
		{system, "/v1/chat/completions", `{"messages":{"role":"user"}}`, `{"messages":{"role":"user"}}`},
		{system, "/v1/messages", `{"system":5}`, `{"system":5}`},
		{system, "/v1/responses", `{"instructions":5}`, `{"instructions":5}`},
		{system, "/v1/responses", `{"instructions":null}`, `{"instructions":"Be brief."}`},
		// The rule's own prompt goes before what the rule leaves.
		{&Rule{System: "Be brief.", Strip: []string{"system"}}, "/v1/messages", `{"system":"Be kind."}`, `{"system":"Be brief."}`},
		{&Rule{System: "Be brief.", Set: []rawjson.Edit{edit("instructions", `"x"`)}}, "/v1/responses", `{"instructions":"y"}`,
			`{"instructions":"Be brief.\n\nx"}`},
		// What has several names is meant under all of them.
		{short, "/v1/chat/completions", `{"max_completion_tokens":900,"n_predict":7,"stop":"x"}`, `{"max_tokens":5,"stop":["."]}`},
		{short, "/v1/responses", `{"max_output_tokens":900}`, `{"max_output_tokens":5,"stop":["."]}`},
		{short, "/v1/messages", `{"max_tokens":900,"stop_sequences":["x"]}`, `{"max_tokens":5,"stop_sequences":["."]}`},
		{short, "/completion", `{"n_predict":900}`, `{"n_predict":5,"stop":["."]}`},
		{usual, "/v1/chat/completions", `{"max_completion_tokens":900}`, `{"max_completion_tokens":900}`},
		{usual, "/v1/chat/completions", `{"max_completion_tokens":null}`, `{"max_tokens":5}`},
		{usual, "/v1/chat/completions", `{"max_output_tokens":900}`, `{"max_tokens":5}`}, // which says nothing there
		{usual, "/v1/responses", `{"max_output_tokens":900}`, `{"max_output_tokens":900}`},
		{usual, "/v1/responses", `{}`, `{"max_output_tokens":5}`},
		{unbound, "/v1/chat/completions", `{"max_tokens":1,"max_completion_tokens":2}`, `{}`},
		{&Rule{}, "/v1/completions", `{ "a" : 1 }`, `{ "a" : 1 }`},
	} {
		becomes(t, c.rule, c.path, c.body, c.want)
	}
}

// TestRulesActOnFamilies: a field that APIs name otherwise, or have within another one, is meant under
// all names, and its value has the form that the endpoint's API has.
func TestRulesActOnFamilies(t *testing.T) {
	const schema = `{"type":"object"}`
	const chatFormat = `{"type":"json_schema","json_schema":{"name":"output","strict":true,"schema":` + schema + `}}`
	const flatFormat = `{"type":"json_schema","name":"output","strict":true,"schema":` + schema + `}`
	set := func(key, value string) *Rule { return &Rule{Set: []rawjson.Edit{edit(key, value)}} }
	strip := func(keys ...string) *Rule { return &Rule{Strip: keys} }
	usual := func(key, value string) *Rule { return &Rule{Default: []rawjson.Edit{edit(key, value)}} }
	const chatTool = `{"type":"function","function":{"name":"f","parameters":{}}}`
	const chats, texts, answers, messages, native = "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/completion"
	for _, c := range []struct {
		rule             *Rule
		path, body, want string
	}{
		// The form of answers.
		{set("response_format", chatFormat), chats, `{"json_schema":{},"grammar":"x"}`, `{"response_format":` + chatFormat + `}`},
		{set("response_format", chatFormat), answers, `{"text":{"format":{"type":"text"},"verbosity":"low"}}`, `{"text":{"verbosity":"low","format":` + flatFormat + `}}`},
		{set("response_format", chatFormat), messages, `{"output_config":{"effort":"low","format":{"type":"json_schema","schema":{}}}}`,
			`{"output_config":{"effort":"low","format":{"type":"json_schema","schema":` + schema + `}}}`},
		{set("response_format", chatFormat), native, `{"grammar":"x"}`, `{"json_schema":` + schema + `}`},
		{set("response_format", chatFormat), texts, `{"json_schema":{"type":"null"}}`, `{"json_schema":` + schema + `}`},
		{set("response_format", `{"type":"json_object"}`), chats, `{}`, `{"response_format":{"type":"json_object"}}`},
		{set("response_format", `{"type":"json_object"}`), answers, `{}`, `{"text":{"format":{"type":"json_object"}}}`},
		{set("response_format", `{"type":"json_object"}`), messages, `{}`, `{"output_config":{"format":{"type":"json_schema","schema":{}}}}`},
		{set("response_format", `{"type":"text"}`), messages, `{"output_config":{"format":{"type":"json_schema"}}}`, `{}`},
		{set("json_schema", schema), messages, `{}`, `{"output_config":{"format":{"type":"json_schema","schema":` + schema + `}}}`},
		{set("text", `{"format":`+flatFormat+`}`), chats, `{"response_format":{"type":"text"}}`, `{"response_format":` + chatFormat + `}`},
		{set("output_config", `{"format":{"type":"json_schema","schema":{"type":"object"}},"effort":"high"}`), chats, `{"reasoning_effort":"low"}`,
			`{"response_format":` + chatFormat + `,"reasoning_effort":"high"}`},
		{set("grammar", `"g"`), chats, `{"response_format":{"type":"json_object"}}`, `{"grammar":"g"}`},
		{usual("response_format", chatFormat), messages, `{"output_config":{"effort":"low"}}`,
			`{"output_config":{"effort":"low","format":{"type":"json_schema","schema":` + schema + `}}}`},
		{usual("response_format", chatFormat), answers, `{"text":{"format":{"type":"text"}}}`, `{"text":{"format":{"type":"text"}}}`},
		{usual("response_format", chatFormat), native, `{"grammar":"x"}`, `{"grammar":"x"}`},
		{strip("response_format"), messages, `{"output_config":{"effort":"low","format":{}}}`, `{"output_config":{"effort":"low"}}`},
		{strip("response_format"), answers, `{"text":{"format":{}}}`, `{}`},
		{strip("response_format"), chats, `{"json_schema":{},"grammar":"x","response_format":{}}`, `{}`},
		{strip("text"), messages, `{"output_config":{"format":{}}}`, `{}`},
		// Tools, and the choice among them.
		{strip("tools", "tool_choice"), chats, `{"functions":[],"function_call":"auto"}`, `{}`},
		{strip("tools"), chats, `{"tools":[],"tool_choice":{"type":"function","function":{"name":"f"}},"parallel_tool_calls":true,"function_call":"none"}`, `{}`},
		{strip("tool_choice"), chats, `{"functions":[],"function_call":"auto"}`, `{"functions":[]}`},
		{set("tool_choice", `"none"`), messages, `{"tool_choice":{"type":"any"}}`, `{"tool_choice":{"type":"none"}}`},
		{set("tool_choice", `"required"`), messages, `{}`, `{"tool_choice":{"type":"any"}}`},
		{set("tool_choice", `{"type":"any"}`), chats, `{"function_call":"none"}`, `{"tool_choice":"required"}`},
		{set("tool_choice", `{"type":"function","function":{"name":"f"}}`), messages, `{}`, `{"tool_choice":{"type":"tool","name":"f"}}`},
		{set("tool_choice", `{"type":"tool","name":"f"}`), answers, `{}`, `{"tool_choice":{"type":"function","name":"f"}}`},
		{set("tool_choice", `{"type":"tool","name":"f"}`), chats, `{}`, `{"tool_choice":{"type":"function","function":{"name":"f"}}}`},
		{set("function_call", `{"name":"f"}`), chats, `{}`, `{"tool_choice":{"type":"function","function":{"name":"f"}}}`},
		{set("tools", "["+chatTool+"]"), messages, `{"tools":[{"name":"g"}],"tool_choice":{"type":"tool","name":"g"}}`, `{"tools":[{"name":"f","input_schema":{}}]}`},
		{set("tools", "["+chatTool+"]"), answers, `{}`, `{"tools":[{"type":"function","name":"f","parameters":{}}]}`},
		{set("tools", `[{"name":"f","input_schema":{}}]`), chats, `{"functions":[]}`, `{"tools":[` + chatTool + `]}`},
		{set("functions", `[{"name":"f","parameters":{}}]`), chats, `{}`, `{"tools":[` + chatTool + `]}`},
		{set("parallel_tool_calls", `false`), messages, `{}`, `{"tool_choice":{"type":"auto","disable_parallel_tool_use":true}}`},
		{set("parallel_tool_calls", `true`), messages, `{"tool_choice":{"type":"any","disable_parallel_tool_use":true}}`, `{"tool_choice":{"type":"any"}}`},
		// Probabilities.
		{set("top_logprobs", `2`), chats, `{}`, `{"top_logprobs":2,"logprobs":true}`},
		{set("top_logprobs", `2`), chats, `{"logprobs":false}`, `{"top_logprobs":2,"logprobs":true}`},
		{set("top_logprobs", `2`), texts, `{"logprobs":1}`, `{"logprobs":2}`},
		{set("top_logprobs", `2`), native, `{}`, `{"n_probs":2}`},
		{set("top_logprobs", `2`), answers, `{}`, `{"top_logprobs":2}`},
		{strip("logprobs"), chats, `{"logprobs":true,"top_logprobs":2}`, `{}`},
		{set("logprobs", `false`), chats, `{"logprobs":true,"top_logprobs":2}`, `{"logprobs":false}`},
		{&Rule{}, chats, `{"top_logprobs":2}`, `{"top_logprobs":2}`}, // the client's own mistake
		// Thinking, who asks, and what comes first.
		{set("reasoning_effort", `"low"`), answers, `{"reasoning":{"effort":"high","summary":"auto"}}`, `{"reasoning":{"summary":"auto","effort":"low"}}`},
		{set("reasoning_effort", `"low"`), messages, `{"output_config":{"effort":"high"}}`, `{"output_config":{"effort":"low"}}`},
		{set("reasoning", `{"effort":"low"}`), chats, `{"reasoning_effort":"high"}`, `{"reasoning_effort":"low"}`},
		{strip("reasoning_effort"), answers, `{"reasoning":{"effort":"high"}}`, `{}`},
		{set("thinking", `{"type":"enabled","budget_tokens":9}`), messages, `{}`, `{"thinking":{"type":"enabled","budget_tokens":9}}`},
		{set("thinking_budget_tokens", `9`), messages, `{"thinking":{"type":"disabled"}}`, `{"thinking":{"type":"enabled","budget_tokens":9}}`},
		{set("thinking_budget_tokens", `0`), messages, `{"thinking":{"type":"enabled","budget_tokens":9}}`, `{"thinking":{"type":"disabled"}}`},
		{set("thinking_budget_tokens", `-1`), messages, `{}`, `{"thinking":{"type":"enabled"}}`},
		// Defaults leave what the client says by another field.
		{usual("thinking_budget_tokens", `9`), messages, `{"thinking":{"type":"disabled"}}`, `{"thinking":{"type":"disabled"}}`},
		{usual("thinking_budget_tokens", `9`), messages, `{}`, `{"thinking":{"type":"enabled","budget_tokens":9}}`},
		{usual("top_logprobs", `2`), chats, `{"logprobs":false}`, `{"logprobs":false}`},
		{usual("top_logprobs", `2`), chats, `{}`, `{"logprobs":true,"top_logprobs":2}`},
		{usual("parallel_tool_calls", `true`), messages, `{"tool_choice":{"type":"any","disable_parallel_tool_use":true}}`, `{"tool_choice":{"type":"any","disable_parallel_tool_use":true}}`},
		{set("metadata", `{"user_id":"u"}`), messages, `{"metadata":{"user_id":"x","more":1}}`, `{"metadata":{"user_id":"u"}}`},
		{set("x.y", `1`), chats, `{}`, `{"x.y":1}`},
		{strip("parallel_tool_calls"), messages, `{"tool_choice":{"type":"any","disable_parallel_tool_use":true}}`, `{"tool_choice":{"type":"any"}}`},
		{set("user", `"u"`), messages, `{"metadata":{"user_id":"x"}}`, `{"metadata":{"user_id":"u"}}`},
		{strip("user"), answers, `{"user":"x","safety_identifier":"y"}`, `{}`},
		{set("instructions", `"Be brief."`), messages, `{"system":"Be kind."}`, `{"system":"Be brief."}`},
		{set("system", `"Be brief."`), answers, `{}`, `{"instructions":"Be brief."}`},
		{strip("system"), answers, `{"instructions":"x"}`, `{}`},
	} {
		becomes(t, c.rule, c.path, c.body, c.want)
	}
}

// becomes fails unless a rule makes a body for a path what is wanted.
func becomes(t *testing.T, rule *Rule, path, text, wanted string) {
	t.Helper()
	body, err := rawjson.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	changed := rule.apply(body, path)
	var got, want any
	if json.Unmarshal(changed.Apply(), &got) != nil || json.Unmarshal([]byte(wanted), &want) != nil ||
		!reflect.DeepEqual(got, want) {
		t.Errorf("%v: %s %s became %s, want %s", rule, path, text, changed.Apply(), wanted)
	}
}
