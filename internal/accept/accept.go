// Package accept is the listener that clients connect to. It accepts no more
// connections than can be served with the open files that the process may have, and
// watches where requests begin and end on each, for what net/http does not tell.
package accept

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// Listener hands out at most so many connections at once; further ones wait in the
// system's queue until one is closed. It is safe for concurrent use.
type Listener struct {
	net.Listener
	places chan struct{} // has room for a connection each; nil is no bound
	closed chan struct{}
	once   sync.Once

	// mu guards what follows; it is held for moments only.
	mu     sync.Mutex
	idle   map[net.Conn]time.Time // that no request runs on, since when
	silent map[net.Conn]time.Time // that have had no request yet, since when
	short  bool                   // Accept waits for a place
}

// Listen wraps a listener; most connections, if more than 0, are open at once.
func Listen(l net.Listener, most int) *Listener {
	f := &Listener{Listener: l, closed: make(chan struct{}), idle: map[net.Conn]time.Time{}, silent: map[net.Conn]time.Time{}}
	if most > 0 {
		f.places = make(chan struct{}, most)
	}
	return f
}

// Accept waits for a connection, and before for a place. For that it closes one on
// which no request runs, as the server may at any time: a client that keeps one open
// only in case keeps nobody else out, nor does one that sends nothing.
func (l *Listener) Accept() (net.Conn, error) {
	if err := l.place(); err != nil {
		return nil, err
	}
	c, err := l.Listener.Accept()
	if err != nil {
		l.free()
		return nil, err
	}
	return &Conn{Conn: c, free: l.free}, nil
}

// place takes a place.
func (l *Listener) place() error {
	if l.places == nil {
		return nil
	}
	select {
	case l.places <- struct{}{}:
		return nil
	default:
	}
	if !l.want(true) {
		l.endSilent()
	}
	defer l.want(false)
	again := time.NewTicker(firstRequest / 4)
	defer again.Stop()
	for {
		select {
		case l.places <- struct{}{}:
			return nil
		case <-again.C:
			l.endSilent()
		case <-l.closed:
			return net.ErrClosed
		}
	}
}

// firstRequest is how long the head of a connection's first request may take while others
// wait for its place.
const firstRequest = time.Second

// endSilent closes the connection that has taken longest for that.
func (l *Listener) endSilent() {
	l.mu.Lock()
	var oldest net.Conn
	for c, since := range l.silent {
		if time.Since(since) >= firstRequest && (oldest == nil || since.Before(l.silent[oldest])) {
			oldest = c
		}
	}
	delete(l.silent, oldest)
	l.mu.Unlock()
	if oldest != nil {
		oldest.Close()
	}
}

func (l *Listener) free() {
	if l.places != nil {
		<-l.places
	}
}

// want says whether Accept waits for a place. If so the connection that has been idle
// longest is closed, or else the next one that becomes idle. It reports whether one was.
func (l *Listener) want(short bool) bool {
	l.mu.Lock()
	l.short = short
	var oldest net.Conn
	if short {
		for c, since := range l.idle {
			if oldest == nil || since.Before(l.idle[oldest]) {
				oldest = c
			}
		}
		l.short = oldest == nil
		delete(l.idle, oldest)
	}
	l.mu.Unlock()
	if oldest != nil {
		oldest.Close()
	}
	return oldest != nil
}

// State is for http.Server.ConnState.
func (l *Listener) State(c net.Conn, state http.ConnState) {
	l.mu.Lock()
	delete(l.idle, c)
	delete(l.silent, c)
	if state == http.StateNew {
		l.silent[c] = time.Now()
	}
	spare := state == http.StateIdle && l.short
	if spare {
		l.short = false
	} else if state == http.StateIdle {
		l.idle[c] = time.Now()
	}
	l.mu.Unlock()
	if spare {
		c.Close()
	}
}

// Close closes the listener; connections stay open.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// Conn is a client's connection.
type Conn struct {
	net.Conn
	free func()
	once sync.Once
	framing
}

// NetConn returns the connection beneath.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// Read reads what the client sends, and looks at it.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.watch(p[:n])
	return n, err
}

// Close closes the connection and gives its place back.
func (c *Conn) Close() error {
	c.once.Do(c.free)
	return c.Conn.Close()
}

// CloseWrite is for http.Server, which lets the client read an answer to its end.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
