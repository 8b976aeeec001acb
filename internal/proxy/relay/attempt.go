package relay

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/pool"
	"github.com/loragate/loragate/internal/proxy/dialect"
	"github.com/loragate/loragate/internal/proxy/failure"
	"github.com/loragate/loragate/internal/proxy/sse"
	"github.com/loragate/loragate/internal/proxy/tally"
	"github.com/loragate/loragate/internal/proxy/whole"
	"github.com/loragate/loragate/internal/upstream"
)

// workerError says that the worker failed before the client got a byte, so the
// request may run again.
type workerError struct{ cause error }

func (e *workerError) Error() string { return fmt.Sprintf("before the first byte: %v", e.cause) }
func (e *workerError) Unwrap() error { return e.cause }

// attempt is one run of a request on one lease.
type attempt struct {
	generation
	call
	lease *pool.Lease
	more  *upstream.Response // the answer as text, where it could not be taken apart; nil is none
}

// attempt runs the request on the lease's worker and releases the lease. It
// returns a *workerError if the worker failed before anything reached the
// client.
func (c call) attempt(r *Request, l *pool.Lease) error {
	outcome := pool.CutEarly
	c.account.Tally = tally.Tally{Choices: r.Choices}
	a := &attempt{call: c, lease: l}
	a.generate(c.ctx, c.Generation, l, !r.streams(), r.Place.Exclusive)
	defer func() {
		if a.working.Err() != nil && outcome == pool.Failed { // not the worker broke off: the client, or we did
			outcome = pool.CutEarly
			if c.account.Begun {
				outcome = pool.Cut
			}
		}
		a.end(&c.account.Tally)
		l.Release(outcome, c.account.Taken())
	}()
	r = r.steady()
	outcome, err := a.exchange(r)
	if errors.Is(err, whole.ErrNotFromStream) {
		had := *r // the request itself is looked at by others
		had.Gathers = false
		outcome, err = a.exchange(&had)
	}
	if errors.Is(err, failure.ErrUnparsed) && r.calls() && !r.Stream {
		outcome, err = a.exchange(r.asText())
	}
	return err
}

// exchange sends the request to the worker and its answer to the client. It tells how
// the worker's part of it ended.
func (a *attempt) exchange(r *Request) (pool.Outcome, error) {
	body, err := r.forWorker(a.lease, a.Alias)
	if err != nil {
		return pool.CutEarly, err
	}
	resp, err := a.lease.Worker.Forward(a.working, r.API.Path, body)
	if err != nil {
		return pool.Failed, a.brokeOff(err)
	}
	defer resp.Body.Close()
	defer a.closeMore()
	switch {
	case r.Stream && resp.Status == http.StatusOK:
		return a.stream(r, resp.Body)
	case r.Gathers && resp.Status == http.StatusOK && strings.HasPrefix(resp.ContentType, "text/event-stream"):
		return a.gather(r, resp.Body)
	}
	return a.answer(r, resp)
}

// began says that something of the answer has come from the worker.
func (a *attempt) began() {
	if !a.account.Begun {
		a.account.Begun = true
		a.lease.Prove()
	}
}

// brokeOff is the error for a worker that broke off before anything reached the
// client, unless it did so because the answer took too long.
func (a *attempt) brokeOff(err error) error {
	cause := a.cause(err)
	if a.tooLong() {
		return failure.RanTooLong(cause)
	}
	return &workerError{cause}
}

// cause waits a moment for the reason why a worker stopped answering: its
// connection breaks before its exit is known.
func (a *attempt) cause(err error) error {
	timer := time.NewTimer(exitDelay)
	defer timer.Stop()
	select {
	case <-a.lease.Worker.Exited():
		return fmt.Errorf("%w (%v)", a.lease.Worker.Err(), err)
	case <-a.ctx.Done():
		return err
	case <-timer.C:
		return err
	}
}

// exitDelay is how long a process that broke its connections may take to end.
const exitDelay = 200 * time.Millisecond

// stream passes a worker's stream of events on, each as it comes. Nothing is sent
// before the first event is there, so that until then the request, or the piece of one,
// can still run elsewhere. A stream that the worker breaks off ends with an error event,
// never as if it were complete. stream tells how the worker's part of it ended.
func (a *attempt) stream(r *Request, body sse.Lines) (pool.Outcome, error) {
	events := sse.Reader{From: body}
	w := dialect.Rewriter{
		Renamer: &r.Renamer, Asked: r.API.Asked(r.Body), RequestID: r.ID, Tally: &a.account.Tally, Hides: r.Progress,
		Keeps: r.calls() && r.Choices == 1,
	}
	if r.TellsUsage {
		w.Account = a.account
	}
	event, kind, err := a.next(r, &events, &w)
	if err != nil {
		return pool.Failed, a.brokeOff(err)
	}
	for {
		if kind == dialect.Done && !a.out.Last {
			event = nil // what is left to send leaves
		} else if kind != dialect.Data {
			a.out.End() // no sign of life comes behind the last event
		}
		gap, err := a.out.Send(event, kind != dialect.Data || !events.Ready())
		if err != nil {
			return pool.Cut, failure.ClientLeft(err)
		}
		if gap > 0 {
			a.Observer.Chunk(gap)
		}
		switch kind {
		case dialect.Done:
			return pool.Done, nil
		case dialect.Failed:
			a.out.Told = true
			told := httpkit.Shorten(string(event))
			return pool.Cut, fmt.Errorf("llama-server ended the stream with an error: %s", told)
		}
		event, kind, err = a.next(r, &events, &w)
		switch {
		case errors.Is(err, io.EOF) && w.Complete:
			return pool.Done, nil
		case err != nil:
			return pool.Failed, a.brokeMidway(err)
		}
	}
}

// next reads on until there is something for the client, and rewrites it. What it
// returns is valid until the next call; the errors are the reader's.
func (a *attempt) next(r *Request, events *sse.Reader, w *dialect.Rewriter) ([]byte, dialect.Kind, error) {
	for {
		event, err := events.Next()
		if err != nil {
			return nil, dialect.Data, err
		}
		a.began()
		out, kind := w.Rewrite(event)
		if kind == dialect.Unparsed {
			if err := a.again(r, events); err != nil {
				return nil, dialect.Data, err
			}
			continue
		}
		if len(out) > 0 || kind != dialect.Data {
			return out, kind, nil
		}
	}
}

// again asks for an answer once more, as text, where llama-server could not take it apart.
func (a *attempt) again(r *Request, events *sse.Reader) error {
	body, err := r.asText().forWorker(a.lease, a.Alias)
	if err != nil {
		return err
	}
	if a.more, err = a.lease.Worker.Forward(a.working, r.API.Path, body); err != nil {
		return err
	}
	*events = sse.Reader{From: a.more.Body}
	return nil
}

func (a *attempt) closeMore() {
	if a.more != nil {
		a.more.Body.Close()
		a.more = nil
	}
}

// brokeMidway is the error for a stream that cannot go on.
func (a *attempt) brokeMidway(err error) error {
	cause := a.cause(err)
	switch {
	case a.tooLong():
		return failure.RanTooLong(cause)
	case a.ctx.Err() != nil:
		return failure.Ended(a.ctx, cause)
	}
	return failure.WorkerDied(cause)
}

// gather answers with what a stream of the worker's adds up to. It tells how the
// worker's part of it ended.
func (a *attempt) gather(r *Request, body sse.Lines) (pool.Outcome, error) {
	want := whole.Want{Asked: r.API.Asked(r.Body), Model: r.Model, Fields: r.Fields, Full: r.API == dialect.Chat}
	answer := whole.New(&r.API.Shape, want, &a.account.Tally)
	err := answer.Read(&sse.Reader{From: body}, a.began)
	if err == nil {
		err = answer.Complement(a.working, a.lease.Worker)
	}
	var api *httpkit.Error
	switch {
	case errors.As(err, &api), errors.Is(err, whole.ErrNotFromStream):
		return pool.Cut, err
	case err != nil:
		return pool.Failed, a.brokeOff(err)
	}
	return a.deliver(r, answer.Build())
}

// answer passes on an answer that the worker gave whole, and tells how the worker's
// part of it ended.
func (a *attempt) answer(r *Request, resp *upstream.Response) (pool.Outcome, error) {
	text, err := ReadAnswer(resp)
	if err != nil {
		return pool.Failed, a.brokeOff(err)
	}
	if resp.Status != http.StatusOK {
		// Further choices of the same request may still be at work.
		return pool.Cut, failure.FromWorker(r.API.Asked(r.Body), resp.Status, text)
	}
	text, ok := r.RenameAll(&a.account.Tally, text)
	if !ok {
		return pool.Failed, &workerError{failure.ErrNotOfEndpoint}
	}
	return a.deliver(r, a.recount(&a.account.Tally, r.Complete(text)))
}

// ReadAnswer reads a whole answer, as far as one may be.
func ReadAnswer(resp *upstream.Response) ([]byte, error) {
	return httpkit.ReadAll(io.LimitReader(resp.Body, whole.MaxAnswer), resp.ContentLength)
}

// deliver sends a whole answer that is the request's own, and ends its lease before:
// the client may take its time to read.
func (a *attempt) deliver(r *Request, text []byte) (pool.Outcome, error) {
	text, ok := r.ForClient(text, r.Body, r.ID)
	if !ok {
		return pool.Failed, &workerError{failure.ErrNotOfEndpoint}
	}
	a.lease.Release(pool.Done, a.account.Taken())
	if r.into != nil {
		*r.into = text
		return pool.Done, nil
	}
	return pool.Done, a.client.SendWhole(text)
}
