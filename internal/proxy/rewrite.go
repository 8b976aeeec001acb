package proxy

import (
	"bytes"

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
}

// frame is what stands before and behind the text in an event.
type frame struct{ head, tail []byte }

// rewrite returns an event as the client gets it, valid until the next call, and
// says what it is. What is not one line of JSON data passes as it is.
func (w *rewriter) rewrite(event []byte) ([]byte, eventKind) {
	if text, ok := w.theirs.text(event); ok {
		w.rec.chunks++
		w.out = append(append(append(w.out[:0], w.ours.head...), text...), w.ours.tail...)
		return w.out, eventData
	}
	line := bytes.TrimRight(event, "\r\n")
	if bytes.Equal(line, doneEvent) {
		return event, eventDone
	}
	data, ok := bytes.CutPrefix(line, dataPrefix)
	if !ok || bytes.IndexByte(data, '\n') >= 0 {
		return event, eventData
	}
	object, ok := rawjson.Scan(data)
	if !ok {
		return event, eventData
	}
	if failure, ok := object.Raw("error"); ok {
		return errorEvent(fromEvent(failure)), eventError
	}
	w.rec.chunks++
	w.out = append(append(w.out[:0], dataPrefix...), w.r.rename(object)...)
	w.out = append(w.out, event[len(line):]...)
	if !w.rec.count(object) {
		w.theirs, w.ours = frameOf(event), frameOf(w.out)
	}
	return w.out, eventData
}

// contentKey begins the text of a chat's event, textKey that of a completion's.
var contentKey, textKey = []byte(`"content":"`), []byte(`"text":"`)

// frameOf returns what is around the first text in an event.
func frameOf(event []byte) (f frame) {
	key := contentKey
	at := bytes.Index(event, key)
	if at < 0 {
		key = textKey
		at = bytes.Index(event, key)
	}
	if at < 0 {
		return frame{}
	}
	at += len(key)
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
