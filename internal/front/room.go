package front

import (
	"net"
	"time"
)

const (
	// fair is how long a connection is kept on which nothing has come yet, or nothing since
	// the last answer, though others wait for its place: what a client sends at once has
	// come by then. Those that have been silent longest go first.
	fair = 50 * time.Millisecond
	// halting is how long nothing more may come then of a head, or of a TLS handshake, that
	// has begun. Only a connection's first one counts.
	halting = time.Second
)

// yields returns from when on the connection may be closed for another. It reports false
// while it must not be: a request runs on it, or it is about to end anyway.
func (c *conn) yields() (from time.Time, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.spare()
}

// spare is yields for who holds mu.
func (c *conn) spare() (from time.Time, ok bool) {
	switch {
	case c.held:
		return from, false
	case c.state == quiet:
		return c.since.Add(fair), true
	case c.state == busy && !c.served.Load():
		return c.since.Add(halting), true
	}
	return from, false
}

// yield has the connection end if it may still be closed for another. Its reader does it,
// after a last look: a request that comes in this moment is served.
func (c *conn) yield(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	from, ok := c.spare()
	if ok = ok && !from.After(now); ok {
		c.end(now)
	}
	return ok
}

// ends reports whether the connection is about to end.
func (c *conn) ends() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state == expired
}

// admit blocks until there is a place for a connection that was accepted, which is one more
// than the bound. One after the other, those that have been silent longest are closed for
// it. It reports false when the port is closed at once.
func (f *Front) admit(c *conn) bool {
	f.short.Store(true)
	defer f.short.Store(false)
	defer c.take()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var asked *conn
	for {
		var again time.Duration
		if asked, again = f.ask(asked, time.Now()); again < 0 {
			return true
		}
		timer.Reset(again)
		select {
		case <-f.changed:
		case <-timer.C:
		case <-f.shut:
			return false
		}
	}
}

// take says that the connection has its place.
func (c *conn) take() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = false
	c.since = time.Now()
}

// whenTold is when to ask again if nothing changes though all that could help was done:
// whatever ends or is answered tells.
const whenTold = time.Hour

// ask has the connection end that has been silent longest, unless the one that was asked
// before is about to, and returns it, nil if there is none that may be closed yet. again is
// when to ask again if nothing changes, negative if there is a place.
func (f *Front) ask(before *conn, now time.Time) (asked *conn, again time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.conns) <= f.most {
		return nil, -1
	}
	if _, there := f.conns[before]; there && before.ends() {
		return before, whenTold
	}
	var first time.Time
	for c := range f.conns {
		if from, ok := c.yields(); ok && (asked == nil || from.Before(first)) {
			asked, first = c, from
		}
	}
	switch {
	case asked == nil:
		return nil, whenTold
	case first.After(now):
		return nil, first.Sub(now)
	case !asked.yield(now):
		return nil, 0 // a request has come meanwhile
	}
	return asked, whenTold
}

// tell wakes who waits for a place.
func (f *Front) tell() {
	if !f.short.Load() {
		return
	}
	select {
	case f.changed <- struct{}{}:
	default: // it is awake already
	}
}

// connOf returns what is beneath a connection of the server.
func connOf(nc net.Conn) *conn {
	for {
		outer, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			return nc.(*conn)
		}
		nc = outer.NetConn()
	}
}
