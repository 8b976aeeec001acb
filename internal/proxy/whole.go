package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/loragate/loragate/internal/anthropic"
	"github.com/loragate/loragate/internal/pool"
	"github.com/loragate/loragate/internal/rawjson"
)

// assembly puts the events of one stream together to the answer that llama-server
// would have given whole.
//
// llama-server looks for the client of a whole answer only after a second in which
// it had no result for anybody (server_response::recv_with_timeout), which does not
// come while others are served. Of a stream it notices with the next event. So whole
// answers are had as streams.
//
// Nothing is decoded: text is joined as it stands in the events, escapes and all.
type assembly struct {
	r        *request
	rec      *record
	drafts   []*draft // by the index of their choice
	last     *draft   // that has ended
	size     int      // bytes that are kept
	complete bool     // the stream has ended as it should
	exact    bool     // the usage stays that of one choice, as llama-server tells it
}

// draft is one choice of an answer as far as it has come. Texts are the insides of
// JSON strings.
type draft struct {
	content, reasoning []byte
	calls              []call
	finish             []byte // the reason, raw
	last               rawjson.Object
	ended              bool

	tokens  [][]byte // the ids of what was generated, raw
	decoded int      // how many there must be, by the last event
	gaps    []gap
	unsaid  int      // tokens at the end whose text has not come
	probs   [][]byte // what is told of each token's probability, raw

	around frame   // of the events that have come last
	into   *[]byte // where their text goes
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

// errAnswerTooLong is for an answer of more than maxAnswer.
var errAnswerTooLong = &apiError{
	Status: http.StatusBadGateway, Type: typeServer, Code: "answer_too_large",
	Message: fmt.Sprintf("The answer is longer than %d bytes.", maxAnswer),
}

// errNotFromStream says that llama-server could not stream an answer that it may
// well give whole.
var errNotFromStream = errors.New("the answer cannot be had from a stream")

// shape is how one kind of endpoint tells an answer in events, and how it tells it
// whole.
type shape interface {
	// take takes an event in. The event is valid until take returns.
	take(a *assembly, event []byte, object rawjson.Object)
	// build returns the whole answer.
	build(a *assembly) []byte
}

// gather answers with what a stream of the worker's adds up to. It tells how the
// worker's part of it ended.
func (p *Proxy) gather(ctx context.Context, c echo.Context, r *request, l *pool.Lease, body lines) (pool.Outcome, error) {
	rec := recordOf(c)
	a := assembly{r: r, rec: rec}
	err := a.read(&eventReader{r: body})
	if err == nil {
		err = a.complement(ctx, l.Worker)
	}
	var api *apiError
	switch {
	case errors.As(err, &api), errors.Is(err, errNotFromStream):
		return pool.Cut, err
	case err != nil:
		return pool.Failed, brokeOff(ctx, p.cause(c, l, err))
	}
	text := r.endpoint.shape.build(&a)
	return p.deliver(c, r, l, text)
}

// read takes all events in.
func (a *assembly) read(events *eventReader) error {
	for !a.complete {
		event, err := events.next()
		switch {
		case errors.Is(err, io.EOF) && a.r.endpoint.ends != nil && a.allEnded():
			return nil
		case errors.Is(err, io.EOF):
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		}
		a.rec.begin()
		if err := a.take(event); err != nil {
			return err
		}
		if a.size > maxAnswer {
			return errAnswerTooLong
		}
	}
	return nil
}

func (a *assembly) allEnded() bool {
	return len(a.drafts) > 0 && !slices.ContainsFunc(a.drafts, func(d *draft) bool { return !d.ended })
}

// take takes one event in. Nearly all differ from the one before in their text only.
func (a *assembly) take(event []byte) error {
	for _, d := range a.drafts {
		if text, ok := d.around.text(event); ok {
			if len(text) > 0 {
				a.rec.tally.pieces++
			}
			a.add(d.into, text)
			return nil
		}
	}
	line := bytes.TrimRight(event, "\r\n")
	if bytes.Equal(line, doneEvent) {
		a.complete = true
		return nil
	}
	_, object, ok := scanEvent(line)
	if !ok {
		return nil // it keeps the connection alive
	}
	if failure, ok := object.Raw("error"); ok {
		return a.failed(fromEvent(a.r, failure))
	}
	if raw, ok := object.Raw(progressKey); ok {
		a.rec.tally.progress(raw)
		return nil
	}
	if textAt(event) > 0 {
		a.rec.tally.pieces++
	}
	a.rec.tally.countEither(object, a.r.endpoint.inner)
	a.r.endpoint.shape.take(a, event, object)
	return nil
}

// failed is the error for one that came as an event. What llama-server makes of a
// chat's text while it streams can fail where the whole text would not.
func (a *assembly) failed(e *apiError) error {
	if e.Status == http.StatusInternalServerError && a.r.endpoint.parses {
		return fmt.Errorf("%w: %w", errNotFromStream, errors.New(e.Message))
	}
	return e
}

// draft returns the choice of an index, as an event tells it.
func (a *assembly) draft(index []byte) *draft {
	n := number(index)
	if n < 0 || n >= a.rec.tally.parts() {
		n = 0
	}
	for len(a.drafts) <= n {
		a.drafts = append(a.drafts, &draft{})
	}
	return a.drafts[n]
}

// choice returns the choice that an event in OpenAI's terms is of, and its draft. It
// reports false for one that is of none.
func (a *assembly) choice(event rawjson.Object) (choice rawjson.Object, d *draft, ok bool) {
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
func (a *assembly) follow(d *draft, event, choice rawjson.Object) (ended bool) {
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
func (a *assembly) add(to *[]byte, text []byte) {
	*to = append(*to, text...)
	a.size += len(text)
}

// put is add for lists: it keeps a copy of a value.
func (a *assembly) put(to *[][]byte, value []byte) {
	*to = append(*to, bytes.Clone(value))
	a.size += len(value) + sliceSize
}

// sliceSize is what an element of a list takes beside its bytes.
const sliceSize = 24

// end keeps the event that ends a choice.
func (a *assembly) end(d *draft, object rawjson.Object) {
	copied := object.Apply()
	a.size += len(copied)
	d.last, _ = rawjson.Scan(copied)
	d.ended = true
}

// expect says that the next events of a choice are likely to be like this one, with
// another text.
func (d *draft) expect(event []byte, into *[]byte) { d.around, d.into = frameOf(event), into }

// inside returns what stands between the quotes of a JSON string; nil for anything
// else.
func inside(raw []byte) []byte {
	if len(raw) < 2 || raw[0] != '"' {
		return nil
	}
	return raw[1 : len(raw)-1]
}

func quoted(text []byte) []byte { return slices.Concat([]byte{'"'}, text, []byte{'"'}) }

func list(elements [][]byte) []byte {
	return slices.Concat([]byte{'['}, bytes.Join(elements, []byte{','}), []byte{']'})
}

// deliver sends a whole answer that is the request's own, and ends its lease before:
// the client may take its time to read.
func (p *Proxy) deliver(c echo.Context, r *request, l *pool.Lease, text []byte) (pool.Outcome, error) {
	rec := recordOf(c)
	if r.endpoint.messages {
		message, ok := anthropic.Answer(text)
		if !ok {
			return pool.Failed, &workerError{errNotOfEndpoint}
		}
		text = message
	}
	l.Release(pool.Done, rec.tally.taken())
	if r.into != nil {
		*r.into = text
		return pool.Done, nil
	}
	rec.first = time.Since(rec.start)
	return pool.Done, p.write(c, http.StatusOK, text)
}

// fromStream reports whether a whole answer can be put together from a stream. What
// it cannot be for is had whole; who leaves then is noticed late.
func (r *request) fromStream() bool {
	if r.given("n_indent") {
		return false // what llama-server cuts off at the end has been sent by then
	}
	if !r.endpoint.parses {
		return true
	}
	if r.given("verbose") {
		return false // what is told there is told of the unparsed text
	}
	// llama-server streams no probabilities with tools, and none of tokens that have
	// no text, as the last one.
	if r.given("logprobs") || r.given("n_probs") {
		return false
	}
	format, _ := r.body.Raw("reasoning_format")
	return string(format) != `"deepseek-legacy"` // it streams thoughts as content
}

// given reports whether a field is there and says more than its default.
func (r *request) given(key string) bool {
	raw, _ := r.body.Raw(key)
	return !slices.Contains([]string{"", "null", "false", "0", "[]", `""`}, string(raw))
}

// asStream are the edits that make the request one for the stream of its answer.
func (r *request) asStream() []rawjson.Edit {
	edits := []rawjson.Edit{
		{Key: "stream", Value: []byte("true")},
		{Key: "return_progress", Value: []byte("true")},
		{Key: "stream_options", Value: []byte(`{"include_usage":true}`)},
		{Key: "response_fields"},
	}
	if r.endpoint.shape == (textShape{}) && (r.given("stop") || r.given("logprobs") || r.given("n_probs")) {
		edits = append(edits, rawjson.Edit{Key: verboseKey, Value: []byte("true")}) // tells which word ended it
	}
	return edits
}

// stopWords returns the words that end an answer, raw.
func (r *request) stopWords() [][]byte {
	raw, _ := r.body.Raw("stop")
	if strings.HasPrefix(string(raw), `"`) {
		return [][]byte{raw}
	}
	return rawjson.Elements(raw)
}
