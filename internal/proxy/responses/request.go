// Package responses puts requests of OpenAI's Responses API into the terms of chat completions,
// and the answers back. llama-server has the API itself, but its events lack the numbers and its
// responses the fields by which OpenAI's clients put answers together.
package responses

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/loragate/loragate/internal/rawjson"
)

// RequestError says what is wrong with a request.
type RequestError struct {
	Field   string // where, as "input[0].content[1].type"
	Message string
}

func (e *RequestError) Error() string { return e.Message }

func wrong(field, format string, args ...any) *RequestError {
	return &RequestError{Field: field, Message: fmt.Sprintf("The field %q ", field) + fmt.Sprintf(format, args...) + "."}
}

// node is an object of a request, and where it stands there.
type node struct {
	rawjson.Object

	at string
}

func (n node) path(key string) string {
	if n.at == "" {
		return key
	}
	return n.at + "." + key
}

// raw returns a field's value, nil if it is not there or null.
func (n node) raw(key string) json.RawMessage {
	raw, _ := n.Raw(key)
	if string(raw) == "null" {
		return nil
	}
	return raw
}

// text returns a string, "" if it is not there.
func (n node) text(key string) (string, error) {
	raw := n.raw(key)
	if raw != nil && raw[0] != '"' {
		return "", wrong(n.path(key), "must be a string")
	}
	return rawjson.Text(raw), nil
}

// required is text for a string that must be there and say something.
func (n node) required(key string) (string, error) {
	text, err := n.text(key)
	if err == nil && text == "" {
		err = wrong(n.path(key), "is required: a string")
	}
	return text, err
}

// flag returns a boolean, false if it is not there.
func (n node) flag(key string) (bool, error) {
	switch raw := n.raw(key); string(raw) {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	}
	return false, wrong(n.path(key), "must be true or false")
}

// inner returns an object, and whether it is there.
func (n node) inner(key string) (node, bool, error) {
	raw := n.raw(key)
	if raw == nil {
		return node{}, false, nil
	}
	o, ok := rawjson.Scan(raw)
	if !ok {
		return node{}, false, wrong(n.path(key), "must be an object")
	}
	return node{o, n.path(key)}, true, nil
}

// each visits the objects of a list, none if it is not there.
func (n node) each(key string, visit func(element node) error) (err error) {
	raw := n.raw(key)
	if raw == nil {
		return nil
	}
	i := 0
	isList := rawjson.Each(raw, func(element, _ []byte) bool {
		at := fmt.Sprintf("%s[%d]", n.path(key), i)
		i++
		o, ok := rawjson.Scan(element)
		if !ok {
			err = wrong(at, "must be an object")
			return false
		}
		err = visit(node{o, at})
		return err == nil
	})
	if !isList {
		return wrong(n.path(key), "must be a list")
	}
	return err
}

// responsesOnly are fields of the Responses API that a chat completion does not have, or has
// another meaning for. They are for OpenAI's own service, or are put in other words.
var responsesOnly = []string{
	"input", "instructions", "tools", "tool_choice", "max_output_tokens", "reasoning", "text", "metadata", "store",
	"include", "previous_response_id", "background", "conversation", "prompt", "truncation", "top_logprobs",
	"max_tool_calls", "user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "service_tier",
	"stream_options", "n", "n_cmpl",
}

// refused are the fields that ask for what is not to be had here.
var refused = []struct{ key, why string }{
	{"previous_response_id", "is not to be had here: responses are not stored. Send the whole conversation as input"},
	{"conversation", "is not to be had here: conversations are not stored. Send the whole conversation as input"},
	{"prompt", "is not to be had here: prompts are not stored. Send instructions and input"},
	{"background", "is not to be had here: responses are not stored. Wait for the answer, or stream it"},
}

// Chat returns the body of a chat completion that asks for the same, and what its answer must
// know of the request. Fields that neither API gives another meaning stay as they are. The error
// is a *RequestError.
func Chat(body rawjson.Object) ([]byte, *Asked, error) {
	n := node{Object: body}
	for _, f := range refused {
		if raw := n.raw(f.key); raw != nil && string(raw) != "false" && string(raw) != `""` {
			return nil, nil, wrong(f.key, "%s", f.why)
		}
	}
	c := chat{node: n, asked: &Asked{}}
	for _, key := range responsesOnly {
		c.set(key, nil)
	}
	for _, step := range []func() error{c.tools, c.messages, c.limits, c.format, c.reasoning, c.logprobs, c.echo} {
		if err := step(); err != nil {
			return nil, nil, err
		}
	}
	return body.Apply(c.edits...), c.asked, nil
}

// chat is a request while it is put into other terms.
type chat struct {
	node
	edits []rawjson.Edit
	asked *Asked
	list  []tool // that the model may call
	names names
}

// set has the chat completion ask for a value; nil leaves the field out.
func (c *chat) set(key string, value json.RawMessage) {
	if i := slices.IndexFunc(c.edits, func(e rawjson.Edit) bool { return e.Key == key }); i >= 0 {
		c.edits[i].Value = value
		return
	}
	c.edits = append(c.edits, rawjson.Edit{Key: key, Value: value})
}

// limits takes in how long the answer may be and whether it is streamed.
func (c *chat) limits() error {
	for _, key := range []string{"max_output_tokens", "max_tool_calls", "temperature", "top_p"} {
		if raw := c.raw(key); raw != nil && raw[0] != '-' && (raw[0] < '0' || raw[0] > '9') {
			return wrong(key, "must be a number")
		}
	}
	if raw := c.raw("max_output_tokens"); raw != nil {
		c.set("max_tokens", raw)
	}
	if string(c.raw("stream")) == "true" {
		c.set("stream_options", []byte(`{"include_usage":true}`))
	}
	for _, key := range []string{"store", "parallel_tool_calls"} {
		if _, err := c.flag(key); err != nil {
			return err
		}
	}
	return nil
}

// format puts the schema that the answer must have where a chat completion has it.
func (c *chat) format() error {
	text, given, err := c.inner("text")
	if err != nil || !given {
		return err
	}
	format, given, err := text.inner("format")
	if err != nil || !given {
		return err
	}
	kind, err := format.required("type")
	switch {
	case err != nil:
		return err
	case kind == "text" || kind == "json_object":
		c.set("response_format", format.Apply())
		return nil
	case kind != "json_schema":
		return wrong(format.path("type"), `must be "text", "json_object" or "json_schema"`)
	}
	if _, _, err := format.inner("schema"); err != nil {
		return err
	}
	c.set("response_format", slices.Concat([]byte(`{"type":"json_schema","json_schema":`),
		format.Apply(rawjson.Edit{Key: "type"}), []byte("}")))
	return nil
}

// reasoning takes in how much the model is to think, and how its thoughts are told.
func (c *chat) reasoning() error {
	r, given, err := c.inner("reasoning")
	if err != nil || !given {
		return err
	}
	effort, err := r.text("effort")
	if err != nil {
		return err
	}
	if effort != "" {
		c.set("reasoning_effort", r.raw("effort"))
	}
	for _, key := range []string{"summary", "generate_summary"} {
		summary, err := r.text(key)
		if err != nil {
			return err
		}
		c.asked.summary = c.asked.summary || summary != ""
	}
	return nil
}

// maxLogprobs is of the tokens that are told beside each token, as in OpenAI's API.
const maxLogprobs = 20

// logprobs asks for probabilities, if the request does. llama-server streams none with tools.
func (c *chat) logprobs() error {
	wanted := false
	for _, raw := range rawjson.Elements(c.raw("include")) {
		wanted = wanted || string(raw) == `"message.output_text.logprobs"`
	}
	if raw := c.raw("top_logprobs"); raw != nil {
		n := rawjson.Count(raw)
		if n < 0 || n > maxLogprobs {
			return wrong("top_logprobs", "must be a whole number from 0 to %d", maxLogprobs)
		}
		c.asked.topLogprobs = n
		wanted = wanted || n > 0
	}
	if !wanted || len(c.list) > 0 && string(c.raw("stream")) == "true" {
		return nil
	}
	c.set("logprobs", []byte("true"))
	c.set("top_logprobs", rawjson.Int(max(1, c.asked.topLogprobs)))
	return nil
}

func encode(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings, numbers and JSON that was decoded always encode
	}
	return text
}
