package relay

import (
	"sync"
	"time"

	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/pool"
	"github.com/loragate/loragate/internal/proxy/failure"
	"github.com/loragate/loragate/internal/proxy/pieces"
	"github.com/loragate/loragate/internal/proxy/sse"
)

// stream is one stream of events to a client, from before its first event on. It may be made up
// by those of several pieces, one after the other. As long as there is nothing to send, be it that
// the request waits for its turn, that its prompt is read or that llama-server thinks, signs of
// life are sent, for proxies on the way cut connections on which nothing moves.
//
// A sign of life is no output: whoever has had only such can have the request run elsewhere.
type stream struct {
	client Client
	alive  []byte        // a sign of life
	every  time.Duration // without anything sent, after which there is one; 0 is never
	timer  *time.Timer   // nil if there are none

	// The request's handler owns these.
	pieces.Numbering           // of the piece that runs
	last             bool      // no piece follows the one that runs
	told             bool      // the client has had an error event
	came             time.Time // when the last event of the piece did; zero is none

	mu    sync.Mutex  // guards what follows, and the client's headers
	out   *sse.Sender // nil until the head has been sent
	begun bool        // an event has been sent
	ended bool        // nothing more is sent
	moved time.Time   // when something was last sent
}

// newStream returns one, whose signs of life come after so long without anything sent; 0 is never.
// end must be called.
func newStream(client Client, alive []byte, every time.Duration) *stream {
	s := &stream{client: client, alive: alive, every: every, last: true}
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
func (s *stream) keepAlive() {
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

// leased tells the client of a lease.
func (s *stream) leased(l *pool.Lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.client.Leased(l)
}

// send writes an event that has just come and, unless the next one is there already, sees to it
// that it leaves. It returns how long it came after the one before; 0 for the first one of a piece,
// which may have waited for its turn.
func (s *stream) send(event []byte, flush bool) (gap time.Duration, err error) {
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
func (s *stream) begin(now time.Time) error {
	s.begun = true
	s.client.FirstEvent()
	if s.out != nil { // the head has left before it was known who answers
		return s.out.Send(s.client.Provenance(), now, false)
	}
	s.out = s.client.BeginStream()
	return nil
}

// fail tells the client of an error as an event, if it has not been told and cannot be an answer
// of its own any more. Nothing is sent from then on. It returns the error.
func (s *stream) fail(err error, event func(*httpkit.Error) []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	e := failure.Of(err)
	if s.out == nil || s.told || e.Status == failure.StatusClientClosed {
		return err
	}
	if err := s.out.Send(event(e), time.Now(), true); err != nil {
		return failure.ClientLeft(err)
	}
	return err
}

// end sees to it that nothing is sent from now on.
func (s *stream) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	if s.timer != nil {
		s.timer.Stop()
	}
}
