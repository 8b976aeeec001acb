package proxy

import (
	"bytes"
	"slices"

	"github.com/loragate/loragate/internal/rawjson"
)

// chatShape is that of chat completions.
type chatShape struct{}

func (chatShape) take(a *assembly, event []byte, object rawjson.Object) {
	choice, d, ok := a.choice(object)
	if !ok { // the usage of the choice that has just ended
		if a.last != nil {
			a.end(a.last, object)
		}
		return
	}
	if delta, ok := choice.Inner("delta"); ok {
		a.takeDelta(d, event, delta)
	}
	if a.follow(d, object, choice) {
		a.last = d
	}
}

// takeDelta takes in what an event adds to a message.
func (a *assembly) takeDelta(d *draft, event []byte, delta rawjson.Object) {
	content, _ := delta.Raw("content")
	reasoning, _ := delta.Raw("reasoning_content")
	calls, _ := delta.Raw("tool_calls")
	a.add(&d.content, inside(content))
	a.add(&d.reasoning, inside(reasoning))
	for _, element := range rawjson.Elements(calls) {
		a.takeCall(d, element)
	}
	switch {
	case len(calls) > 0:
		d.around = frame{}
	case len(inside(content)) > 0 && len(reasoning) == 0:
		d.expect(event, &d.content)
	case len(inside(reasoning)) > 0 && len(content) == 0:
		d.expect(event, &d.reasoning)
	}
}

// takeCall takes in a part of a tool call: its name whole, whenever that changes, and
// of its arguments what is new.
func (a *assembly) takeCall(d *draft, text []byte) {
	object, ok := rawjson.Scan(text)
	if !ok {
		return
	}
	raw, _ := object.Raw("index")
	index := number(raw)
	if index < 0 || index > len(d.calls) {
		return
	}
	if index == len(d.calls) {
		d.calls = append(d.calls, call{})
		a.size += 3 * sliceSize
	}
	c := &d.calls[index]
	if id, _ := object.Raw("id"); len(id) > 0 {
		c.id = bytes.Clone(id)
	}
	function, ok := object.Inner("function")
	if !ok {
		return
	}
	if name, _ := function.Raw("name"); len(name) > 0 {
		c.name = bytes.Clone(name)
	}
	arguments, _ := function.Raw("arguments")
	a.add(&c.arguments, inside(arguments))
}

// chatKeys are the fields of a chunk that are known.
var chatKeys = []string{"choices", "created", "id", "model", "system_fingerprint", "object", "usage", timingsKey}

// build follows server_task_result_cmpl_final::to_json_oaicompat_chat.
func (chatShape) build(a *assembly) []byte {
	choices := make([][]byte, len(a.drafts))
	for i, d := range a.drafts {
		choices[i] = d.choice(i)
	}
	var last rawjson.Object
	if len(a.drafts) > 0 {
		last = a.drafts[0].last
	}
	w := objectWriter{}
	w.member("choices", list(choices))
	for _, key := range []string{"created", "model", "system_fingerprint"} {
		w.copy(last, key)
	}
	w.member("object", []byte(`"chat.completion"`))
	w.copy(last, "usage")
	w.copy(last, "id")
	for _, key := range last.Keys() { // a newer llama-server may tell more
		if !slices.Contains(chatKeys, key) {
			w.copy(last, key)
		}
	}
	w.copy(last, timingsKey)
	return a.finish(w.end())
}

// choice renders a chat's choice.
func (d *draft) choice(index int) []byte {
	m := objectWriter{}
	m.member("role", []byte(`"assistant"`))
	m.member("content", quoted(d.content))
	if len(d.reasoning) > 0 {
		m.member("reasoning_content", quoted(d.reasoning))
	}
	if len(d.calls) > 0 {
		calls := make([][]byte, len(d.calls))
		for i := range d.calls {
			calls[i] = d.calls[i].render()
		}
		m.member("tool_calls", list(calls))
	}
	finish := d.finish
	if finish == nil {
		finish = []byte("null")
	}
	w := objectWriter{}
	w.member("finish_reason", finish)
	w.member("index", decimal(index))
	w.member("message", m.end())
	return w.end()
}

func (c *call) render() []byte {
	name := c.name
	if name == nil {
		name = []byte(`""`)
	}
	f := objectWriter{}
	f.member("name", name)
	f.member("arguments", quoted(c.arguments))
	w := objectWriter{}
	w.member("type", []byte(`"function"`))
	w.member("function", f.end())
	if c.id != nil {
		w.member("id", c.id)
	}
	return w.end()
}

// objectWriter writes a JSON object. Its zero value is ready.
type objectWriter struct{ text []byte }

func (w *objectWriter) member(key string, value []byte) {
	separator := byte(',')
	if len(w.text) == 0 {
		separator = '{'
	}
	w.text = slices.Grow(w.text, len(key)+len(value)+4)
	w.text = append(append(append(append(w.text, separator, '"'), key...), '"', ':'), value...)
}

// copy writes a member of another object, if that has it.
func (w *objectWriter) copy(from rawjson.Object, key string) {
	if raw, ok := from.Raw(key); ok {
		w.member(key, raw)
	}
}

func (w *objectWriter) end() []byte {
	if len(w.text) == 0 {
		return []byte("{}")
	}
	return append(w.text, '}')
}
