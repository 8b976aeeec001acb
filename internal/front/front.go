// Package front is a port and the connections that came through it. It closes both so
// that whatever reached them gets an answer: connections that wait to be accepted when
// the port closes are accepted, and a connection that seems idle is ended by the
// goroutine that reads from it, after a last look for a request.
package front

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// Chance is how long a connection without a request is kept once the end has begun.
	// A client that sends one request after the other has sent its next one by then.
	Chance = 500 * time.Millisecond
	// settled is how long nothing must have come before a closed port counts as empty:
	// what was in the middle of TCP's handshake has come by then.
	settled = 100 * time.Millisecond
	// longest bounds how long connections are accepted after the end, where the system
	// cannot keep new ones out.
	longest = time.Second
	// sweepInterval is how often connections are looked at while they end.
	sweepInterval = 10 * time.Millisecond
)

// ErrSealed is what Accept returns when the port is closed and nothing waits any more.
var ErrSealed = errors.New("the port is closed")

// Front is a port. It is a net.Listener, safe for concurrent use, but for Accept, which
// one goroutine calls.
type Front struct {
	listener *net.TCPListener

	// Serve sets these before anything is accepted.
	most  int // connections that may be open at once; 0 is any number
	plain bool

	end     atomic.Bool   // the end has begun; beside ending, for requests, which take no lock
	short   atomic.Bool   // Accept waits for a place
	changed chan struct{} // filled then when a connection has ended, fallen silent or revived
	shut    chan struct{} // closed by Close
	once    sync.Once     // closes shut

	mu     sync.Mutex
	conns  map[*conn]struct{}
	ending time.Time // when the end began, zero before
	sealed time.Time // when the port was closed, zero before
	left   bool      // others accept what waits
	served bool      // Serve was called, so that what waits is accepted
	over   bool      // Accept takes nothing more
	waited bool      // Accept has waited for what was in the middle of a handshake
}

// New takes a listener over.
func New(l *net.TCPListener) *Front {
	return &Front{listener: l, changed: make(chan struct{}, 1), shut: make(chan struct{}), conns: make(map[*conn]struct{})}
}

// Listen opens a port at an address, as host:port.
func Listen(address string) (*Front, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	return New(l.(*net.TCPListener)), nil
}

// Serve serves the port with a server that has not been used before, until the port is
// closed. It returns nil then; the connections go on. At most so many are open at once,
// if most is not 0, and one more that waits for a place; further ones wait in the
// system's queue. Who waits has the connection closed that has been silent longest.
func (f *Front) Serve(server *http.Server, config *tls.Config, most int) error {
	f.most, f.plain = most, config == nil
	f.mu.Lock()
	f.served = true
	f.mu.Unlock()
	server.ConnState = func(c net.Conn, state http.ConnState) {
		switch state {
		case http.StateActive:
			connOf(c).begin()
		case http.StateIdle:
			connOf(c).hush()
		}
	}
	inner := server.ConnContext
	server.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if inner != nil {
			ctx = inner(ctx, c)
		}
		return context.WithValue(ctx, connKey{}, connOf(c))
	}
	next := server.Handler
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Context().Value(connKey{}).(*conn).begin()
		if f.Ending() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
	var err error
	if config == nil {
		err = server.Serve(f)
	} else {
		server.TLSConfig = config
		// Streams are made for HTTP/1.1: a connection each, with deadlines of its own.
		server.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
		err = server.ServeTLS(f, "", "")
	}
	if errors.Is(err, ErrSealed) {
		return nil
	}
	return err
}

type connKey struct{}

// Addr implements net.Listener.
func (f *Front) Addr() net.Addr { return f.listener.Addr() }

// File returns a copy of the port for another process, which the caller closes.
func (f *Front) File() (*os.File, error) { return f.listener.File() }

// Close implements net.Listener: at once, without regard for who waits.
func (f *Front) Close() error {
	f.once.Do(func() { close(f.shut) })
	return f.listener.Close()
}

// End begins the end: from now on every answer closes its connection. The port stays
// open.
func (f *Front) End() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ending.IsZero() {
		f.ending = time.Now()
		f.end.Store(true)
	}
}

// Ending reports whether End was called.
func (f *Front) Ending() bool { return f.end.Load() }

// Seal closes the port to new connections, which are refused from its return on. Those
// that wait are still accepted.
func (f *Front) Seal() { f.seal(false) }

// Leave stops accepting. The port stays open for those who have copies of it, and what
// waits is theirs.
func (f *Front) Leave() { f.seal(true) }

func (f *Front) seal(left bool) {
	f.End()
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.sealed.IsZero() {
		return
	}
	f.sealed, f.left = time.Now(), left
	if !left {
		keepOut(f.listener)
	}
	_ = f.listener.SetDeadline(f.sealed) // wakes Accept; a listener that is closed needs no waking
}

// Accept implements net.Listener. Once the port is closed it returns what waits, and
// then ErrSealed. It blocks while there is no place for a connection.
func (f *Front) Accept() (net.Conn, error) {
	c, full, err := f.accept()
	if err != nil {
		return nil, err
	}
	if full && !f.admit(c) {
		c.Close()
		return nil, f.explain(net.ErrClosed)
	}
	return c, nil
}

// accept accepts a connection, and reports whether it has yet to wait for a place.
func (f *Front) accept() (c *conn, full bool, err error) {
	for {
		tcp, err := f.listener.AcceptTCP()
		if err == nil {
			c, full = f.add(tcp)
			return c, full, nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || f.handedOver() {
			return nil, false, f.explain(err)
		}
		// A deadline that is over says nothing of what waits.
		if tcp = pending(f.listener); tcp != nil {
			c, full = f.add(tcp)
			return c, full, nil
		}
		if !f.more() {
			return nil, false, f.explain(err)
		}
	}
}

func (f *Front) handedOver() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.left
}

// more has Accept wait once for what is in the middle of a handshake, and reports false
// when it has done so.
func (f *Front) more() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.waited {
		return false
	}
	f.waited = true
	return f.listener.SetDeadline(time.Now().Add(settled)) == nil
}

// explain tells the end of the port from an error, with which Accept ends.
func (f *Front) explain(err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over = true
	if !f.sealed.IsZero() {
		return ErrSealed
	}
	return err
}

// add takes a connection in, and reports whether it has yet to wait for a place.
func (f *Front) add(tcp *net.TCPConn) (c *conn, full bool) {
	now := time.Now()
	c = &conn{TCPConn: tcp, front: f, plain: f.plain, state: quiet, since: now}
	f.mu.Lock()
	defer f.mu.Unlock()
	full = f.most > 0 && len(f.conns) >= f.most
	c.held = full
	f.conns[c] = struct{}{}
	if !f.sealed.IsZero() && now.Sub(f.sealed) < longest {
		f.waited = false // more may come
	}
	return c, full
}

func (f *Front) remove(c *conn) {
	f.mu.Lock()
	delete(f.conns, c)
	f.mu.Unlock()
	f.tell()
}

// Wait blocks until every connection has ended, after End and Seal, or ctx ends, whose
// cause it returns then. Connections on which no request has come, or none since the
// last answer, are ended when they have had their chance, counted from the end's
// beginning.
func (f *Front) Wait(ctx context.Context) error {
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for f.sweep(time.Now()) > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// sweep ends what has had its chance, and returns how many connections there are. While
// Accept may still take some that wait at the closed port, there is one more: whoever saw
// none would close the port on them.
func (f *Front) sweep(now time.Time) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		c.expire(now, f.ending)
	}
	if f.served && !f.over && !f.sealed.IsZero() {
		return len(f.conns) + 1
	}
	return len(f.conns)
}
