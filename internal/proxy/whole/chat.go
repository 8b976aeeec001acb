package whole

import (
	"bytes"
	"slices"

	"github.com/loragate/loragate/internal/proxy/sse"
	"github.com/loragate/loragate/internal/proxy/tally"
	"github.com/loragate/loragate/internal/rawjson"
)

// Chat is the shape of chat completions.
var Chat = Shape{Parses: true, take: takeChat, build: buildChat}

func takeChat(a *Assembly, event []byte, object rawjson.Object) {
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
	if inner, ok := object.Inner(innerVerboseKey); ok {
		word, _ := inner.Raw(stoppingKey)
		d.word = bytes.Clone(word)
	}
	if a.follow(d, object, choice) {
		a.last = d
	}
}

// takeDelta takes in what an event adds to a message.
func (a *Assembly) takeDelta(d *draft, event []byte, delta rawjson.Object) {
	content, _ := delta.Raw("content")
	reasoning, _ := delta.Raw("reasoning_content")
	calls, _ := delta.Raw("tool_calls")
	a.add(&d.content, rawjson.Inside(content))
	a.add(&d.reasoning, rawjson.Inside(reasoning))
	for _, element := range rawjson.Elements(calls) {
		a.takeCall(d, element)
	}
	switch {
	case len(calls) > 0:
		d.around = sse.Frame{}
	case len(rawjson.Inside(content)) > 0 && len(reasoning) == 0:
		d.expect(event, &d.content)
	case len(rawjson.Inside(reasoning)) > 0 && len(content) == 0:
		d.expect(event, &d.reasoning)
	}
}

// takeCall takes in a part of a tool call: its name whole, whenever that changes, and
// of its arguments what is new.
func (a *Assembly) takeCall(d *draft, text []byte) {
	object, ok := rawjson.Scan(text)
	if !ok {
		return
	}
	raw, _ := object.Raw("index")
	index := rawjson.Count(raw)
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
	a.add(&c.arguments, rawjson.Inside(arguments))
}

// chatKeys are the fields of a chunk that are known.
var chatKeys = []string{"choices", "created", "id", "model", "system_fingerprint", "object", "usage", tally.Timings,
	innerVerboseKey}

// buildChat follows server_task_result_cmpl_final::to_json_oaicompat_chat.
func buildChat(a *Assembly) []byte {
	choices := make([][]byte, len(a.drafts))
	for i, d := range a.drafts {
		choices[i] = d.choice(i, a.want.Full)
	}
	var last rawjson.Object
	if len(a.drafts) > 0 {
		last = a.drafts[0].last
	}
	w := rawjson.Builder{}
	w.Member("choices", rawjson.List(choices))
	for _, key := range []string{"created", "model", "system_fingerprint"} {
		w.Copy(last, key)
	}
	w.Member("object", []byte(`"chat.completion"`))
	w.Copy(last, "usage")
	w.Copy(last, "id")
	for _, key := range last.Keys() { // a newer llama-server may tell more
		if !slices.Contains(chatKeys, key) {
			w.Copy(last, key)
		}
	}
	w.Copy(last, tally.Timings)
	if len(a.drafts) > 0 && a.drafts[0].word != nil {
		told := rawjson.Builder{}
		told.Member(stoppingKey, a.drafts[0].word)
		w.Member(innerVerboseKey, told.End())
	}
	return a.finish(w.End())
}

// choice renders a chat's choice.
func (d *draft) choice(index int, full bool) []byte {
	m := rawjson.Builder{}
	m.Member("role", []byte(`"assistant"`))
	m.Member("content", rawjson.Quoted(d.content))
	if full {
		m.Member("refusal", []byte("null"))
	}
	if len(d.reasoning) > 0 {
		m.Member("reasoning_content", rawjson.Quoted(d.reasoning))
	}
	if len(d.calls) > 0 {
		calls := make([][]byte, len(d.calls))
		for i := range d.calls {
			calls[i] = d.calls[i].render()
		}
		m.Member("tool_calls", rawjson.List(calls))
	}
	finish := d.finish
	if finish == nil {
		finish = []byte("null")
	}
	w := rawjson.Builder{}
	w.Member("finish_reason", finish)
	w.Member("index", rawjson.Int(index))
	w.Member("message", m.End())
	if full {
		w.Member("logprobs", []byte("null"))
	}
	return w.End()
}

func (c *call) render() []byte {
	name := c.name
	if name == nil {
		name = []byte(`""`)
	}
	f := rawjson.Builder{}
	f.Member("name", name)
	f.Member("arguments", rawjson.Quoted(c.arguments))
	w := rawjson.Builder{}
	w.Member("type", []byte(`"function"`))
	w.Member("function", f.End())
	if c.id != nil {
		w.Member("id", c.id)
	}
	return w.End()
}
