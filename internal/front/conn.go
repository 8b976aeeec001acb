package front

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// The states of a connection.
const (
	busy    = iota // something of a request has come
	quiet          // nothing has come since it was opened, or since the last answer
	expired        // it was quiet when its time was over
)

// conn is a connection that knows whether something of a request has come. The server
// reads from it in one goroutine at a time, which is also who ends it.
type conn struct {
	*net.TCPConn
	front  *Front
	closed atomic.Bool

	mu    sync.Mutex
	state int32     // written under mu, read by Read without it
	since time.Time // when it became quiet
	until time.Time // the server's own deadline for reads
}

// Read implements net.Conn. When the connection has expired it looks once more for a
// request before it says so.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	if n > 0 {
		c.came()
		return n, err
	}
	if errors.Is(err, os.ErrDeadlineExceeded) && atomic.LoadInt32(&c.state) == expired {
		if n := c.lastLook(p); n > 0 {
			c.came()
			return n, nil
		}
	}
	return n, err
}

// came notes that something of a request has come.
func (c *conn) came() {
	if atomic.LoadInt32(&c.state) == busy {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == expired {
		_ = c.TCPConn.SetReadDeadline(c.until) // one that cannot be set shows at the next read
	}
	atomic.StoreInt32(&c.state, busy)
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

// hush notes that an answer has ended.
func (c *conn) hush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.since = time.Now()
	atomic.StoreInt32(&c.state, quiet)
}

// expire has whoever reads from the connection end it, if it is quiet and has had its
// chance since then and since the given moment.
func (c *conn) expire(now, after time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == busy || now.Sub(c.since) < Chance || now.Sub(after) < Chance {
		return
	}
	atomic.StoreInt32(&c.state, expired)
	_ = c.TCPConn.SetReadDeadline(now) // one that is closed meanwhile has no need of it
}

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until = t
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
