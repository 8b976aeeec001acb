// Package whole puts the events of a stream together to the answer that llama-server would
// have given whole, for each of its APIs.
package whole

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/proxy/failure"
	"github.com/loragate/loragate/internal/proxy/sse"
	"github.com/loragate/loragate/internal/proxy/tally"
	"github.com/loragate/loragate/internal/rawjson"
)

// MaxAnswer bounds what a worker's answer may take of memory.
const MaxAnswer = 256 << 20

// ErrTooLong is for an answer of more.
var ErrTooLong = &httpkit.Error{
	Status: http.StatusBadGateway, Type: httpkit.TypeServer, Code: "answer_too_large",
	Message: fmt.Sprintf("The answer is longer than %d bytes.", MaxAnswer),
}

// ErrNotFromStream says that llama-server could not stream an answer that it may
// well give whole.
var ErrNotFromStream = errors.New("the answer cannot be had from a stream")

// Shape is how one kind of endpoint tells an answer in events, and how it tells it whole.
type Shape struct {
	// Ends tells the event that completes a stream; nil: [DONE] follows it. Several
	// may come, and the stream's end is its end.
	Ends func(event rawjson.Object) bool
	// Parses says that llama-server takes answers apart, into thoughts, text and calls.
	Parses bool

	verbose bool // what ended an answer is told to those only who ask for all
	// take takes an event in, which is valid until take returns.
	take func(a *Assembly, event []byte, object rawjson.Object)
	// build returns the whole answer.
	build func(a *Assembly) []byte
}

// Want is what the client of an answer wants it to be.
type Want struct {
	failure.Asked          // what the worker was asked
	Model         string   // what the client calls the model
	Fields        []string // of llama-server's own answer; none is all

	// Full says that a chat has what OpenAI's schema wants also where llama-server leaves it out,
	// as null.
	Full bool
}

// Assembly puts the events of one stream together to the answer that llama-server
// would have given whole.
//
// llama-server looks for the client of a whole answer only after a second in which
// it had no result for anybody (server_response::recv_with_timeout), which does not
// come while others are served. Of a stream it notices with the next event. So whole
// answers are had as streams.
//
// Nothing is decoded: text is joined as it stands in the events, escapes and all.
type Assembly struct {
	shape    *Shape
	want     Want
	tally    *tally.Tally
	drafts   []*draft // by the index of their choice
	last     *draft   // that has ended
	size     int      // bytes that are kept
	complete bool     // the stream has ended as it should

	// Exact leaves the usage that of one choice, as llama-server tells it.
	Exact bool
}

// draft is one choice of an answer as far as it has come. Texts are the insides of
// JSON strings.
type draft struct {
	content, reasoning []byte
	calls              []call
	finish             []byte // the reason, raw
	word               []byte // of a chat, that ended it, raw
	last               rawjson.Object
	ended              bool

	tokens  [][]byte // the ids of what was generated, raw
	decoded int      // how many there must be, by the last event
	gaps    []gap
	unsaid  int      // tokens at the end whose text has not come
	probs   [][]byte // what is told of each token's probability, raw

	around sse.Frame // of the events that have come last
	into   *[]byte   // where their text goes
}

// call is a tool call.
type call struct{ id, name, arguments []byte }

// gap is where ids of tokens are missing: of a character that is made of several
// tokens llama-server's events tell the last one only.
type gap struct {
	at      int    // in tokens, of the first one that is missing
	missing int    // how many
	text    []byte // of the event, the inside of a JSON string
}

// New returns an Assembly that counts into t what its events tell.
func New(shape *Shape, want Want, t *tally.Tally) Assembly {
	return Assembly{shape: shape, want: want, tally: t}
}

// Read takes all events in, and calls began with each.
func (a *Assembly) Read(events *sse.Reader, began func()) error {
	for !a.complete {
		event, err := events.Next()
		switch {
		case errors.Is(err, io.EOF) && a.shape.Ends != nil && a.allEnded():
			return nil
		case errors.Is(err, io.EOF):
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		}
		began()
		if err := a.take(event); err != nil {
			return err
		}
		if a.size > MaxAnswer {
			return ErrTooLong
		}
	}
	return nil
}

func (a *Assembly) allEnded() bool {
	return len(a.drafts) > 0 && !slices.ContainsFunc(a.drafts, func(d *draft) bool { return !d.ended })
}

// take takes one event in. Nearly all differ from the one before in their text only.
func (a *Assembly) take(event []byte) error {
	for _, d := range a.drafts {
		if text, ok := d.around.Text(event); ok {
			if len(text) > 0 {
				a.tally.Text()
			}
			a.add(d.into, text)
			return nil
		}
	}
	line := bytes.TrimRight(event, "\r\n")
	if sse.IsDone(line) {
		a.complete = true
		return nil
	}
	_, object, ok := sse.Object(line)
	if !ok {
		return nil // it keeps the connection alive
	}
	if raw, ok := object.Raw("error"); ok {
		return a.failed(failure.FromEvent(a.want.Asked, raw))
	}
	if raw, ok := object.Raw(tally.ProgressKey); ok {
		a.tally.Progress(raw)
		return nil
	}
	if sse.TextAt(event) > 0 {
		a.tally.Text()
	}
	a.tally.Count(object)
	a.shape.take(a, event, object)
	return nil
}

// failed is the error for one that came as an event. What llama-server makes of a
// chat's text while it streams can fail where the whole text would not, but for a text that is
// no call.
func (a *Assembly) failed(e *httpkit.Error) error {
	if errors.Is(e, failure.ErrUnparsed) && !errors.Is(e, failure.ErrUnstreamed) {
		return e
	}
	if e.Status == http.StatusInternalServerError && a.shape.Parses {
		return fmt.Errorf("%w: %w", ErrNotFromStream, errors.New(e.Message))
	}
	return e
}

// Build returns the whole answer.
func (a *Assembly) Build() []byte { return a.shape.build(a) }

// draft returns the choice of an index, as an event tells it.
func (a *Assembly) draft(index []byte) *draft {
	n := rawjson.Count(index)
	if n < 0 || n >= a.tally.Parts() {
		n = 0
	}
	for len(a.drafts) <= n {
		a.drafts = append(a.drafts, &draft{})
	}
	return a.drafts[n]
}

// choice returns the choice that an event in OpenAI's terms is of, and its draft. It
// reports false for one that is of none.
func (a *Assembly) choice(event rawjson.Object) (choice rawjson.Object, d *draft, ok bool) {
	raw, _ := event.Raw("choices")
	rawjson.Each(raw, func(first, _ []byte) bool {
		choice, ok = rawjson.Scan(first)
		return false
	})
	if !ok {
		return choice, nil, false
	}
	index, _ := choice.Raw("index")
	return choice, a.draft(index), true
}

// follow keeps of a choice's event why the choice has ended, and reports whether it has.
// The first event is kept, too: who answers is known then, in case that nothing else tells.
func (a *Assembly) follow(d *draft, event, choice rawjson.Object) (ended bool) {
	finish, _ := choice.Raw("finish_reason")
	if ended = len(finish) > 0 && string(finish) != "null"; ended {
		d.finish = bytes.Clone(finish)
	}
	if ended || d.last.Empty() {
		a.end(d, event)
		d.ended = ended
	}
	return ended
}

// add adds to what is kept.
func (a *Assembly) add(to *[]byte, text []byte) {
	*to = append(*to, text...)
	a.size += len(text)
}

// put is add for lists: it keeps a copy of a value.
func (a *Assembly) put(to *[][]byte, value []byte) {
	*to = append(*to, bytes.Clone(value))
	a.size += len(value) + sliceSize
}

// sliceSize is what an element of a list takes beside its bytes.
const sliceSize = 24

// end keeps the event that ends a choice.
func (a *Assembly) end(d *draft, object rawjson.Object) {
	copied := object.Apply()
	a.size += len(copied)
	d.last, _ = rawjson.Scan(copied)
	d.ended = true
}

// expect says that the next events of a choice are likely to be like this one, with
// another text.
func (d *draft) expect(event []byte, into *[]byte) { d.around, d.into = sse.FrameOf(event), into }

// finish gives an answer in OpenAI's terms the client's name of the model, and the
// usage of all of its choices.
func (a *Assembly) finish(text []byte) []byte {
	object, _ := rawjson.Scan(text)
	if _, named := object.Raw("model"); named {
		text = object.Apply(rawjson.Edit{Key: "model", Value: rawjson.String(a.want.Model)})
	}
	if a.tally.Parts() > 1 && !a.Exact {
		text = tally.WithUsage(text, a.tally.Usage())
	}
	return text
}

// verboseKey is where answers in OpenAI's terms have one in llama-server's own,
// for those who ask for it.
const verboseKey, innerVerboseKey = "verbose", "__verbose"

// Verbose has llama-server tell that.
var Verbose = rawjson.Edit{Key: verboseKey, Value: []byte("true")}

// stoppingKey is there which word ended an answer.
const stoppingKey = "stopping_word"

// FromStream reports whether a whole answer can be put together from a stream. What
// it cannot be for is had whole; who leaves then is noticed late.
func (s *Shape) FromStream(body rawjson.Object) bool {
	if body.Given("n_indent") {
		return false // what llama-server cuts off at the end has been sent by then
	}
	if !s.Parses {
		return true
	}
	if body.Given("verbose") {
		return false // what is told there is told of the unparsed text
	}
	// llama-server streams no probabilities with tools, and none of tokens that have
	// no text, as the last one.
	if body.Given("logprobs") || body.Given("n_probs") {
		return false
	}
	format, _ := body.Raw("reasoning_format")
	return string(format) != `"deepseek-legacy"` // it streams thoughts as content
}

// AsStream are the edits that make a request one for the stream of its answer.
func (s *Shape) AsStream(body rawjson.Object) []rawjson.Edit {
	edits := []rawjson.Edit{
		{Key: "stream", Value: []byte("true")},
		{Key: "return_progress", Value: []byte("true")},
		{Key: "stream_options", Value: []byte(`{"include_usage":true}`)},
		{Key: "response_fields"},
	}
	if s.verbose && (body.Given("stop") || body.Given("logprobs") || body.Given("n_probs")) {
		edits = append(edits, Verbose) // tells which word ended it
	}
	return edits
}
