package proxy

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/pool"
	"github.com/loragate/loragate/internal/proxy/failure"
	"github.com/loragate/loragate/internal/proxy/sse"
	"github.com/loragate/loragate/internal/proxy/tally"
)

// record is what the access log tells of one request. The request's handler
// owns it.
type record struct {
	echo.Context // of the request; handlers get the record in its place

	answers *answers
	id      string
	start   time.Time
	model   string // as the client named it
	target  string // what answered: the adapter's or the base's name
	adhoc   bool   // target is an expression, of which there is no end
	stream  bool
	worker  int
	state   pool.AdapterState // "" until a lease was had
	queued  time.Duration
	// swapped is the part of it in which workers were made ready.
	swapped time.Duration
	first   time.Duration // from arrival to the first byte of the answer; 0 is none
	account tally.Account // of what it takes

	held int64 // bytes of its body that memory is taken for
	read bool  // nothing of its body is left

	completion bool // it is a request for a completion

	tenant string // whose key it showed; "" if none is asked for
	key    string // its id
	digest string // of the bytes that answer
}

// recordOf returns the record that observe has made.
func recordOf(c echo.Context) *record { return c.(*record) }

func newRecord(c echo.Context, a *answers) *record {
	rec := &record{Context: c, answers: a, id: c.Request().Header.Get("X-Request-Id"), start: time.Now()}
	if !isRequestID(rec.id) {
		rec.id = newRequestID()
	}
	return rec
}

// isRequestID knows what a client may send as its X-Request-Id.
func isRequestID(id string) bool {
	for i := range len(id) {
		letter, digit := 'a' <= id[i]|0x20 && id[i]|0x20 <= 'z', '0' <= id[i] && id[i] <= '9'
		if !letter && !digit && strings.IndexByte("._-", id[i]) < 0 {
			return false
		}
	}
	return 0 < len(id) && len(id) <= 128
}

func newRequestID() string {
	var random [12]byte
	rand.Read(random[:]) // never fails, by its contract
	return string(hex.AppendEncode([]byte("req_"), random[:]))
}

// Leased implements stream.Client: it tells the client and the log who answers.
func (rec *record) Leased(l *pool.Lease) {
	rec.worker, rec.state, rec.queued = l.Member, l.State, rec.queued+l.Queued
	rec.swapped += l.Prepared
	h := rec.Response().Header()
	h.Set("X-Adapter", rec.target)
	if rec.digest != "" {
		h.Set("X-Adapter-Digest", rec.digest)
	}
	h.Set("X-Worker", strconv.Itoa(l.Member))
	h.Set("X-Adapter-State", string(l.State))
	h.Set("X-Queue-Ms", strconv.FormatInt(rec.queued.Milliseconds(), 10))
}

// write sends a whole JSON answer that is no error.
func (rec *record) write(text []byte) error { return rec.answers.write(rec, http.StatusOK, text) }

// SendWhole implements relay.Client.
func (rec *record) SendWhole(text []byte) error {
	rec.first = time.Since(rec.start)
	return rec.write(text)
}

// BeginStream implements stream.Client.
func (rec *record) BeginStream() *sse.Sender { return rec.answers.beginStream(rec) }

// FirstEvent implements stream.Client.
func (rec *record) FirstEvent() { rec.first = time.Since(rec.start) }

// provenance are the headers that tell who answers.
var provenance = []string{"X-Adapter", "X-Adapter-Digest", "X-Worker", "X-Adapter-State", "X-Queue-Ms"}

// Provenance implements stream.Client.
func (rec *record) Provenance() []byte {
	var comment []byte
	for _, name := range provenance {
		if value := rec.Response().Header().Get(name); value != "" {
			comment = fmt.Appendf(comment, ": %s: %s\n", name, value)
		}
	}
	return append(comment, '\n')
}

// LogAttrs implements relay.Client.
func (rec *record) LogAttrs() []any {
	return []any{"request_id", rec.id, "tenant", rec.tenant, "key", rec.key, "path", rec.Request().URL.Path}
}

// Report is what became of one completion request.
type Report struct {
	Model  string // what answered, by the catalog's name, or Adhoc; "" if it got no further
	Status int    // 499 is a client that left
	Err    bool   // it did not end as it should
	// Refused is why it was turned away before it ran, in the error's code; "" if
	// it was not.
	Refused string
	Stopped bool // it was under way when the gateway could not wait any longer
	Stream  bool
	State   pool.AdapterState // "" if it never had a lease
	Queued  time.Duration
	Swapped time.Duration // the part of Queued in which a worker was made ready
	First   time.Duration // from arrival to the first byte of the answer; 0 is none
	Took    time.Duration
	Usage   pool.Usage

	Tenant string // "" is nobody
	Key    string // its id
	Digest string // of the bytes that answered; "" is the base
}

// Adhoc is the Model of a Report on an expression: no model can have this name.
const Adhoc = "(adhoc)"

func (rec *record) report(status int, err error) Report {
	r := Report{
		Model: rec.target, Status: status, Err: err != nil, Stream: rec.stream, State: rec.state,
		Queued: rec.queued, Swapped: rec.swapped, First: rec.first, Took: time.Since(rec.start),
		Usage:  rec.account.Total(),
		Tenant: rec.tenant, Key: rec.key, Digest: rec.digest,
	}
	if rec.adhoc {
		r.Model = Adhoc
	}
	r.Stopped = errors.Is(err, failure.ErrStopped)
	var refusal *httpkit.Error
	if rec.state == "" && errors.As(err, &refusal) && refusal.RetryAfter > 0 {
		r.Refused = refusal.Code
	}
	return r
}

// access writes the one line that the request leaves in the log.
func (rec *record) access(log slog.Handler, status int, err error) {
	level, now := slog.LevelInfo, time.Now()
	switch {
	case status >= 500:
		level = slog.LevelError
	case status >= 400 || err != nil:
		level = slog.LevelWarn
	}
	req := rec.Request()
	if req.URL.Path == "/health" || req.URL.Path == "/ready" {
		level = slog.LevelDebug // probes come every few seconds
	}
	if !log.Enabled(context.Background(), level) {
		return
	}
	attrs := append(make([]slog.Attr, 0, 24), // as many as there can be, on the stack
		slog.String("request_id", rec.id),
		slog.String("method", req.Method),
		slog.String("path", httpkit.Shorten(req.URL.Path)),
		slog.Int("status", status),
		slog.String("client", rec.RealIP()),
		slog.Float64("duration_ms", milliseconds(now.Sub(rec.start))),
		slog.Int64("bytes_out", rec.Response().Size),
	)
	if rec.model != "" {
		attrs = append(attrs, slog.String("model", rec.model), slog.String("adapter", rec.target),
			slog.Bool("stream", rec.stream))
	}
	if rec.key != "" {
		attrs = append(attrs, slog.String("tenant", rec.tenant), slog.String("key", rec.key))
	}
	if rec.state != "" {
		attrs = append(attrs,
			slog.Int("worker", rec.worker),
			slog.String("adapter_state", string(rec.state)),
			slog.Float64("queue_ms", milliseconds(rec.queued)),
			slog.Float64("swap_ms", milliseconds(rec.swapped)))
	}
	if rec.first > 0 {
		attrs = append(attrs, slog.Float64("ttft_ms", milliseconds(rec.first)))
	}
	if t := rec.account.Total(); t != (pool.Usage{}) {
		attrs = append(attrs, slog.Int("prompt_tokens", t.Prompt), slog.Int("cached_tokens", t.Cached),
			slog.Int("completion_tokens", t.Completion))
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	// The logger itself would look up where it was called from, for nobody.
	line := slog.NewRecord(now, level, "request", 0)
	line.AddAttrs(attrs...)
	_ = log.Handle(context.Background(), line) // there is nobody to tell
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
