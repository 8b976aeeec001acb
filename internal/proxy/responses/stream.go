package responses

import (
	"bytes"
	"slices"
	"strconv"

	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/rawjson"
)

// Stream turns a chat completion's chunks into a response's events. Texts are joined as they
// stand in the chunks, escapes and all.
type Stream struct {
	Asked *Asked
	Model string // what the client calls the model

	started bool
	id      string // of the response, without what says so
	created []byte
	last    []byte // when the last chunk was made
	number  int    // of the next event

	open   *kind // of the item that is open; nil is none
	item   item  // that is open
	likely bool  // the next chunk is likely to have a text for it and nothing else
	items  [][]byte

	finish  string
	usage   rawjson.Object
	timings []byte // as of the last chunk that told them
	timed   bool   // the chunk that is looked at told them

	out []byte // events
}

// Progress returns the events that say how much of the prompt has been read, for a client that asked
// to be told: llama-server's word on it is a member of a chunk.
func (s *Stream) Progress(chunk rawjson.Object, key string, raw []byte) []byte {
	s.out = s.out[:0]
	if !s.begin(chunk) {
		s.event("response.in_progress", s.response("in_progress", nil), member{key, raw})
	} else if n := bytes.LastIndexByte(s.out, '}'); n > 0 { // into the event that has just been made
		s.out = slices.Concat(s.out[:n], []byte(`,"`+key+`":`), raw, s.out[n:])
	}
	return s.out
}

// begin makes the events that every stream begins with, once.
func (s *Stream) begin(chunk rawjson.Object) bool {
	if created, ok := chunk.Raw("created"); ok {
		s.last = append(s.last[:0], created...)
	}
	if s.started {
		return false
	}
	s.started = true
	raw, _ := chunk.Raw("id")
	id, _ := bytes.CutPrefix(rawjson.Inside(raw), []byte("chatcmpl-"))
	s.id = string(id)
	if s.created = bytes.Clone(s.last); s.created == nil {
		s.created = []byte("0")
	}
	s.event("response.created", s.response("in_progress", nil))
	s.event("response.in_progress", s.response("in_progress", nil))
	return true
}

// Chunk returns the events that stand for one chunk, none perhaps; they are valid until the next
// call.
func (s *Stream) Chunk(chunk rawjson.Object) []byte {
	s.out = s.out[:0]
	s.begin(chunk)
	s.likely, s.timed = false, false
	if usage, ok := chunk.Inner("usage"); ok {
		s.usage, _ = rawjson.Scan(usage.Apply())
	}
	if timings, ok := chunk.Raw("timings"); ok {
		s.timings, s.timed = bytes.Clone(timings), true
	}
	raw, _ := chunk.Raw("choices")
	rawjson.Each(raw, func(first, _ []byte) bool {
		if choice, ok := rawjson.Scan(first); ok {
			s.choice(choice)
		}
		return false
	})
	return s.out
}

// choice takes in what a chunk, or a whole answer, has of a choice.
func (s *Stream) choice(choice rawjson.Object) {
	delta, ok := choice.Inner("delta")
	if !ok {
		delta, _ = choice.Inner("message")
	}
	thought, _ := delta.Raw("reasoning_content")
	if text := rawjson.Inside(thought); len(text) > 0 {
		s.turn(s.thoughts(), 0)
		s.add(text, nil)
	}
	content, _ := delta.Raw("content")
	if text := rawjson.Inside(content); len(text) > 0 {
		s.turn(message, 0)
		s.add(text, s.Asked.logprobs(choice))
	}
	calls, _ := delta.Raw("tool_calls")
	for _, call := range rawjson.Elements(calls) {
		if o, ok := rawjson.Scan(call); ok {
			s.call(o)
		}
	}
	s.likely = len(calls) == 0 && !s.timed && s.open != nil && (string(content) == "null" || content == nil || thought == nil) &&
		len(s.item.logprobs) == 0
	if raw, _ := choice.Raw("finish_reason"); len(rawjson.Inside(raw)) > 0 {
		s.finish = string(rawjson.Inside(raw))
	}
}

// Likely reports whether the next chunk is likely to be like the last one but for its text.
func (s *Stream) Likely() bool { return s.likely }

// Text is Chunk for a chunk that is like the last one but for its text, the inside of a JSON
// string.
func (s *Stream) Text(text []byte) []byte {
	s.out = s.out[:0]
	s.add(text, nil)
	return s.out
}

// call takes in a part of a tool call: its name comes first, of its arguments what is new.
func (s *Stream) call(call rawjson.Object) {
	raw, _ := call.Raw("index")
	index := max(0, rawjson.Count(raw))
	function, _ := call.Inner("function")
	name, _ := function.Raw("name")
	id, _ := call.Raw("id")
	if !s.isOpen(functionCall, index) && !s.isOpen(customCall, index) {
		if len(rawjson.Inside(name)) == 0 {
			return
		}
		k, told := functionCall, s.Asked.tells(name)
		if told.custom {
			k = customCall
		}
		s.close("completed")
		s.item = item{index: index, name: told.name, within: told.namespace, call: bytes.Clone(rawjson.Inside(id))}
		s.opened(k)
	}
	arguments, _ := function.Raw("arguments")
	if text := rawjson.Inside(arguments); len(text) > 0 {
		s.add(text, nil)
	}
}

func (s *Stream) isOpen(k *kind, index int) bool { return s.open == k && s.item.index == index }

// turn opens an item, unless the open one goes on.
func (s *Stream) turn(k *kind, index int) {
	if s.isOpen(k, index) {
		return
	}
	s.close("completed")
	s.item = item{index: index}
	s.opened(k)
}

// thoughts is the kind of item that thoughts are told in.
func (s *Stream) thoughts() *kind {
	if s.Asked.summary {
		return summary
	}
	return reasoning
}

// opened tells that an item has begun, and its part.
func (s *Stream) opened(k *kind) {
	s.open = k
	if k == functionCall || k == customCall {
		s.item.setCall(s.id, len(s.items))
	}
	s.item.stand(k, s.id, len(s.items))
	s.event("response.output_item.added", member{"", s.item.output},
		member{"item", k.whole(&s.item, "in_progress", false)})
	if k.part != nil {
		s.event(k.partAdded, member{"", s.item.place}, member{"part", k.part(&s.item)})
	}
}

// add adds to the text of the open item, and tells it.
func (s *Stream) add(text, logprobs []byte) {
	s.item.text = append(s.item.text, text...)
	s.item.addLogprobs(logprobs)
	if s.open.whenDone || len(text) == 0 {
		return
	}
	s.out = append(append(append(s.out, s.item.head...), text...), '"')
	if s.open == message {
		s.out = append(append(append(s.out, `,"logprobs":[`...), logprobs...), ']')
	}
	if s.timed { // for who asked for it with each token
		s.out = append(append(s.out, `,"timings":`...), s.timings...)
	}
	s.endEvent()
}

// close ends the open item: in the end that of an answer that was cut is incomplete.
func (s *Stream) close(status string) {
	k := s.open
	if k == nil {
		return
	}
	s.open, s.likely = nil, false
	at := member{"", s.item.place}
	if k.whenDone {
		s.event(k.delta, at, member{"delta", s.item.said(k)})
	}
	done := []member{at, {k.says, s.item.said(k)}}
	if k == message {
		done = append(done, member{"logprobs", s.item.allLogprobs()})
	}
	s.event(k.done, done...)
	if k.part != nil {
		s.event(k.partDone, at, member{"part", k.part(&s.item)})
	}
	whole := k.whole(&s.item, status, true)
	s.event("response.output_item.done", member{"", s.item.output}, member{"item", whole})
	s.items = append(s.items, whole)
}

// End returns the events that complete the response.
func (s *Stream) End() []byte {
	s.out = s.out[:0]
	s.begin(rawjson.Object{})
	status := s.status()
	s.close(status)
	var more []member
	if s.timings != nil {
		more = append(more, member{"timings", s.timings})
	}
	s.event("response."+status, append([]member{s.response(status, nil)}, more...)...)
	return s.out
}

// status is how the answer has ended.
func (s *Stream) status() string {
	if s.finish == "length" || s.finish == "content_filter" {
		return "incomplete"
	}
	return "completed"
}

// Failure returns the events that tell of an error: the first for those who follow the response,
// if it has begun, the second for those who wait for errors.
func (s *Stream) Failure(e *httpkit.Error) []byte {
	s.out = s.out[:0]
	if s.started {
		w := rawjson.Builder{}
		w.Member("code", []byte(`"server_error"`))
		w.Member("message", rawjson.String(e.Message))
		s.event("response.failed", s.response("failed", w.End()))
	}
	code, param := []byte("null"), []byte("null")
	if e.Code != "" {
		code = rawjson.String(e.Code)
	}
	if e.Param != "" {
		param = rawjson.String(e.Param)
	}
	object, _ := rawjson.Scan(e.JSON()) // our own
	inner, _ := object.Raw("error")
	s.event("error", member{"code", code}, member{"message", rawjson.String(e.Message)}, member{"param", param},
		member{"error", inner})
	return s.out
}

// member is one of an event; without a key its value is several, as they stand.
type member struct {
	key   string
	value []byte
}

// event adds one.
func (s *Stream) event(kind string, members ...member) {
	s.out = append(append(append(append(append(s.out, "event: "...), kind...), "\ndata: {\"type\":\""...), kind...), '"')
	for _, m := range members {
		s.out = append(s.out, ',')
		if m.key != "" {
			s.out = append(append(append(s.out, '"'), m.key...), `":`...)
		}
		s.out = append(s.out, m.value...)
	}
	s.endEvent()
}

// endEvent numbers an event.
func (s *Stream) endEvent() {
	s.out = strconv.AppendInt(append(s.out, `,"sequence_number":`...), int64(s.number), 10)
	s.out = append(s.out, "}\n\n"...)
	s.number++
}

// response is the member that has the whole response, as far as it has come.
func (s *Stream) response(status string, failure []byte) member {
	return member{"response", s.object(status, failure)}
}
