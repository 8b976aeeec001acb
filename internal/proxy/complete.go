package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/loragate/loragate/internal/auth"
	"github.com/loragate/loragate/internal/pool"
	"github.com/loragate/loragate/internal/upstream"
)

// complete serves one endpoint for completions.
func (p *Proxy) complete(e *endpoint) echo.HandlerFunc {
	return p.accounted(func(c echo.Context, principal *auth.Principal) error {
		r, err := p.decode(c, e, principal)
		if err != nil {
			return err
		}
		rec := recordOf(c)
		rec.digest = r.model.Digest()
		rec.model, rec.target, rec.stream = r.asked, r.model.Target, r.stream
		rec.adhoc = r.model.Adhoc
		switch {
		case len(r.prompts) == 0:
			return p.run(c, r)
		case r.stream:
			return p.streamPieces(c, r)
		}
		return p.runPieces(c, r)
	})
}

// workerError says that the worker failed before the client got a byte, so the
// request may run again.
type workerError struct{ cause error }

func (e *workerError) Error() string { return fmt.Sprintf("before the first byte: %v", e.cause) }
func (e *workerError) Unwrap() error { return e.cause }

// run takes a request to its whole answer or to one error. A request whose worker fails
// before the client got a byte runs again. If it had no answer from llama-server yet, and
// nobody ended the worker from outside, it may be what ends workers, and its second run
// is a trial: alone on a worker. A second worker that ends under it is the last one.
func (p *Proxy) run(c echo.Context, r *request) error {
	arrived, rec := time.Now(), recordOf(c)
	if left := p.quarantine.left(r, arrived); left > 0 {
		return quarantined(left)
	}
	place := pool.Request{Target: TargetOf(r.model), Namespace: r.principal.Namespace(), Exclusive: r.exclusive, PrefixHashes: r.prefixes()}
	place.NamespaceWeight, place.Priority = r.principal.Share()
	var so runs
	if r.model.Adhoc {
		place.Turn = place.Namespace // of what it makes up, a tenant has one turn
	}
	for {
		lease, err := p.opts.Pool.Acquire(c.Request().Context(), place)
		if err != nil {
			return fromPool(r.asked, err)
		}
		p.announce(c, r, lease)
		err = p.attempt(c, r, lease)
		var failed *workerError
		switch {
		case err == nil:
			return nil
		case c.Request().Context().Err() != nil:
			return ended(c.Request().Context(), err)
		case !errors.As(err, &failed):
			return err
		}
		switch so.failed(failed, lease, rec.tally.begun, time.Now()) {
		case convict:
			return p.convicted(rec, r, failed)
		case giveUp:
			return workerDied(failed)
		}
		p.opts.Log.Warn("worker failed before the first byte, running the request again",
			"request_id", rec.id, "worker", lease.Member, "suspect", so.suspect, "error", failed)
		place.Again, place.Suspect = arrived, so.suspect
	}
}

// announce tells the client and the log who answers.
func (p *Proxy) announce(c echo.Context, r *request, l *pool.Lease) {
	rec := recordOf(c)
	rec.worker, rec.state, rec.queued = l.Member, l.State, rec.queued+l.Queued
	rec.swapped += l.Prepared
	h := c.Response().Header()
	h.Set("X-Adapter", r.model.Target)
	if digest := r.model.Digest(); digest != "" {
		h.Set("X-Adapter-Digest", digest)
	}
	h.Set("X-Worker", strconv.Itoa(l.Member))
	h.Set("X-Adapter-State", string(l.State))
	h.Set("X-Queue-Ms", strconv.FormatInt(rec.queued.Milliseconds(), 10))
}

// attempt runs the request on the lease's worker and releases the lease. It
// returns a *workerError if the worker failed before anything reached the
// client.
func (p *Proxy) attempt(c echo.Context, r *request, l *pool.Lease) error {
	rec, outcome := recordOf(c), pool.CutEarly
	rec.lease = l
	rec.tally = tally{choices: r.choices}
	g := p.generate(c.Request().Context(), r, l)
	defer func() {
		if g.ctx.Err() != nil && outcome == pool.Failed { // not the worker broke off: the client, or we did
			outcome = pool.CutEarly
			if rec.tally.begun {
				outcome = pool.Cut
			}
		}
		g.end(&rec.tally)
		l.Release(outcome, rec.tally.taken())
	}()
	outcome, err := p.exchange(c, r, l, g)
	if errors.Is(err, errNotFromStream) {
		whole := *r // the request itself is looked at by others
		whole.gathers = false
		outcome, err = p.exchange(c, &whole, l, g)
	}
	return err
}

// exchange sends the request to the worker and its answer to the client. It tells how
// the worker's part of it ended.
func (p *Proxy) exchange(c echo.Context, r *request, l *pool.Lease, g *generation) (pool.Outcome, error) {
	body, err := r.forWorker(l, p.opts.Alias)
	if err != nil {
		return pool.CutEarly, err
	}
	resp, err := l.Worker.Forward(g.ctx, r.endpoint.at(), body)
	if err != nil {
		return pool.Failed, brokeOff(g.ctx, p.cause(c, l, err))
	}
	defer resp.Body.Close()
	switch {
	case r.stream && resp.Status == http.StatusOK:
		return p.relay(g.ctx, c, r, l, resp.Body)
	case r.gathers && resp.Status == http.StatusOK && isStream(resp):
		return p.gather(g.ctx, c, r, l, resp.Body)
	}
	return p.answer(g.ctx, c, r, l, g.begun, resp)
}

func isStream(resp *upstream.Response) bool {
	return strings.HasPrefix(resp.ContentType, "text/event-stream")
}

// brokeOff is the error for a worker that broke off before anything reached the
// client, unless it did so because the answer took too long.
func brokeOff(ctx context.Context, cause error) error {
	if context.Cause(ctx) == errTooLong {
		return ranTooLong(cause)
	}
	return &workerError{cause}
}

// maxAnswer bounds what a worker's answer may take of memory.
const maxAnswer = 256 << 20

// answer passes on an answer that the worker gave whole, and tells how the worker's
// part of it ended. begun is the worker's meter when the request began.
func (p *Proxy) answer(ctx context.Context, c echo.Context, r *request, l *pool.Lease, begun *pool.Usage, resp *upstream.Response) (pool.Outcome, error) {
	text, err := readAll(io.LimitReader(resp.Body, maxAnswer), resp.ContentLength)
	if err != nil {
		return pool.Failed, brokeOff(ctx, p.cause(c, l, err))
	}
	if resp.Status != http.StatusOK {
		// Further choices of the same request may still be at work.
		return pool.Cut, fromWorker(r, resp.Status, text)
	}
	rec := recordOf(c)
	text, ok := r.renameAll(rec, text)
	if !ok {
		return pool.Failed, &workerError{errNotOfEndpoint}
	}
	return p.deliver(c, r, l, recount(ctx, &rec.tally, l, begun, text))
}

var errNotOfEndpoint = errors.New("the answer is not one of this endpoint")

// cause waits a moment for the reason why a worker stopped answering: its
// connection breaks before its exit is known.
func (p *Proxy) cause(c echo.Context, l *pool.Lease, err error) error {
	timer := time.NewTimer(exitDelay)
	defer timer.Stop()
	select {
	case <-l.Worker.Exited():
		return fmt.Errorf("%w (%v)", l.Worker.Err(), err)
	case <-c.Request().Context().Done():
		return err
	case <-timer.C:
		return err
	}
}

// exitDelay is how long a process that broke its connections may take to end.
const exitDelay = 200 * time.Millisecond

// write sends a whole JSON answer. A client that does not read it for the write
// timeout is dropped.
func (p *Proxy) write(c echo.Context, status int, text []byte) error {
	res := c.Response()
	res.Header().Set("Content-Type", "application/json; charset=utf-8")
	res.Header().Set("Content-Length", strconv.Itoa(len(text)))
	p.announceClose(c)
	p.extend(c)
	res.WriteHeader(status)
	if _, err := res.Write(text); err != nil {
		return clientLeft(err)
	}
	return nil
}

// announceClose tells the client that its connection ends with this answer, if it does.
func (p *Proxy) announceClose(c echo.Context) {
	if p.closing.Load() {
		c.Response().Header().Set("Connection", "close")
	}
}

// extend gives the next write the write timeout, or nearly: where requests come fast,
// not each sets a deadline, which costs as much as writing to memory.
func (p *Proxy) extend(c echo.Context) {
	now := time.Now()
	if conn, ok := c.Request().Context().Value(connectionKey{}).(*connection); ok {
		if now.Sub(conn.extended) < p.opts.WriteTimeout/8 {
			return
		}
		conn.extended = now
	}
	_ = http.NewResponseController(c.Response()).SetWriteDeadline(now.Add(p.opts.WriteTimeout))
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
