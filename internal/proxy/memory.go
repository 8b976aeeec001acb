package proxy

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// bodies counts what the bodies of requests take of memory, from before they are read
// until their requests end. Its zero value bounds nothing.
type bodies struct {
	most int64 // bytes; 0 is no bound
	now  atomic.Int64
}

// factor is how many bytes a byte of a body counts for: as it came, as it is sent on,
// and in part once more while either is made.
const factor = 3

// errFull is that there is no room for a body now.
var errFull = errors.New("the bodies of other requests take what limits.memory allows")

// take makes room for so many more bytes of a body, and reports whether there was any.
func (b *bodies) take(n int64) bool {
	if now := b.now.Add(factor * n); b.most > 0 && now > b.most {
		b.now.Add(-factor * n)
		return false
	}
	return true
}

func (b *bodies) give(n int64) { b.now.Add(-factor * n) }

// overloaded refuses a request for whose body there is no room. A client that sends it
// all the same is not read: the connection ends.
func overloaded() *apiError {
	return &apiError{
		Status: http.StatusServiceUnavailable, Type: typeServer, Code: "overloaded",
		Message: "The gateway holds as much of requests as its memory allows.", RetryAfter: time.Second, Cause: errFull,
	}
}

// readHeld is readAll for a body, for which room is made: before anything is read if
// it says how long it is, else as it grows. What was taken is the record's, which
// gives it back at the end, also after an error.
func (p *Proxy) readHeld(rec *record, r io.Reader, length int64) ([]byte, error) {
	if length > 0 {
		if !p.bodies.take(length) {
			return nil, errFull
		}
		rec.held += length
	}
	return readAll(&heldReader{r: r, bodies: &p.bodies, rec: rec}, length)
}

// heldReader makes room for what is read beyond what the record holds already.
type heldReader struct {
	r      io.Reader
	bodies *bodies
	rec    *record
	read   int64
}

func (h *heldReader) Read(text []byte) (int, error) {
	n, err := h.r.Read(text)
	h.read += int64(n)
	if more := h.read - h.rec.held; more > 0 {
		if !h.bodies.take(more) {
			return 0, errFull
		}
		h.rec.held += more
	}
	return n, err
}
