package front

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/loragate/loragate/internal/framing"
)

// The states of a connection.
const (
	busy    = iota // something of a request has come
	quiet          // nothing has come since it was opened, or since the last answer
	expired        // it was to end, and does unless its reader finds something
)

// conn is a connection that knows whether something of a request has come. The server
// reads from it in one goroutine at a time, which is also who ends it.
type conn struct {
	*net.TCPConn
	front    *Front
	plain    bool            // it carries HTTP, not TLS
	requests framing.Watcher // what has come, if it is plain
	closed   atomic.Bool
	served   atomic.Bool // the head of a request has come whole; written under mu

	mu       sync.Mutex
	answered int64     // requests
	held     bool      // it waits for a place, and nobody reads from it yet
	state    int32     // written under mu, read by Read without it
	since    time.Time // when it became quiet, or the last of its first request's head came
	until    time.Time // the server's own deadline for reads
}

// Read implements net.Conn. When the connection has expired it looks once more for a
// request before it says so.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) && atomic.LoadInt32(&c.state) == expired {
		if n = c.lastLook(p); n > 0 {
			err = nil
		}
	}
	if n > 0 {
		c.came()
		if c.plain {
			c.requests.Watch(p[:n])
		}
	}
	return n, err
}

// came notes that something of a request has come.
func (c *conn) came() {
	if atomic.LoadInt32(&c.state) != busy || !c.served.Load() {
		c.wake(false)
	}
}

// begin notes that the head of a request has come whole: before anything reads on for the
// client's end, or, of one that came with the request before, when it is handled.
func (c *conn) begin() {
	if !c.served.Load() || atomic.LoadInt32(&c.state) != busy {
		c.wake(true)
	}
}

// wake makes the connection busy, also one that was to end.
func (c *conn) wake(served bool) {
	c.mu.Lock()
	revived := c.state == expired
	if revived {
		_ = c.TCPConn.SetReadDeadline(c.until) // one that cannot be set shows at the next read
	}
	if served {
		c.served.Store(true)
	}
	c.since = time.Now()
	atomic.StoreInt32(&c.state, busy)
	c.mu.Unlock()
	if revived {
		c.front.tell()
	}
}

// lastLook reads what is there without waiting for it, 0 for nothing.
func (c *conn) lastLook(p []byte) (n int) {
	raw, err := c.TCPConn.SyscallConn()
	if err != nil || c.TCPConn.SetReadDeadline(time.Time{}) != nil {
		return 0
	}
	_ = raw.Read(func(fd uintptr) bool {
		n, _ = syscall.Read(int(fd), p) // the descriptor never blocks
		return true
	})
	return max(n, 0)
}

// hush notes that an answer has ended. What has come of the next request already is with
// the server.
func (c *conn) hush() {
	c.mu.Lock()
	c.answered++
	if !c.plain || c.requests.Begun() <= c.answered {
		c.since = time.Now()
		atomic.StoreInt32(&c.state, quiet)
	}
	c.mu.Unlock()
	c.front.tell()
}

// Ambiguous reports whether the request that runs, or one before it, said in two ways
// where it ends.
func (c *conn) Ambiguous() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.requests.Ambiguous(c.answered + 1)
}

// expire has whoever reads from the connection end it, if it is quiet and has had its
// chance since then and since the given moment.
func (c *conn) expire(now, after time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != busy && now.Sub(c.since) >= Chance && now.Sub(after) >= Chance {
		c.end(now)
	}
}

// end has whoever reads from the connection end it, after a last look for a request. The
// caller holds mu.
func (c *conn) end(now time.Time) {
	atomic.StoreInt32(&c.state, expired)
	_ = c.TCPConn.SetReadDeadline(now) // one that is closed meanwhile has no need of it
}

// SetReadDeadline implements net.Conn. What the server sets while the connection is to end
// holds if it goes on.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until = t
	if c.state == expired {
		return nil
	}
	return c.TCPConn.SetReadDeadline(t)
}

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// Close implements net.Conn.
func (c *conn) Close() error {
	err := c.TCPConn.Close()
	if !c.closed.Swap(true) {
		c.front.remove(c)
	}
	return err
}
