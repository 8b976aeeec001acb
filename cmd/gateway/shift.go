package main

import (
	"net/http"
	"sync"
)

// shift serves with a handler until it ends, and can tell when that has no request any
// more. From then on another one answers.
type shift struct {
	handler, next http.Handler

	// mu guards what follows. It is held for moments only.
	mu      sync.Mutex
	running int
	over    bool
	idle    chan struct{} // closed when it is over and nothing runs
}

func newShift(handler, next http.Handler) *shift {
	return &shift{handler: handler, next: next, idle: make(chan struct{})}
}

// ServeHTTP implements http.Handler.
func (s *shift) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.count(+1) {
		s.next.ServeHTTP(w, r)
		return
	}
	defer s.count(-1)
	s.handler.ServeHTTP(w, r)
}

// count notes that a request begins, which is refused once the shift is over, or, with -1,
// that one has ended.
func (s *shift) count(more int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if more > 0 && s.over {
		return false
	}
	if s.running += more; s.over && s.running == 0 {
		close(s.idle)
	}
	return true
}

// end ends the shift. The channel is closed when nothing runs any more. It is called once;
// a nil shift has nothing to end.
func (s *shift) end() (idle <-chan struct{}) {
	if s == nil {
		none := make(chan struct{})
		close(none)
		return none
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over = true; s.running == 0 {
		close(s.idle)
	}
	return s.idle
}
