package dialect

import (
	"bytes"

	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/proxy/sse"
	"github.com/loragate/loragate/internal/rawjson"
)

// again is what is needed to go on with a second stream, where llama-server could not
// take the first one's answer apart: the second one says it all once more, as text.
type again struct {
	said   []byte // texts that the client has, the insides of JSON strings
	called bool   // it has a part of a call, which is no text
	id     []byte
	failed *httpkit.Error // why the first stream ended
	second bool
	left   []byte // of what has been said, what the second stream has not repeated yet
}

// resume makes ready for a second stream, if that can tell what the first one failed to.
func (w *again) resume(failed *httpkit.Error) bool {
	if w.second || w.called {
		return false
	}
	w.failed, w.second, w.left = failed, true, w.said
	return true
}

// texts are the fields of an event that have text, in the order in which a model says them.
var texts = []string{"reasoning_content", "content"}

// keep remembers what an event tells the client.
func (w *again) keep(event rawjson.Object) {
	delta, ok := deltaOf(event)
	if !ok {
		return
	}
	if w.id == nil {
		id, _ := event.Raw("id")
		w.id = bytes.Clone(id)
	}
	for _, key := range texts {
		text, _ := delta.Raw(key)
		w.said = append(w.said, rawjson.Inside(text)...)
	}
	_, calls := delta.Raw("tool_calls")
	w.called = w.called || calls
}

// deltaOf returns what an event adds to a choice.
func deltaOf(event rawjson.Object) (delta rawjson.Object, ok bool) {
	raw, _ := event.Raw("choices")
	rawjson.Each(raw, func(first, _ []byte) bool {
		var choice rawjson.Object
		if choice, ok = rawjson.Scan(first); ok {
			delta, ok = choice.Inner("delta")
		}
		return false
	})
	return delta, ok
}

// fresh returns what of an event of the second stream the client does not have yet; nil is
// nothing. It reports false if the stream says something else than the first one.
func (w *again) fresh(event []byte) ([]byte, bool) {
	line := bytes.TrimRight(event, "\r\n")
	head, object, ok := sse.Object(line)
	delta, isDelta := deltaOf(object)
	if !ok || !isDelta {
		return event, len(w.left) == 0 || !sse.IsDone(line)
	}
	if _, role := delta.Raw("role"); role {
		return nil, true
	}
	raw, _ := object.Raw("choices")
	choice, _ := rawjson.Scan(rawjson.Elements(raw)[0])
	edits, more := []rawjson.Edit(nil), false
	for _, key := range texts {
		value, _ := delta.Raw(key)
		text := rawjson.Inside(value)
		switch {
		case len(text) == 0:
			continue
		case bytes.HasPrefix(w.left, text):
			w.left = w.left[len(text):]
			edits = append(edits, rawjson.Edit{Key: key})
			continue
		case !bytes.HasPrefix(text, w.left):
			return nil, false
		}
		edits, more = append(edits, rawjson.Edit{Key: key, Value: rawjson.Quoted(text[len(w.left):])}), true
		w.left = nil
	}
	if finish, _ := choice.Raw("finish_reason"); len(finish) > 0 && finish[0] == '"' {
		more = true
		if len(w.left) > 0 {
			return nil, false
		}
	}
	if !more {
		return nil, true
	}
	one := choice.Apply(rawjson.Edit{Key: "delta", Value: delta.Apply(edits...)})
	text := object.Apply(rawjson.Edit{Key: "choices", Value: rawjson.List([][]byte{one})},
		rawjson.Edit{Key: "id", Value: w.id})
	out := append(append(append([]byte{}, head...), sse.DataPrefix...), text...)
	return append(out, event[len(line):]...), true
}
