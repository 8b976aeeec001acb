package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/loragate/loragate/internal/front"
	"github.com/loragate/loragate/internal/proxy"
)

// entrance is one of the gateway's ports, from the first moment to the last: until there
// is something to serve with it answers that the gateway starts.
type entrance struct {
	front    *front.Front
	server   *http.Server
	starting proxy.Starting
	serving  atomic.Pointer[http.Handler] // nil while the gateway starts
	opened   chan struct{}                // closed when it is set
	// hold is for how long requests wait meanwhile: those that a gateway which takes over
	// has had from the one before. 0 refuses them at once.
	hold    time.Duration
	arrived atomic.Bool // what is served has been ready once
	most    int         // connections at once; 0 is no bound
}

func newEntrance() *entrance { return &entrance{opened: make(chan struct{})} }

// ServeHTTP implements http.Handler.
func (e *entrance) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if e.hold > 0 && !e.arrived.Load() && !e.front.Ending() {
		switch r.URL.Path {
		case "/health":
		case "/ready":
			fmt.Fprintln(w, `{"status":"replacing"}`) // what is sent is kept and served
			return
		default:
			e.await(r.Context())
		}
	}
	if h := e.serving.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	e.starting.ServeHTTP(w, r)
}

// arrive says that what is served is ready.
func (e *entrance) arrive() { e.arrived.Store(true) }

// await blocks until requests are served, or not to be, or have waited long enough.
func (e *entrance) await(request context.Context) {
	timer := time.NewTimer(e.hold)
	defer timer.Stop()
	select {
	case <-e.opened:
	case <-e.starting.Stopped():
	case <-request.Done():
	case <-timer.C:
	}
}

// serve has a handler answer from now on.
func (e *entrance) serve(h http.Handler) {
	e.serving.Store(&h)
	close(e.opened)
}

// run serves until the port is closed, and returns why it failed, if it did.
func (e *entrance) run(config *tls.Config) error { return e.front.Serve(e.server, config, e.most) }

// shut closes the port, and returns when every connection has ended, or else closes them
// when ctx ends.
func (e *entrance) shut(ctx context.Context) error {
	e.front.Seal()
	err := e.front.Wait(ctx)
	e.server.Close()
	return err
}
