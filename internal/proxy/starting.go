package proxy

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/proxy/failure"
)

// Starting answers in a gateway's place while it starts: that it is alive, and, to all
// else, how far it is. It is safe for concurrent use; the zero value is ready for it.
type Starting struct {
	progress atomic.Pointer[string]

	once    sync.Once
	mu      sync.Mutex
	stopped chan struct{} // closed by Stop; nil until somebody asks for it
}

// Progress says how far the start is, in words that end a sentence.
func (s *Starting) Progress(text string) { s.progress.Store(&text) }

// Stop has it answer that the gateway stops.
func (s *Starting) Stop() {
	s.Stopped() // makes it
	s.once.Do(func() { close(s.stopped) })
}

// Stopped returns a channel that is closed by Stop.
func (s *Starting) Stopped() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped == nil {
		s.stopped = make(chan struct{})
	}
	return s.stopped
}

// ServeHTTP implements http.Handler.
func (s *Starting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	if r.URL.Path == "/health" {
		fmt.Fprintln(w, `{"status":"ok"}`)
		return
	}
	e := notReady("The gateway is starting.")
	if text := s.progress.Load(); text != nil {
		e.Message = fmt.Sprintf("The gateway is starting: %s.", *text)
	}
	select {
	case <-s.Stopped():
		e = failure.Stopping()
	default:
	}
	setRetryAfter(w.Header(), e)
	w.WriteHeader(e.Status)
	_, _ = w.Write(e.JSON()) // whoever left needs none
	httpkit.Linger(w, r, unread, lingering)
}
