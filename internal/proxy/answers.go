package proxy

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/loragate/loragate/internal/proxy/failure"
	"github.com/loragate/loragate/internal/proxy/sse"
)

// answers sends answers to clients. It is safe for concurrent use.
type answers struct {
	timeout time.Duration // for each write to a client
	closing atomic.Bool   // connections end with their next answer
}

// write sends a whole JSON answer. A client that does not read it for the write
// timeout is dropped.
func (a *answers) write(c echo.Context, status int, text []byte) error {
	res := c.Response()
	res.Header().Set("Content-Type", "application/json; charset=utf-8")
	res.Header().Set("Content-Length", strconv.Itoa(len(text)))
	a.announceClose(c)
	a.extend(c)
	res.WriteHeader(status)
	if _, err := res.Write(text); err != nil {
		return failure.ClientLeft(err)
	}
	return nil
}

// writeJSON is write for what is encoded.
func (a *answers) writeJSON(c echo.Context, v any) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false) // there is no HTML around it, but "text->text" in it
	if err := encoder.Encode(v); err != nil {
		return err
	}
	return a.write(c, http.StatusOK, text.Bytes())
}

// beginStream sends the head of a stream of events and returns what sends these.
func (a *answers) beginStream(c echo.Context) *sse.Sender {
	res := c.Response()
	h := res.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no") // nginx in front would hold events back
	a.announceClose(c)
	out := sse.NewSender(res, http.NewResponseController(res.Writer), a.timeout)
	res.WriteHeader(http.StatusOK)
	return out
}

// announceClose tells the client that its connection ends with this answer, if it does.
func (a *answers) announceClose(c echo.Context) {
	if a.closing.Load() {
		c.Response().Header().Set("Connection", "close")
	}
}

// extend gives the next write the write timeout, or nearly: where requests come fast,
// not each sets a deadline, which costs as much as writing to memory.
func (a *answers) extend(c echo.Context) {
	now := time.Now()
	if conn, ok := c.Request().Context().Value(connectionKey{}).(*connection); ok {
		if now.Sub(conn.extended) < a.timeout/8 {
			return
		}
		conn.extended = now
	}
	_ = http.NewResponseController(c.Response()).SetWriteDeadline(now.Add(a.timeout))
}

// NewServer returns an HTTP server for a proxy, or for what stands in for it, whose
// timeouts slow clients cannot exhaust. Reading bodies and writing answers have
// deadlines of their own. When ctx ends with failure.ErrStopped every request that is under way
// ends with an error that says so.
func NewServer(ctx context.Context, handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext:       withConnection,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// connection is what is known of a client's connection. The request that runs on it
// owns it.
type connection struct {
	extended time.Time // when the write deadline was set last
	framing  framing   // nil if nobody watches it
}

// framing tells whether a request on a connection said in two ways where it ends;
// one of internal/front does.
type framing interface{ Ambiguous() bool }

type connectionKey struct{}

// withConnection is an http.Server's ConnContext.
func withConnection(ctx context.Context, c net.Conn) context.Context {
	f, _ := c.(framing)
	return context.WithValue(ctx, connectionKey{}, &connection{framing: f})
}
