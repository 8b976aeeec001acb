// Package stream sends a stream of events to a client, and signs of life while there are none.
package stream

import (
	"sync"
	"time"

	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/pool"
	"github.com/loragate/loragate/internal/proxy/failure"
	"github.com/loragate/loragate/internal/proxy/pieces"
	"github.com/loragate/loragate/internal/proxy/sse"
)

// Client is who gets a stream. One goroutine at a time uses it.
type Client interface {
	// Leased is told of each lease that the request gets, before it runs.
	Leased(l *pool.Lease)
	// BeginStream sends the head of a stream of events and returns what sends these.
	BeginStream() *sse.Sender
	// FirstEvent is told that the first event of a stream is about to be sent.
	FirstEvent()
	// Provenance is, as a comment in a stream, what the head would tell of the lease.
	Provenance() []byte
}

// Stream is one stream of events to a client, from before its first event on. It may be made up
// by those of several pieces, one after the other. As long as there is nothing to send, be it that
// the request waits for its turn, that its prompt is read or that llama-server thinks, signs of
// life are sent, for proxies on the way cut connections on which nothing moves.
//
// A sign of life is no output: whoever has had only such can have the request run elsewhere.
type Stream struct {
	client Client
	alive  []byte        // a sign of life
	every  time.Duration // without anything sent, after which there is one; 0 is never
	timer  *time.Timer   // nil if there are none

	// The request's handler owns these.
	Piece pieces.Numbering // of the piece that runs
	Last  bool             // no piece follows the one that runs
	Told  bool             // the client has had an error event
	came  time.Time        // when the last event of the piece did; zero is none

	mu    sync.Mutex  // guards what follows, and the client's headers
	out   *sse.Sender // nil until the head has been sent
	begun bool        // an event has been sent
	ended bool        // there are no more signs of life
	moved time.Time   // when something was last sent
}

// New returns one, whose signs of life come after so long without anything sent; 0 is never.
// End must be called.
func New(client Client, alive []byte, every time.Duration) *Stream {
	s := &Stream{client: client, alive: alive, every: every, Last: true}
	if every > 0 {
		s.mu.Lock() // the timer may be over before it is known here
		defer s.mu.Unlock()
		s.moved = time.Now()
		s.timer = time.AfterFunc(every, s.keepAlive)
	}
	return s
}

// keepAlive sends a sign of life if it is time for one. It blocks as long as the client
// does not read, for the write timeout at most; a failed write ends the request's context.
func (s *Stream) keepAlive() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	silent := time.Since(s.moved)
	if silent < s.every {
		s.timer.Reset(s.every - silent)
		return
	}
	if s.out == nil {
		s.out = s.client.BeginStream()
	}
	s.moved = time.Now()
	if s.out.Send(s.alive, s.moved, true) == nil {
		s.timer.Reset(s.every)
	}
}

// Next says that another piece begins, whose first choice has this number.
func (s *Stream) Next(first int, last bool) {
	s.Piece.First, s.Last, s.came = first, last, time.Time{}
}

// Leased tells the client of a lease.
func (s *Stream) Leased(l *pool.Lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.client.Leased(l)
}

// Send writes an event that has just come and, unless the next one is there already, sees to it
// that it leaves. It returns how long it came after the one before; 0 for the first one of a piece,
// which may have waited for its turn.
func (s *Stream) Send(event []byte, flush bool) (gap time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if !s.came.IsZero() {
		gap = now.Sub(s.came)
	}
	s.came, s.moved = now, now
	if !s.begun {
		if err := s.begin(now); err != nil {
			return 0, err
		}
	}
	return gap, s.out.Send(event, now, flush)
}

// begin sends what stands before the first event. s.mu is held.
func (s *Stream) begin(now time.Time) error {
	s.begun = true
	s.client.FirstEvent()
	if s.out != nil { // the head has left before it was known who answers
		return s.out.Send(s.client.Provenance(), now, false)
	}
	s.out = s.client.BeginStream()
	return nil
}

// Fail tells the client of an error as an event, if it has not been told and cannot be an answer
// of its own any more. No sign of life is sent from then on. It returns the error.
func (s *Stream) Fail(err error, event func(*httpkit.Error) []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	e := failure.Of(err)
	if s.out == nil || s.Told || e.Status == failure.StatusClientClosed {
		return err
	}
	if err := s.out.Send(event(e), time.Now(), true); err != nil {
		return failure.ClientLeft(err)
	}
	return err
}

// End sees to it that no sign of life is sent from now on.
func (s *Stream) End() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	if s.timer != nil {
		s.timer.Stop()
	}
}
