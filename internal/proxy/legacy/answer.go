package legacy

import (
	"cmp"
	"slices"

	"github.com/loragate/loragate/internal/rawjson"
)

// Answer makes a whole answer of llama-server's what the client asked for. It reports false for
// what is none. The head is for one in the middle of other text.
func (o *Options) Answer(text []byte, head Head) ([]byte, bool) {
	if o.Middle {
		text = head.whole(text)
	}
	answer, ok := rawjson.Scan(text)
	if !ok {
		return nil, false
	}
	raw, ok := answer.Raw("choices")
	if !ok {
		return nil, false
	}
	choices := rawjson.Elements(raw)
	if o.Candidates > o.Choices {
		choices = o.best(choices)
	}
	for i, choice := range choices {
		object, ok := rawjson.Scan(choice)
		if !ok {
			return nil, false
		}
		choices[i] = o.choice(object, &place{}, true).Apply(rawjson.Edit{Key: "index", Value: rawjson.Int(i)})
	}
	return answer.Apply(rawjson.Edit{Key: "choices", Value: rawjson.List(choices)}), true
}

// best returns the likeliest of the candidates, the best one first.
func (o *Options) best(candidates [][]byte) [][]byte {
	slices.SortStableFunc(candidates, func(a, b []byte) int { return cmp.Compare(mean(contentOf(b)), mean(contentOf(a))) })
	return candidates[:min(len(candidates), o.Choices)]
}

// contentOf returns what llama-server tells of a choice's tokens.
func contentOf(choice []byte) []byte {
	object, _ := rawjson.Scan(choice)
	raw, _ := object.Path("logprobs", "content")
	return raw
}

// choice gives a choice of an answer, or of an event, what the client asked for. first is whether
// it has the beginning of the text.
func (o *Options) choice(choice rawjson.Object, at *place, first bool) rawjson.Object {
	var edits []rawjson.Edit
	raw, _ := choice.Raw("text")
	text := rawjson.Inside(raw)
	if o.Silent {
		text = nil
	}
	if first && o.Echo {
		text = slices.Concat(o.before(), text)
	}
	if o.Echo {
		edits = append(edits, rawjson.Edit{Key: "text", Value: rawjson.Quoted(text)})
	}
	content, told := choice.Path("logprobs", "content")
	switch {
	case o.Logprobs && told:
		edits = append(edits, rawjson.Edit{Key: "logprobs", Value: older(content, o.Top, at)})
	case o.Candidates > o.Choices && told && !o.Logprobs:
		edits = append(edits, rawjson.Edit{Key: "logprobs", Value: []byte("null")})
	}
	changed, _ := rawjson.Scan(choice.Apply(edits...)) // an edited object stays one
	return changed
}

// Stream makes the events of one stream what the client asked for.
type Stream struct {
	*Options
	Head Head // of events in the middle of other text

	texts []written // by choice
	ended int       // choices of which the last event has come
	first bool      // the event that came last was a choice's first
}

// written is how far a choice's text is.
type written struct {
	begun bool
	at    place
}

// Ended reports whether the last event of a stream in the middle of other text has come.
func (s *Stream) Ended() bool { return s.Middle && s.ended >= max(1, s.Candidates) }

// Repeats reports whether an event that is like the one before but for its text becomes the same as
// that but for its text.
func (s *Stream) Repeats() bool {
	if s.Logprobs || s.Silent || s.Middle {
		return false
	}
	return len(s.texts) > 0 && !s.first
}

// Event returns an event as the client gets it.
func (s *Stream) Event(event rawjson.Object) rawjson.Object {
	if s.Middle {
		text, last := s.Head.one(event)
		if event, _ = rawjson.Scan(text); last {
			s.ended++
		}
	}
	raw, ok := event.Raw("choices")
	if !ok {
		return event
	}
	choices := rawjson.Elements(raw)
	for i, choice := range choices {
		object, ok := rawjson.Scan(choice)
		if !ok {
			return event
		}
		w := s.text(object)
		at := w.at
		choices[i] = s.choice(object, &at, !w.begun).Apply()
		s.first, w.begun = !w.begun, true
		said, _ := object.Raw("text")
		w.at.pass([]byte(rawjson.Text(said))) // a token of each event only is told of
	}
	event, _ = rawjson.Scan(event.Apply(rawjson.Edit{Key: "choices", Value: rawjson.List(choices)}))
	return event
}

// text returns how far the text of an event's choice is.
func (s *Stream) text(choice rawjson.Object) *written {
	index, _ := choice.Raw("index")
	n := rawjson.Count(index)
	if n < 0 || n >= max(1, s.Choices) {
		n = 0
	}
	for len(s.texts) <= n {
		s.texts = append(s.texts, written{})
	}
	return &s.texts[n]
}
