package main

import (
	"context"
	"crypto/tls"
	"net/http"
	"sync/atomic"

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
}

// ServeHTTP implements http.Handler.
func (e *entrance) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h := e.serving.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	e.starting.ServeHTTP(w, r)
}

// serve has a handler answer from now on.
func (e *entrance) serve(h http.Handler) { e.serving.Store(&h) }

// run serves until the port is closed, and returns why it failed, if it did.
func (e *entrance) run(config *tls.Config) error { return e.front.Serve(e.server, config) }

// shut closes the port, and returns when every connection has ended, or else closes them
// when ctx ends.
func (e *entrance) shut(ctx context.Context) error {
	e.front.Seal()
	err := e.front.Wait(ctx)
	e.server.Close()
	return err
}
