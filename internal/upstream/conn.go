package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"time"
)

// conn is one connection. It belongs to one request or to the pool; only abort
// comes from elsewhere.
type conn struct {
	*net.UnixConn
	since  time.Time // when it came into the pool
	reused bool      // it has carried a request before
	abort  func()    // closes it, from any goroutine
	peer   peer
}

// dial connects to a Unix socket. That never blocks, but on Linux it fails as long
// as the server's queue of newcomers is full, and here as long as no more files may be
// open. dial then tries again until ctx ends, as a blocking connect would wait.
func dial(ctx context.Context, addr *net.UnixAddr) (*conn, error) {
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		nc, err := net.DialUnix("unix", nil, addr)
		if err == nil {
			c := &conn{UnixConn: nc, abort: func() { nc.Close() }}
			return c, nil
		}
		if !errors.Is(err, syscall.EAGAIN) && !starved(err) {
			return nil, err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, waitedFor(ctx, err)
		}
	}
}

func (c *conn) close() { c.UnixConn.Close() }

// gone reports whether an error says that the server has closed the connection.
func gone(err error) bool {
	return err == io.EOF || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
