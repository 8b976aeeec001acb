package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/loragate/loragate/internal/pool"
	"github.com/loragate/loragate/internal/upstream"
)

var (
	dataPrefix = []byte("data: ")
	doneEvent  = []byte("data: [DONE]")
)

// relay passes a worker's stream of events on, each as it comes. Nothing is sent
// before the first event is there, so that until then the request, or the piece of one,
// can still run elsewhere. A stream that the worker breaks off ends with an error event,
// never as if it were complete. relay tells how the worker's part of it ended.
func (p *Proxy) relay(ctx context.Context, c echo.Context, r *request, l *pool.Lease, body lines) (pool.Outcome, error) {
	j := r.onto
	if j == nil {
		j = &joined{last: true}
	}
	events, w := eventReader{r: body}, rewriter{r: r, rec: recordOf(c)}
	event, kind, err := w.next(&events)
	if err != nil {
		return pool.Failed, brokeOff(ctx, p.cause(c, l, err))
	}
	out := j.begin(p, c)
	for {
		if gap := out.mark(); gap > 0 {
			p.opts.Observer.Chunk(gap)
		}
		if kind == eventDone && !j.last {
			event = nil // what is left to send leaves
		}
		if err := out.send(event, kind != eventData || !events.ready()); err != nil {
			return pool.Cut, clientLeft(err)
		}
		switch kind {
		case eventDone:
			return pool.Done, nil
		case eventError:
			j.told = true
			return pool.Cut, fmt.Errorf("llama-server ended the stream with an error: %s", shorten(string(event)))
		}
		event, kind, err = w.next(&events)
		switch {
		case errors.Is(err, io.EOF) && w.complete:
			return pool.Done, nil
		case err != nil:
			j.told = true
			return pool.Failed, breakOff(ctx, c, r.endpoint, out, p.cause(c, l, err))
		}
	}
}

// breakOff ends a stream that cannot go on, with an error event.
func breakOff(ctx context.Context, c echo.Context, e *endpoint, out *sender, cause error) error {
	died := workerDied(cause)
	switch {
	case context.Cause(ctx) == errTooLong:
		died = ranTooLong(cause)
	case c.Request().Context().Err() != nil:
		if died = ended(c.Request().Context(), cause); died.Status == StatusClientClosed {
			return died
		}
	}
	if err := out.send(e.failure(died, recordOf(c).id), true); err != nil {
		return clientLeft(err)
	}
	return died
}

func errorEvent(e *apiError, _ string) []byte {
	return bytes.Join([][]byte{dataPrefix, e.envelope(), []byte("\n\n")}, nil)
}

// sender writes a stream's events to its client.
type sender struct {
	w        *echo.Response
	control  *http.ResponseController
	timeout  time.Duration
	waiting  []byte    // events that are to leave with the next ones
	room     *room     // what they lie in; nil while there are none
	last     time.Time // when the last event came
	extended time.Time // when the write deadline was set last
}

func (p *Proxy) newSender(c echo.Context) *sender {
	return &sender{w: c.Response(), control: http.NewResponseController(c.Response().Writer), timeout: p.opts.WriteTimeout}
}

// mark notes that an event has come and returns how long that took; 0 for the
// first one.
func (s *sender) mark() (gap time.Duration) {
	now := time.Now()
	if !s.last.IsZero() {
		gap = now.Sub(s.last)
	}
	s.last = now
	return gap
}

// maxWaiting bounds the events that leave together, in bytes.
const maxWaiting = 16 << 10

// room is for events that wait. Few streams have any at the same time.
type room [maxWaiting]byte

var rooms = sync.Pool{New: func() any { return new(room) }}

// send writes an event and, unless the next one is there already, sees to it
// that it leaves.
func (s *sender) send(event []byte, flush bool) error {
	if !flush && len(s.waiting)+len(event) < maxWaiting {
		if s.room == nil {
			s.room = rooms.Get().(*room)
			s.waiting = s.room[:0]
		}
		s.waiting = append(s.waiting, event...)
		return nil
	}
	if s.room != nil {
		event = append(s.waiting, event...)
		defer rooms.Put(s.room) // when they have left
		s.room, s.waiting = nil, nil
	}
	// Not at every event: setting a deadline costs as much as writing one.
	if s.last.Sub(s.extended) > s.timeout/8 {
		s.extended = s.last
		_ = s.control.SetWriteDeadline(s.last.Add(s.timeout))
	}
	if _, err := s.w.Write(event); err != nil {
		return err
	}
	if !flush {
		return nil
	}
	return s.control.Flush()
}

// lines is what an eventReader reads from; *upstream.Body is the real one.
type lines interface {
	ReadSlice(delim byte) ([]byte, error)
	Peek(n int) ([]byte, error)
	Buffered() int
}

// eventReader cuts a stream into server-sent events, each with the blank line
// that ends it.
type eventReader struct {
	r   lines
	buf []byte
}

// maxEvent bounds what one event may take of memory.
const maxEvent = 32 << 20

var errEventTooLong = errors.New("an event is longer than 32 MiB")

// next blocks until an event is whole and returns it; it is valid until the
// next call. A stream that ends returns io.EOF, in the middle of an event
// io.ErrUnexpectedEOF.
func (e *eventReader) next() ([]byte, error) {
	e.buf = e.buf[:0]
	lineStart := 0
	for {
		part, err := e.r.ReadSlice('\n')
		e.buf = append(e.buf, part...)
		switch {
		case err == nil:
		case errors.Is(err, upstream.ErrBufferFull):
			if len(e.buf) > maxEvent {
				return nil, errEventTooLong
			}
			continue
		case errors.Is(err, io.EOF) && len(e.buf) > 0:
			return nil, io.ErrUnexpectedEOF
		default:
			return nil, err
		}
		if len(e.buf) > maxEvent {
			return nil, errEventTooLong
		}
		blank := len(bytes.TrimRight(e.buf[lineStart:], "\r\n")) == 0
		if blank && lineStart > 0 {
			return e.buf, nil
		}
		if blank {
			e.buf = e.buf[:0] // blank lines before an event mean nothing
		}
		lineStart = len(e.buf)
	}
}

// ready reports whether a whole further event has arrived already.
func (e *eventReader) ready() bool {
	waiting, _ := e.r.Peek(e.r.Buffered())
	return bytes.Contains(waiting, []byte("\n\n"))
}
