// Package upstream is an HTTP/1.1 client for one server behind a Unix socket,
// made to cost as little as it can: the caller's goroutine writes the request
// with one system call and reads the answer itself. net/http's transport hands
// both to goroutines of the connection, and waking those is most of what a proxy
// spends.
//
// It is for requests that may be sent twice, whose bodies are in memory.
package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// idleTimeout is how long a connection may be idle: llama-server closes it after
// 5 s, and it is better to be first.
const idleTimeout = 2 * time.Second

// Client talks to one server. It is safe for concurrent use.
type Client struct {
	addr   *net.UnixAddr
	header string
	bad    error // what is wrong with header
	pool   pool
}

// Response is the answer to a request. Its body must be closed.
type Response struct {
	Status        int
	ContentType   string // empty if not given
	ContentLength int64  // -1 if not given
	Body          *Body  // never nil
}

// New returns a client of the server that listens on socket. header is sent with
// every request: fields such as "Authorization: Bearer x", each with CR LF
// behind it. Up to maxIdle connections are kept for later requests.
func New(socket, header string, maxIdle int) *Client {
	return &Client{
		addr:   &net.UnixAddr{Name: socket, Net: "unix"},
		header: header,
		bad:    checkHeader(header),
		pool:   pool{maxIdle: maxIdle, timeout: idleTimeout},
	}
}

// Close closes the connections that are idle now, and the others when their
// answers have been read. Requests can still be made, each on a connection of
// its own.
func (c *Client) Close() { c.pool.close() }

// Do sends a request and blocks until the answer's head has come. The body is
// JSON; nil stands for none. When ctx ends, before or while the answer's body is
// read, the connection is closed and the error wraps ctx's and its cause.
//
// The server must not wait with reading the body until its answer is read: only
// an answer behind which it closes the connection can be had that early.
//
// On a connection that has served before and that the server turns out to have
// closed, without a byte of an answer, the request is sent again, once, on a new
// one.
func (c *Client) Do(ctx context.Context, method, path string, body []byte) (*Response, error) {
	resp, err := c.do(ctx, method, path, body)
	if err != nil {
		return nil, fmt.Errorf("upstream: %s %s: %w", method, path, err)
	}
	return resp, nil
}

func (c *Client) do(ctx context.Context, method, path string, body []byte) (*Response, error) {
	if c.bad != nil {
		return nil, c.bad
	}
	if err := checkTarget(method, path); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, contextError(ctx)
	}
	req := newRequest(c.header, method, path, body)
	defer req.free()
	if conn := c.pool.get(); conn != nil {
		resp, err := c.exchange(ctx, conn, req)
		if !errors.Is(err, errStale) {
			return resp, err
		}
	}
	conn, err := dial(ctx, c.addr)
	if err != nil {
		return nil, err
	}
	return c.exchange(ctx, conn, req)
}

// errStale says that a connection that was used again had been closed.
var errStale = errors.New("the server had closed the connection")

// answer is a response with its body, in one allocation.
type answer struct {
	Response
	body Body
}

// exchange sends a request over a connection and reads the answer's head. The
// connection is the answer's then; on an error it is closed.
//
// When ctx ends, abort closes the connection, which wakes whoever reads or
// writes. Only if the watch could be stopped before it began to, is the
// connection used again; see Client.release.
func (c *Client) exchange(ctx context.Context, conn *conn, req *request) (*Response, error) {
	a := &answer{}
	b := &a.body
	*b = Body{client: c, conn: conn, ctx: ctx}
	b.src, b.buf = conn, buffers.Get().(*[bufferSize]byte)
	if ctx.Done() != nil {
		b.stop = context.AfterFunc(ctx, conn.abort)
	}
	sendErr := req.send(conn)
	var h head
	err := sendErr
	if sendErr == nil || gone(sendErr) {
		// A server that does not want the body may answer and close: look for that.
		h, err = b.readHead(req.method)
	}
	if err != nil {
		err = explain(ctx, conn, sendErr, err, b.begun)
		b.Close()
		return nil, err
	}
	b.keep = sendErr == nil && h.reusable()
	a.Response = Response{Status: h.status, ContentType: h.contentType, ContentLength: h.length, Body: b}
	b.advance()
	return &a.Response, nil
}

// explain says why an answer's head could not be had.
func explain(ctx context.Context, conn *conn, sendErr, err error, answered bool) error {
	switch {
	case ctx.Err() != nil:
		return contextError(ctx)
	case conn.reused && !answered && gone(err):
		return errStale
	case sendErr != nil && !answered:
		return fmt.Errorf("send the request: %w", sendErr)
	case err == io.EOF:
		return fmt.Errorf("the server closed the connection without an answer: %w", io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("read the answer's head: %w", err)
}

// contextError tells both how ctx ended and why.
func contextError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// release ends a connection's use. stop, if there is one, ends the watch over the
// request's context; if it comes too late, the connection is being closed.
func (c *Client) release(conn *conn, stop func() bool, keep bool) {
	if stop != nil && !stop() {
		keep = false
	}
	if !keep {
		conn.close()
		return
	}
	c.pool.put(conn)
}
