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
		body, err := rawjson.Parse([]byte(c.body))
		if err != nil {
			t.Fatal(err)
		}
		changed := c.rule.apply(body, c.path)
		var got, want any
		if json.Unmarshal(changed.Apply(), &got) != nil || json.Unmarshal([]byte(c.want), &want) != nil ||
			!reflect.DeepEqual(got, want) {
			t.Errorf("%s %s became %s, want %s", c.path, c.body, changed.Apply(), c.want)
		}
	}
}
