package responses

import (
	"bytes"
	"encoding/json"

	"github.com/loragate/loragate/internal/rawjson"
)

// Asked is what a response tells of the request that it answers.
type Asked struct {
	members     []byte // of a response, as they stand in it
	summary     bool   // thoughts are told as a summary
	topLogprobs int    // tokens that are told beside each one

	called map[string]called // tools that are not told as the model's functions, by its names
}

// called is how a call of a tool is told: its names are JSON.
type called struct {
	custom          bool
	name, namespace []byte // nil is no namespace
}

// add has calls of a tool told as they are meant; as is the model's name of it.
func (a *Asked) add(t tool, as string) {
	if t.kind != customTool && t.namespace == "" {
		return
	}
	if a.called == nil {
		a.called = map[string]called{}
	}
	told := called{custom: t.kind == customTool || a.called[as].custom, name: rawjson.String(t.name)}
	if t.namespace != "" {
		told.namespace = rawjson.String(t.namespace)
	}
	a.called[as] = told
}

// tells returns how a call is told, by the model's name of the tool, which is JSON.
func (a *Asked) tells(name []byte) called {
	if len(a.called) > 0 {
		if told, ok := a.called[rawjson.Text(name)]; ok {
			return told
		}
	}
	return called{name: bytes.Clone(name)}
}

// maxEchoed bounds the fields that a response repeats, but for what the model reads: they stand in
// several events of each stream.
const maxEchoed = 64 << 10

// defaults are what a response tells of fields that the request leaves out. llama-server's own are
// those of its samplers.
var defaults = []struct{ key, value string }{
	{"max_output_tokens", "null"}, {"max_tool_calls", "null"}, {"temperature", "0.8"}, {"top_p", "0.95"},
	{"presence_penalty", "0"}, {"frequency_penalty", "0"}, {"top_logprobs", "0"}, {"tool_choice", `"auto"`},
	{"parallel_tool_calls", "true"}, {"metadata", "{}"}, {"user", "null"}, {"safety_identifier", "null"},
	{"prompt_cache_key", "null"},
}

// echo keeps what the response tells of the request.
func (c *chat) echo() error {
	w := rawjson.Builder{}
	w.Member("background", []byte("false"))
	w.Member("store", []byte("false"))
	w.Member("previous_response_id", []byte("null"))
	w.Member("access_programs", []byte("null"))
	w.Member("truncation", []byte(`"disabled"`))
	w.Member("service_tier", []byte(`"default"`))
	w.Member("instructions", orNull(c.raw("instructions")))
	size := 0
	for _, d := range defaults {
		raw := c.raw(d.key)
		if size += len(raw); size > maxEchoed && d.key != "tool_choice" {
			return wrong(d.key, "is longer than %d bytes, with the others that a response repeats", maxEchoed)
		}
		if raw == nil {
			raw = []byte(d.value)
		}
		w.Member(d.key, raw)
	}
	if err := c.echoStrings(); err != nil {
		return err
	}
	text, err := c.echoText()
	if err != nil {
		return err
	}
	w.Member("text", text)
	w.Member("reasoning", c.echoReasoning())
	tools, err := c.echoed()
	if err != nil {
		return err
	}
	w.Member("tools", tools)
	all := w.End()
	c.asked.members = all[1 : len(all)-1]
	return nil
}

// echoStrings refuses what no response could repeat.
func (c *chat) echoStrings() error {
	for _, key := range []string{"user", "safety_identifier", "prompt_cache_key"} {
		if _, err := c.text(key); err != nil {
			return err
		}
	}
	metadata, given, err := c.inner("metadata")
	if err != nil || !given {
		return err
	}
	for key, raw := range metadata.All() {
		if raw[0] != '"' {
			return wrong("metadata."+short(key), "must be a string")
		}
	}
	return nil
}

// echoText is the text of a response: with the format that is meant where none is given.
func (c *chat) echoText() (json.RawMessage, error) {
	text, given, err := c.inner("text")
	if err != nil {
		return nil, err
	}
	if !given {
		return []byte(`{"format":{"type":"text"}}`), nil
	}
	if text.raw("format") == nil {
		return text.Apply(rawjson.Edit{Key: "format", Value: []byte(`{"type":"text"}`)}), nil
	}
	return text.Apply(), nil
}

func (c *chat) echoReasoning() json.RawMessage {
	r, _, _ := c.inner("reasoning") // has been looked at
	w := rawjson.Builder{}
	w.Member("effort", orNull(r.raw("effort")))
	w.Member("summary", orNull(r.raw("summary")))
	return w.End()
}

func orNull(raw json.RawMessage) json.RawMessage {
	if raw == nil {
		return []byte("null")
	}
	return raw
}
