package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
)

// Body is an answer's body, its framing taken off. Its methods block as long as
// the bytes they need have not come; ending the request's context ends that.
// They must not be called at the same time, Close included. Bytes that Peek and
// ReadSlice return lie in the body's buffer: they are valid until the next call
// that has to wait for more, or Close.
//
// An error other than io.EOF stays. A body that breaks off in the middle ends in
// an error that wraps io.ErrUnexpectedEOF, never in io.EOF.
type Body struct {
	frames
	err error // what comes after the decoded bytes

	// Of the connection. Its use is over when the body's last byte has been
	// received, which may be long before that is read.
	client *Client
	conn   *conn // nil when its use is over
	ctx    context.Context
	stop   func() bool // ends the watch over ctx; see Client.exchange
	keep   bool        // the connection may be used again
}

// ErrBufferFull says that a line is longer than the buffer, or that more was to
// be peeked at than it holds.
var ErrBufferFull = errors.New("upstream: buffer full")

var errClosed = errors.New("upstream: the body was closed")

// advance decodes what has come and sees to the end.
func (b *Body) advance() {
	err := b.decode()
	switch {
	case err != nil:
		b.fail(err)
	case b.state == ended:
		b.err = io.EOF
		b.release(b.keep && b.p == b.w)
	}
}

// more blocks until something changed: decoded bytes came, or b.err is set. It
// fails only with ErrBufferFull.
func (b *Body) more() error {
	switch err := b.receive(); {
	case err == nil:
		b.advance()
	case errors.Is(err, errFull):
		return ErrBufferFull
	case err == io.EOF && b.state == untilClose:
		b.err = io.EOF
		b.release(false)
	default:
		b.fail(err)
	}
	return nil
}

// fail ends the body with an error and closes the connection.
func (b *Body) fail(err error) {
	switch {
	case b.ctx != nil && b.ctx.Err() != nil:
		err = contextError(b.ctx)
	case err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	b.err = fmt.Errorf("upstream: read the body: %w", err)
	b.release(false)
}

// release gives the connection up, to the pool if it may be used again.
func (b *Body) release(keep bool) {
	if b.conn == nil {
		return
	}
	b.client.release(b.conn, b.stop, keep)
	b.conn, b.src = nil, nil
}

// Buffered returns the number of bytes that can be read without blocking.
func (b *Body) Buffered() int { return b.d - b.r }

// Peek returns the next n bytes without taking them. With fewer the error says
// why: the body's end, or ErrBufferFull. It does not block for n up to Buffered.
func (b *Body) Peek(n int) ([]byte, error) {
	for b.Buffered() < n {
		if b.err != nil {
			return b.buffered(), b.err
		}
		if err := b.more(); err != nil {
			return b.buffered(), err
		}
	}
	return b.buffered()[:n], nil
}

func (b *Body) buffered() []byte {
	if b.buf == nil {
		return nil
	}
	return b.buf[b.r:b.d]
}

// ReadSlice returns the bytes up to and with the next delim. If there is none, it
// returns what there is and why: the body's end, or ErrBufferFull, after which
// the line goes on.
func (b *Body) ReadSlice(delim byte) ([]byte, error) {
	seen := 0
	for {
		have := b.buffered()
		if i := bytes.IndexByte(have[seen:], delim); i >= 0 {
			b.r += seen + i + 1
			return have[:seen+i+1], nil
		}
		if b.err != nil {
			b.r = b.d
			return have, b.err
		}
		seen = len(have)
		if err := b.more(); err != nil {
			have = b.buffered() // they may have moved
			b.r = b.d
			return have, err
		}
	}
}

// Read implements io.Reader.
func (b *Body) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for b.Buffered() == 0 {
		if b.err != nil {
			return 0, b.err
		}
		if n := b.readThrough(p); n > 0 {
			return n, nil
		}
		if b.err == nil {
			b.more() // there is room: nothing is buffered
		}
	}
	n := copy(p, b.buffered())
	b.r += n
	return n, nil
}

// readThrough reads into p without the detour over the buffer, where that can be
// done: data come next, and p takes more of them than the buffer.
func (b *Body) readThrough(p []byte) int {
	if b.state != inBody && b.state != inChunk || len(p) < bufferSize || b.p < b.w {
		return 0
	}
	n, err := b.src.Read(p[:min(int64(len(p)), b.left)])
	if n == 0 && err != nil {
		b.fail(err)
		return 0
	}
	if b.count(n) {
		b.advance()
	}
	return n
}

// Close ends the use of the body; what it returned is no longer valid. If not
// all of it has been received, the connection is closed, which tells the server
// that nobody wants the rest. It never fails.
func (b *Body) Close() error {
	b.release(false)
	b.err = errClosed
	if b.buf != nil {
		buffers.Put(b.buf)
		b.buf = nil
	}
	b.r, b.d, b.p, b.w = 0, 0, 0, 0
	return nil
}
