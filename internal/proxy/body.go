package proxy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/proxy/bounds"
	"github.com/loragate/loragate/internal/proxy/failure"
	"github.com/loragate/loragate/internal/rawjson"
)

// bodies reads the bodies of requests. It is safe for concurrent use.
type bodies struct {
	memory   bounds.Memory // what they take
	decoding chan struct{} // has room for as many as may be decoded at once
	timeout  time.Duration // for the whole of one, which observe sees to
	logged   bool
	log      *slog.Logger
}

// mark is a byte order mark, which some clients put before JSON though RFC 8259 forbids it.
var mark = []byte("\ufeff")

// readObject reads the body, once and whole, which must be a JSON object of at most so many bytes.
//
// Reading it whole before anything is sent on also keeps the server from
// closing the body under the transport when a worker answers at once
// (golang/go#40747).
func (b *bodies) readObject(c echo.Context, limit int64) (rawjson.Object, error) {
	text, err := b.readBody(c, limit)
	if err != nil {
		return rawjson.Object{}, err
	}
	body, err := rawjson.Parse(bytes.TrimPrefix(text, mark))
	if err != nil {
		return rawjson.Object{}, badJSON(err)
	}
	return body, nil
}

func (b *bodies) readBody(c echo.Context, limit int64) ([]byte, error) {
	req := c.Request()
	if req.ContentLength > limit {
		return nil, bodyTooLarge(limit)
	}
	// The deadline that observe has set ends slow senders.
	text, err := b.readPlain(c, limit)
	var tooLarge *http.MaxBytesError
	var told *httpkit.Error
	switch {
	case errors.As(err, &told):
		return nil, told
	case errors.Is(err, bounds.ErrFull):
		c.Response().Header().Set("Connection", "close") // or the server would read the body to its end
		return nil, overloaded()
	case errors.As(err, &tooLarge):
		return nil, bodyTooLarge(limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &httpkit.Error{
			Status: http.StatusRequestTimeout, Type: httpkit.TypeInvalid, Code: "request_timeout",
			Message: fmt.Sprintf("The request body did not arrive within %s.", b.timeout),
		}
	case req.Context().Err() != nil || errors.Is(err, io.ErrUnexpectedEOF):
		return nil, failure.Ended(req.Context(), err)
	case err != nil: // it sent nonsense
		return nil, &httpkit.Error{
			Status: http.StatusBadRequest, Type: httpkit.TypeInvalid,
			Message: "The request body could not be read to its end.", Cause: err,
		}
	}
	if b.logged {
		b.log.Info("body", "request_id", recordOf(c).id, "body", string(text))
	}
	recordOf(c).read = true
	// It would end the connection in the middle of a long answer.
	_ = http.NewResponseController(c.Response()).SetReadDeadline(time.Time{})
	return text, nil
}

// readPlain reads a body as it was before it was encoded. All of it is there before any of it is
// decoded: nobody who sends slowly holds a decoder.
func (b *bodies) readPlain(c echo.Context, limit int64) ([]byte, error) {
	req, held := c.Request(), &recordOf(c).held
	encoding, unpack, err := unpackerFor(req.Header, limit)
	if err != nil {
		return nil, err
	}
	text, err := b.memory.Read(http.MaxBytesReader(c.Response(), req.Body, limit), req.ContentLength, held)
	if err != nil || unpack == nil {
		return text, err
	}
	if err := b.awaitDecoder(req.Context()); err != nil {
		return nil, err
	}
	defer func() { <-b.decoding }()
	plain, end, err := unpack(bytes.NewReader(text))
	if err != nil {
		return nil, badEncoding(encoding, err)
	}
	defer end()
	text, err = b.memory.Read(http.MaxBytesReader(nil, io.NopCloser(plain), limit), -1, held)
	var tooLarge *http.MaxBytesError
	if err != nil && !errors.Is(err, bounds.ErrFull) && !errors.As(err, &tooLarge) {
		err = badEncoding(encoding, err)
	}
	return text, err
}

// awaitDecoder waits for a place among those that decode, for the read timeout at most.
func (b *bodies) awaitDecoder(ctx context.Context) error {
	select {
	case b.decoding <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(b.timeout)
	defer timer.Stop()
	select {
	case b.decoding <- struct{}{}:
		return nil
	case <-timer.C:
		return overloaded()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func bodyTooLarge(limit int64) *httpkit.Error {
	return &httpkit.Error{
		Status: http.StatusRequestEntityTooLarge, Type: httpkit.TypeInvalid, Code: "request_too_large",
		Message: fmt.Sprintf("The request body is larger than the limit of %d bytes.", limit),
	}
}

// overloaded refuses a request for whose body there is no room. A client that sends it
// all the same is not read: the connection ends.
func overloaded() *httpkit.Error {
	return &httpkit.Error{
		Status: http.StatusServiceUnavailable, Type: httpkit.TypeServer, Code: "overloaded",
		Message: "The gateway holds as much of requests as its memory allows.", RetryAfter: time.Second,
		Cause: bounds.ErrFull,
	}
}

// badJSON says what is wrong with a body, and where.
func badJSON(err error) *httpkit.Error {
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, rawjson.ErrNotObject):
		return httpkit.Invalid("", "The request body must be a JSON object.")
	case errors.As(err, &syntax):
		return httpkit.Invalid("", "The request body is not valid JSON: %s at byte %d.", syntax, syntax.Offset)
	default:
		return httpkit.Invalid("", "The request body is not valid JSON: %s.", err)
	}
}
