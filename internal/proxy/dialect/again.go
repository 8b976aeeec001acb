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
	choices int    // that there are
	parts   []told // by the index of their choice
	current int    // the choice of the event that was kept last
	id      []byte
	failed  *httpkit.Error // why the first stream ended
	second  bool
}

// told is what the client has of one choice. Texts are the insides of JSON strings.
type told struct {
	begun  bool
	over   bool // why it ended
	called bool // a part of a call, which is no text
	said   []byte
	left   []byte // of what has been said, what the second stream has not repeated yet
	// held are events from the first with a call on, which the client gets once the choice has
	// ended: the call stands then, whatever becomes of the other choices.
	held []byte
}

// maxHeld bounds what is held of one choice.
const maxHeld = 1 << 20

// part returns what the client has of the choice that an event is of.
func (w *again) part(choice rawjson.Object) (p *told, index int) {
	raw, _ := choice.Raw("index")
	if index = rawjson.Count(raw); index < 0 || index >= w.choices {
		index = 0
	}
	for len(w.parts) <= index {
		w.parts = append(w.parts, told{})
	}
	return &w.parts[index], index
}

// resume makes ready for a second stream of so many choices, if that can tell what the first one
// failed to.
func (w *again) resume(failed *httpkit.Error, choices int) bool {
	for _, p := range w.parts {
		if p.called && !p.over {
			return false
		}
	}
	if w.second {
		return false
	}
	w.failed, w.second, w.choices = failed, true, choices
	for i := range w.parts {
		p := &w.parts[i]
		p.left, p.held = p.said, nil
	}
	return true
}

// texts are the fields of an event that have text, in the order in which a model says them.
var texts = []string{"reasoning_content", "content"}

// keep remembers what an event of so many choices tells the client. Its later is true for one that
// is to be held.
func (w *again) keep(event rawjson.Object, choices int) (later bool) {
	w.choices = choices
	choice, delta, ok := deltaOf(event)
	if !ok {
		return false
	}
	if w.id == nil {
		id, _ := event.Raw("id")
		w.id = bytes.Clone(id)
	}
	p, index := w.part(choice)
	w.current, p.begun = index, true
	_, calls := delta.Raw("tool_calls")
	if p.held != nil || calls && !p.called && choices > 1 {
		return true
	}
	p.called, p.over = p.called || calls, ends(choice)
	for _, key := range texts {
		text, _ := delta.Raw(key)
		p.said = append(p.said, rawjson.Inside(text)...)
	}
	return false
}

// hold keeps an event, as the client will get it, until its choice has ended. It returns what the
// client gets now.
func (w *again) hold(event rawjson.Object, out []byte) []byte {
	choice, _, _ := deltaOf(event)
	p, _ := w.part(choice)
	p.held = append(p.held, out...)
	if p.over = ends(choice); !p.over && len(p.held) < maxHeld {
		return nil
	}
	out, p.held, p.called = p.held, nil, true
	return out
}

// deltaOf returns the choice that an event is of, and what the event adds to it.
func deltaOf(event rawjson.Object) (choice, delta rawjson.Object, ok bool) {
	raw, _ := event.Raw("choices")
	rawjson.Each(raw, func(first, _ []byte) bool {
		if choice, ok = rawjson.Scan(first); ok {
			delta, ok = choice.Inner("delta")
		}
		return false
	})
	return choice, delta, ok
}

// ends reports whether an event tells why its choice ended.
func ends(choice rawjson.Object) bool {
	finish, _ := choice.Raw("finish_reason")
	return len(finish) > 0 && finish[0] == '"'
}

// fresh returns what of an event of the second stream the client does not have yet; nil is
// nothing. It reports false if the stream says something else than the first one.
func (w *again) fresh(event []byte) ([]byte, bool) {
	line := bytes.TrimRight(event, "\r\n")
	if sse.IsDone(line) {
		return event, w.repeated()
	}
	head, object, ok := sse.Object(line)
	if !ok {
		return event, true
	}
	if _, named := object.Raw("id"); named && w.id != nil {
		object, _ = rawjson.Scan(object.Apply(rawjson.Edit{Key: "id", Value: w.id})) // an edited object stays one
	}
	choice, delta, isDelta := deltaOf(object)
	if isDelta {
		p, _ := w.part(choice)
		choice, ok = p.fresh(choice, delta)
		if !ok || choice.Empty() {
			return nil, ok
		}
		one := rawjson.Edit{Key: "choices", Value: rawjson.List([][]byte{choice.Apply()})}
		object, _ = rawjson.Scan(object.Apply(one))
	}
	out := append(append(append([]byte{}, head...), sse.DataPrefix...), object.Apply()...)
	return append(out, event[len(line):]...), true
}

// repeated reports whether the second stream has said all that the first one had.
func (w *again) repeated() bool {
	for _, p := range w.parts {
		if len(p.left) > 0 && !p.over {
			return false
		}
	}
	return true
}

// fresh is a choice of the second stream with what the client does not have yet; an empty one is
// nothing.
func (p *told) fresh(choice, delta rawjson.Object) (rawjson.Object, bool) {
	if p.over {
		return rawjson.Object{}, true
	}
	if _, role := delta.Raw("role"); role {
		if p.begun {
			return rawjson.Object{}, true
		}
		p.begun = true
		return choice, true
	}
	edits, more := []rawjson.Edit(nil), false
	for _, key := range texts {
		value, _ := delta.Raw(key)
		text := rawjson.Inside(value)
		switch {
		case len(text) == 0:
			continue
		case bytes.HasPrefix(p.left, text):
			p.left = p.left[len(text):]
			edits = append(edits, rawjson.Edit{Key: key})
			continue
		case !bytes.HasPrefix(text, p.left):
			return choice, false
		}
		edits, more = append(edits, rawjson.Edit{Key: key, Value: rawjson.Quoted(text[len(p.left):])}), true
		p.left = nil
	}
	if ends(choice) {
		if len(p.left) > 0 {
			return choice, false
		}
		more = true
	}
	if !more {
		return rawjson.Object{}, true
	}
	choice, _ = rawjson.Scan(choice.Apply(rawjson.Edit{Key: "delta", Value: delta.Apply(edits...)}))
	return choice, true
}
