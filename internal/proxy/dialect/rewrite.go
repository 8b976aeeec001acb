package dialect

import (
	"bytes"
	"errors"

	"github.com/loragate/loragate/internal/proxy/anthropic"
	"github.com/loragate/loragate/internal/proxy/failure"
	"github.com/loragate/loragate/internal/proxy/responses"
	"github.com/loragate/loragate/internal/proxy/sse"
	"github.com/loragate/loragate/internal/proxy/tally"
	"github.com/loragate/loragate/internal/rawjson"
)

// Kind is what an event is.
type Kind int

const (
	Data   Kind = iota
	Done        // the stream is complete
	Failed      // the worker reports an error, and that is the end
	// Unparsed is the end of a stream that llama-server could not take apart. The next one must
	// be of the same answer as text: what the client has of it already is passed over.
	Unparsed
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
	Keeps     bool // what is told is remembered, for another stream to go on from there

	// Account is of the whole request, for a client that asked to be told at the end of the stream
	// what it took; nil tells it what llama-server does.
	Account *tally.Account

	Complete bool // the event that completes the stream has come

	theirs, ours sse.Frame
	out          []byte // the last event
	began        bool   // the response has
	message      anthropic.Stream
	added        addition

	again
}

// Rewrite returns an event as the client gets it, valid until the next call, and
// says what it is. Some are not for the client: then there is nothing. What has not one line
// of JSON data passes as it is.
func (w *Rewriter) Rewrite(event []byte) ([]byte, Kind) {
	if w.second {
		var ok bool
		if event, ok = w.fresh(event); !ok {
			return w.Failure(w.failed, w.RequestID), Failed
		}
		if event == nil {
			return nil, Data
		}
	}
	switch {
	case w.API.Messages:
		return w.translate(event)
	case w.API.Responses:
		return w.respond(event)
	}
	if text, ok := w.theirs.Text(event); ok {
		if len(text) > 0 {
			w.Tally.Text()
		}
		w.keepText(text)
		w.out = w.ours.Append(w.out[:0], text)
		return w.out, Data
	}
	line := bytes.TrimRight(event, "\r\n")
	if sse.IsDone(line) {
		return append(w.added.usage(w.Renamer, w.Account), event...), Done
	}
	head, object, ok := sse.Object(line)
	if !ok {
		return event, Data
	}
	if raw, ok := object.Raw("error"); ok {
		return w.fail(raw)
	}
	later := w.keeps() && w.keep(object, w.Tally.Parts())
	if raw, ok := object.Raw(tally.ProgressKey); ok {
		if w.Tally.Progress(raw); w.Hides {
			return nil, Data
		}
	}
	told, original := w.tells(event, object), object
	object, same, silent := w.added.to(object, w.Renamer, w.RequestID, w.Account != nil)
	if silent {
		return nil, Data
	}
	w.out = append(append(append(w.out[:0], head...), sse.DataPrefix...), w.Told(w.Rename(object))...)
	w.out = append(w.out, event[len(line):]...)
	switch {
	case later:
		w.theirs, w.ours = sse.Frame{}, sse.Frame{}
		return w.hold(original, w.out), Data
	case w.added.ends():
		w.out = append(append(w.out, w.added.usage(w.Renamer, w.Account)...), "data: [DONE]\n\n"...)
	case !told && same:
		w.theirs, w.ours = sse.FrameOf(event), sse.FrameOf(w.out)
	}
	return w.out, Data
}

// keeps reports whether what is told may have to be told again.
func (w *Rewriter) keeps() bool { return w.Keeps && !w.second }

// keepText is keep for the text of an event like the last one.
func (w *Rewriter) keepText(text []byte) {
	if w.keeps() && w.current < len(w.parts) {
		p := &w.parts[w.current]
		p.said = append(p.said, text...)
	}
}

// fail is what becomes of an error with which llama-server ends the stream.
func (w *Rewriter) fail(raw []byte) ([]byte, Kind) {
	e := failure.FromEvent(w.Asked, raw)
	if w.Keeps && errors.Is(e, failure.ErrUnparsed) && w.resume(e, w.Tally.Parts()) {
		w.theirs, w.ours = sse.Frame{}, sse.Frame{}
		return nil, Unparsed
	}
	return w.Failure(e, w.RequestID), Failed
}

// tells takes in what an event tells, and reports whether that is more than its text.
func (w *Rewriter) tells(event []byte, object rawjson.Object) bool {
	if sse.TextAt(event) > 0 {
		w.Tally.Text()
	}
	e := w.API
	ends := e.Ends != nil && e.Ends(object)
	w.Complete = w.Complete || ends
	counted := w.Tally.Count(object)
	return ends || counted
}

// chunk returns the object that an event of a chat is, to be put into another API's terms. It reports
// false for what is none, and for an error: then out and kind are what becomes of the event. The end
// is the caller's to tell.
func (w *Rewriter) chunk(event []byte) (object rawjson.Object, ok bool, out []byte, kind Kind) {
	line := bytes.TrimRight(event, "\r\n")
	if sse.IsDone(line) {
		return object, false, nil, Done
	}
	if _, object, ok = sse.Object(line); !ok {
		return object, false, nil, Data
	}
	if raw, ok := object.Raw("error"); ok {
		out, kind = w.fail(raw)
		return object, false, out, kind
	}
	if w.keeps() {
		w.keep(object, w.Tally.Parts())
	}
	return object, true, nil, Data
}

// translate is Rewrite for the Messages API.
func (w *Rewriter) translate(event []byte) ([]byte, Kind) {
	object, ok, out, kind := w.chunk(event)
	switch {
	case kind == Done:
		return w.message.End(), Done
	case !ok:
		return out, kind
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

// respond is Rewrite for the Responses API.
func (w *Rewriter) respond(event []byte) ([]byte, Kind) {
	if text, ok := w.theirs.Text(event); ok {
		if len(text) == 0 {
			return nil, Data
		}
		w.Tally.Text()
		w.keepText(text)
		return w.response.Text(text), Data
	}
	if !w.began {
		w.began = true
		w.response = &responses.Stream{Asked: w.Responded, Model: w.Model}
	}
	object, ok, out, kind := w.chunk(event)
	switch {
	case kind == Done:
		return w.response.End(), Done
	case !ok:
		return out, kind
	}
	if raw, ok := object.Raw(tally.ProgressKey); ok {
		if w.Tally.Progress(raw); w.Hides {
			return nil, Data
		}
		return w.response.Progress(object, tally.ProgressKey, raw), Data
	}
	if sse.TextAt(event) > 0 {
		w.Tally.Text()
	}
	w.Tally.Count(object)
	out = w.response.Chunk(object)
	if w.theirs = (sse.Frame{}); w.response.Likely() {
		w.theirs = sse.FrameOf(event)
	}
	return out, Data
}
