package dialect

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/loragate/loragate/internal/proxy/anthropic"
	"github.com/loragate/loragate/internal/proxy/failure"
	"github.com/loragate/loragate/internal/proxy/sse"
	"github.com/loragate/loragate/internal/proxy/tally"
	"github.com/loragate/loragate/internal/proxy/whole"
	"github.com/loragate/loragate/internal/rawjson"
)

// Kind is what an event is.
type Kind int

const (
	Data   Kind = iota
	Done        // the stream is complete
	Failed      // the worker reports an error, and that is the end
)

// Rewriter gives the events of one stream the model's name that the client asked
// for, and counts what they tell. It remembers the sse.Frame of the last event that it has
// looked at, theirs and ours.
type Rewriter struct {
	*Renamer
	Asked     failure.Asked
	RequestID string
	Tally     *tally.Tally
	Hides     bool // progress with the prompt is told for us alone
	Keeps     bool // what is told is remembered, for Resume

	Complete bool // the event that completes the stream has come

	theirs, ours sse.Frame
	out          []byte // the last event
	began        bool   // progress has been told
	held         []byte // events of the Responses API from before the prompt was read
	reading      bool   // it has been
	message      anthropic.Stream

	again
}

// Rewrite returns an event as the client gets it, valid until the next call, and
// says what it is. Some are not for the client: then there is nothing. What has not one line
// of JSON data passes as it is.
func (w *Rewriter) Rewrite(event []byte) ([]byte, Kind) {
	if w.second {
		var ok bool
		if event, ok = w.fresh(event); !ok {
			return w.API.Failure(w.failed, w.RequestID), Failed
		}
		if event == nil {
			return nil, Data
		}
	}
	if w.API.Messages {
		return w.translate(event)
	}
	if text, ok := w.theirs.Text(event); ok {
		if len(text) > 0 {
			w.Tally.Text()
		}
		if w.Keeps {
			w.said = append(w.said, text...)
		}
		w.out = w.ours.Append(w.out[:0], text)
		return w.out, Data
	}
	line := bytes.TrimRight(event, "\r\n")
	if sse.IsDone(line) {
		return event, Done
	}
	head, object, ok := sse.Object(line)
	if !ok {
		return event, Data
	}
	if raw, ok := object.Raw("error"); ok {
		return w.fail(raw)
	}
	if w.Keeps {
		w.keep(object)
	}
	if raw, ok := object.Raw(tally.ProgressKey); ok {
		if object, ok = w.progress(object, raw); !ok {
			return nil, Data
		}
	}
	if sse.TextAt(event) > 0 {
		w.Tally.Text()
	}
	w.out = append(append(append(w.out[:0], head...), sse.DataPrefix...), w.Told(w.Rename(object))...)
	w.out = append(w.out, event[len(line):]...)
	if !w.tells(object) {
		w.theirs, w.ours = sse.FrameOf(event), sse.FrameOf(w.out)
	}
	return w.hold(object), Data
}

// Resume reports whether a second stream can tell what the first one failed to, and makes ready
// for that.
func (w *Rewriter) Resume() bool {
	if !w.Keeps || !w.resume() {
		return false
	}
	w.theirs, w.ours = sse.Frame{}, sse.Frame{}
	return true
}

// fail is an event for the client that llama-server ended the stream with an error.
func (w *Rewriter) fail(raw []byte) ([]byte, Kind) {
	e := failure.FromEvent(w.Asked, raw)
	if errors.Is(e, failure.ErrUnparsed) {
		w.failed = e
	}
	return w.API.Failure(e, w.RequestID), Failed
}

// hold keeps the first events of the Responses API, which come before the prompt has
// been read, until the next one comes: as long as the client has nothing, the request
// may run elsewhere.
func (w *Rewriter) hold(object rawjson.Object) []byte {
	if w.reading || !w.Hides || w.API.Inner != whole.ResponseKey {
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
func (w *Rewriter) tells(object rawjson.Object) bool {
	e := w.API
	ends := e.Ends != nil && e.Ends(object)
	w.Complete = w.Complete || ends
	counted := w.Tally.CountEither(object, e.Inner)
	return ends || counted
}

// progress takes in what such an event tells. It returns what the client gets of
// it: false is nothing, for it did not ask.
func (w *Rewriter) progress(object rawjson.Object, told json.RawMessage) (rawjson.Object, bool) {
	w.Tally.Progress(told)
	switch {
	case !w.Hides:
		return object, true
	case w.API.Inner == "" || w.began:
		return object, false
	}
	// In the Responses API it is told in events that would come once without.
	w.began = true
	return rawjson.Scan(object.Apply(rawjson.Edit{Key: tally.ProgressKey}))
}

// translate is Rewrite for the Messages API.
func (w *Rewriter) translate(event []byte) ([]byte, Kind) {
	line := bytes.TrimRight(event, "\r\n")
	if sse.IsDone(line) {
		return w.message.End(), Done
	}
	_, object, ok := sse.Object(line)
	if !ok {
		return nil, Data
	}
	if raw, ok := object.Raw("error"); ok {
		return w.fail(raw)
	}
	if w.Keeps {
		w.keep(object)
	}
	if raw, ok := object.Raw(tally.ProgressKey); ok {
		w.Tally.Progress(raw)
		read := w.Tally.Read()
		w.message.Prompt(read.Prompt, read.Cached)
		return nil, Data
	}
	if sse.TextAt(event) > 0 {
		w.Tally.Text()
	}
	w.Tally.Count(object)
	if w.message.Begins() {
		w.message.Asked = anthropic.AskedIn(w.Asked.Body)
	}
	return w.message.Chunk(w.Rename(object)), Data
}
