package upstream

import (
	"sync"
	"time"
)

// pool holds idle connections; the one used last is used next, so that those
// that are not needed grow old.
type pool struct {
	maxIdle int
	timeout time.Duration

	mu     sync.Mutex
	idle   []*conn // in the order of their return
	timer  *time.Timer
	armed  bool // the timer runs
	closed bool
}

// get returns a connection that seems alive, or nil.
func (p *pool) get() *conn {
	for {
		p.mu.Lock()
		n := len(p.idle)
		if n == 0 {
			p.mu.Unlock()
			return nil
		}
		c := p.idle[n-1]
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		if time.Since(c.since) < p.timeout && c.alive() {
			return c
		}
		c.close()
	}
}

// put takes a connection over, or closes it.
func (p *pool) put(c *conn) {
	c.since = time.Now()
	c.reused = true
	p.mu.Lock()
	if p.closed || len(p.idle) >= p.maxIdle {
		p.mu.Unlock()
		c.close()
		return
	}
	p.idle = append(p.idle, c)
	if !p.armed {
		p.arm(p.timeout)
	}
	p.mu.Unlock()
}

// arm lets expire run after d. The caller holds the lock.
func (p *pool) arm(d time.Duration) {
	p.armed = true
	if p.timer == nil {
		p.timer = time.AfterFunc(d, p.expire)
		return
	}
	p.timer.Reset(d)
}

// expire closes the connections that nobody used for too long.
func (p *pool) expire() {
	now := time.Now()
	p.mu.Lock()
	n := 0
	for n < len(p.idle) && now.Sub(p.idle[n].since) >= p.timeout {
		n++
	}
	old := p.cut(n)
	p.armed = false
	if len(p.idle) > 0 {
		p.arm(p.timeout - now.Sub(p.idle[0].since))
	}
	p.mu.Unlock()
	closeAll(old)
}

// close closes what is idle, and from now on what is put.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	old := p.cut(len(p.idle))
	if p.timer != nil {
		p.timer.Stop()
	}
	p.mu.Unlock()
	closeAll(old)
}

// cut takes the n oldest out. The caller holds the lock.
func (p *pool) cut(n int) []*conn {
	old := append([]*conn(nil), p.idle[:n]...)
	rest := copy(p.idle, p.idle[n:])
	clear(p.idle[rest:])
	p.idle = p.idle[:rest]
	return old
}

func closeAll(conns []*conn) {
	for _, c := range conns {
		c.close()
	}
}
