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
			`{"messages":[{"role":"system","content":"Be brief."},{"role":"system","content":[{"type":"text","text":"x"}]}]}`},
		{system, "/v1/chat/completions", `{"messages":[]}`, `{"messages":[{"role":"system","content":"Be brief."}]}`},
		{system, "/v1/completions", `{"prompt":"Hi"}`, `{"prompt":"Hi"}`},
		{system, "/v1/responses", `{"input":"Hi"}`, `{"input":"Hi","instructions":"Be brief."}`},
		{system, "/v1/responses", `{"instructions":"Be kind."}`, `{"instructions":"Be brief.\n\nBe kind."}`},
		{system, "/v1/messages", `{"system":"Be kind."}`, `{"system":"Be brief.\n\nBe kind."}`},
		{system, "/v1/messages", `{"system":[{"type":"text","text":"x"}]}`,
			`{"system":[{"type":"text","text":"Be brief."},{"type":"text","text":"x"}]}`},
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
