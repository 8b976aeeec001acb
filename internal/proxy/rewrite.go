package proxy

import (
	"bytes"
	"encoding/json"

	"github.com/loragate/loragate/internal/anthropic"
	"github.com/loragate/loragate/internal/rawjson"
)

type eventKind int

const (
	eventData  eventKind = iota
	eventDone            // the stream is complete
	eventError           // the worker reports an error, and that is the end
)

// rewriter gives the events of one stream the model's name that the client asked
// for, and counts what they tell.
//
// Nearly all events of a stream differ from the one before in a piece of text
// only. So it remembers what was around that, theirs and ours, and looks closely
// only at events that are not like it.
type rewriter struct {
	r            *request
	rec          *record
	theirs, ours frame
	out          []byte // the last event
	complete     bool   // the event that completes the stream has come
	began        bool   // progress has been told
	held         []byte // events of the Responses API from before the prompt was read
	reading      bool   // it has been
	message      anthropic.Stream
}

// next reads on until there is something for the client, and rewrites it. What it
// returns is valid until the next call; the errors are the reader's.
func (w *rewriter) next(events *eventReader) ([]byte, eventKind, error) {
	for {
		event, err := events.next()
		if err != nil {
			return nil, eventData, err
		}
		w.rec.begin()
		if out, kind := w.rewrite(event); len(out) > 0 || kind != eventData {
			return out, kind, nil
		}
	}
}

// frame is what stands before and behind the text in an event.
type frame struct{ head, tail []byte }

// rewrite returns an event as the client gets it, valid until the next call, and
// says what it is. Some are not for the client: then there is nothing. What has not one line of JSON data passes as it is.
func (w *rewriter) rewrite(event []byte) ([]byte, eventKind) {
	if w.r.endpoint.messages {
		return w.translate(event)
	}
	if text, ok := w.theirs.text(event); ok {
		if len(text) > 0 {
			w.rec.tally.pieces++
		}
		w.out = append(append(append(w.out[:0], w.ours.head...), text...), w.ours.tail...)
		return w.out, eventData
	}
	line := bytes.TrimRight(event, "\r\n")
	if bytes.Equal(line, doneEvent) {
		return event, eventDone
	}
	head, object, ok := scanEvent(line)
	if !ok {
		return event, eventData
	}
	if failure, ok := object.Raw("error"); ok {
		return w.r.endpoint.failure(fromEvent(w.r, failure), w.rec.id), eventError
	}
	if raw, ok := object.Raw(progressKey); ok {
		if object, ok = w.progress(object, raw); !ok {
			return nil, eventData
		}
	}
	if textAt(event) > 0 {
		w.rec.tally.pieces++
	}
	w.out = append(append(append(w.out[:0], head...), dataPrefix...), w.r.rename(object)...)
	w.out = append(w.out, event[len(line):]...)
	if !w.tells(object) {
		w.theirs, w.ours = frameOf(event), frameOf(w.out)
	}
	return w.hold(object), eventData
}

// hold keeps the first events of the Responses API, which come before the prompt has
// been read, until the next one comes: as long as the client has nothing, the request
// may run elsewhere.
func (w *rewriter) hold(object rawjson.Object) []byte {
	if w.reading || !w.r.progress || w.r.endpoint.inner != responseKey {
		return w.out
	}
	if kind, _ := object.Raw("type"); string(kind) == `"response.created"` || string(kind) == `"response.in_progress"` {
		w.held = append(w.held, w.out...)
		return nil
	}
	w.reading = true
	return append(w.held, w.out...)
}

// tells takes in what an event tells beside its text, and reports whether it does.
func (w *rewriter) tells(object rawjson.Object) bool {
	e := w.r.endpoint
	ends := e.ends != nil && e.ends(object)
	w.complete = w.complete || ends
	counted := w.rec.tally.countEither(object, e.inner)
	return ends || counted
}

// progressKey is what events have that tell how much of a prompt has been read.
// They are asked for so that the prompt of a stream that is left is accounted for.
const progressKey = "prompt_progress"

// progress takes in what such an event tells. It returns what the client gets of
// it: false is nothing, for it did not ask.
func (w *rewriter) progress(object rawjson.Object, told json.RawMessage) (rawjson.Object, bool) {
	w.rec.tally.progress(told)
	switch {
	case !w.r.progress:
		return object, true
	case w.r.endpoint.inner == "" || w.began:
		return object, false
	}
	// In the Responses API it is told in events that would come once without.
	w.began = true
	return rawjson.Scan(object.Apply(rawjson.Edit{Key: progressKey}))
}

// translate is rewrite for the Messages API.
func (w *rewriter) translate(event []byte) ([]byte, eventKind) {
	line := bytes.TrimRight(event, "\r\n")
	if bytes.Equal(line, doneEvent) {
		return w.message.End(), eventDone
	}
	_, object, ok := scanEvent(line)
	if !ok {
		return nil, eventData
	}
	if failure, ok := object.Raw("error"); ok {
		return w.r.endpoint.failure(fromEvent(w.r, failure), w.rec.id), eventError
	}
	if raw, ok := object.Raw(progressKey); ok {
		w.rec.tally.progress(raw)
		w.message.Prompt(w.rec.tally.read.Prompt, w.rec.tally.read.Cached)
		return nil, eventData
	}
	if textAt(event) > 0 {
		w.rec.tally.pieces++
	}
	w.rec.tally.count(object)
	return w.message.Chunk(w.r.rename(object)), eventData
}

// scanEvent returns the object that an event's data is, and the lines before it.
func scanEvent(line []byte) (head []byte, object rawjson.Object, ok bool) {
	head, data, ok := dataOf(line)
	if !ok {
		return nil, object, false
	}
	object, ok = rawjson.Scan(data)
	return head, object, ok
}

// dataOf returns an event's data, and the lines before it; the event must have
// one line of data, which is its last.
func dataOf(line []byte) (head, data []byte, ok bool) {
	at := bytes.LastIndexByte(line, '\n') + 1
	data, ok = bytes.CutPrefix(line[at:], dataPrefix)
	head = line[:at]
	return head, data, ok && !bytes.HasPrefix(head, dataPrefix) && !bytes.Contains(head, []byte("\ndata:"))
}

// textKeys begin the text of an event: a chat's and of llama-server's own API, that
// of a chat's reasoning, a completion's, a response's, a tool call's.
var textKeys = [][]byte{
	[]byte(`"content":"`), []byte(`"reasoning_content":"`), []byte(`"text":"`), []byte(`"delta":"`), []byte(`"arguments":"`),
}

// textAt returns where the first text in an event begins that is not empty, or 0.
func textAt(event []byte) int {
	for _, key := range textKeys {
		at := bytes.Index(event, key)
		if at += len(key); at >= len(key) && at < len(event) && event[at] != '"' {
			return at
		}
	}
	return 0
}

// frameOf returns what is around the first text in an event.
func frameOf(event []byte) (f frame) {
	at := textAt(event)
	if at == 0 {
		return frame{}
	}
	end := bytes.IndexByte(event[at:], '"')
	if end < 0 || end > 0 && event[at+end-1] == '\\' {
		return frame{} // the text has a quote in it
	}
	return frame{head: bytes.Clone(event[:at]), tail: bytes.Clone(event[at+end:])}
}

// text returns the text of an event that is like the frame's but for that: one
// JSON string, for there is no quote in it, nor is the one behind it escaped.
func (f *frame) text(event []byte) ([]byte, bool) {
	if f.head == nil || len(event) < len(f.head)+len(f.tail) ||
		!bytes.HasPrefix(event, f.head) || !bytes.HasSuffix(event, f.tail) {
		return nil, false
	}
	text := event[len(f.head) : len(event)-len(f.tail)]
	if bytes.IndexByte(text, '"') >= 0 || len(text) > 0 && text[len(text)-1] == '\\' {
		return nil, false
	}
	return text, true
}
