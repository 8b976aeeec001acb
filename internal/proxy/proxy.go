// Package proxy is the gateway's face: OpenAI's HTTP API over a catalog of
// models and a pool of workers.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"github.com/loragate/loragate/internal/anthropic"
	"github.com/loragate/loragate/internal/auth"
	"github.com/loragate/loragate/internal/catalog"
	"github.com/loragate/loragate/internal/pool"
)

// Options says what a proxy serves. All without a word on it are required.
type Options struct {
	Catalog *catalog.Catalog
	Pool    Pool
	Alias   string // what workers call the model

	MaxBody      int64         // bytes of a request's body
	MaxText      int64         // the same for those that only cut texts or join them; 0 is maxUtility
	Memory       int64         // that all bodies may take at once, in bytes, see factor; 0 is no bound
	Vocabulary   Vocabulary    // the base's
	ReadTimeout  time.Duration // for the whole of a request's body
	WriteTimeout time.Duration // for each write to a client
	Generation   time.Duration // for the whole of an answer, once it runs; 0 is no bound

	// Adapters is what POST /v1/load_lora_adapter and /v1/unload_lora_adapter, which
	// are vLLM's, change; nil leaves them out. They ask for what AdminToken returns; if
	// that is "", or AdminToken nil, they are closed as long as Auth asks for keys.
	Adapters   Adapters
	AdminToken func() string

	// Auth knows who may do what; nil lets everybody do everything.
	Auth *auth.Auth

	// Rules say what clients' own names mean and what is changed in their requests;
	// see SetRules. DefaultModel is meant by requests that name none; "" refuses them.
	Rules        []*Rule
	DefaultModel string

	// Embedders serve /v1/embeddings and /v1/rerank, by name; none answers 501.
	Embedders map[string]*Embedder

	// Bounds are of single fields of requests.
	Bounds Bounds

	// RemoteMedia lets llama-server fetch pictures that requests name by address.
	RemoteMedia bool

	// Origins are those of web pages whose scripts may call the proxy; see
	// config.CORS. None lets browsers keep answers from all of them.
	Origins []string
	// Local says that the proxy is reached through a loopback address in plain HTTP:
	// then, as long as no keys are asked for, a request must name such an address as its
	// host, or one of Hosts. The name of a web page can be made to point here.
	Local bool
	Hosts []string
	// LogPrompts writes the bodies of requests into the log.
	LogPrompts bool

	// Degraded returns what is wrong though requests can be served, "" for nothing;
	// /ready tells it. nil is nothing.
	Degraded func() string

	Observer Observer // nil is nobody
	Log      *slog.Logger
}

// Observer is told what becomes of requests. Its methods are called on the path
// of requests, by many at once: they must be quick.
type Observer interface {
	// Finished is called once for every completion request.
	Finished(Report)
	// Chunk is called with the time between two events of a stream.
	Chunk(gap time.Duration)
}

// nobody observes nothing.
type nobody struct{}

func (nobody) Finished(Report)     {}
func (nobody) Chunk(time.Duration) {}

// Pool is what the proxy needs of a pool; *pool.Pool is the real one.
type Pool interface {
	Acquire(ctx context.Context, req pool.Request) (*pool.Lease, error)
	Any() (pool.Runner, error)
	Facts() pool.Facts
	Stats() pool.Stats
}

// Proxy is the HTTP handler. It is safe for concurrent use.
type Proxy struct {
	opts     Options
	echo     *echo.Echo
	draining atomic.Bool // new requests are refused
	closing  atomic.Bool // connections end with their next answer
	pollers  pollers
	rules    atomic.Pointer[rules]

	quarantine quarantine
	beside     chan struct{} // has room for the utilities that may run at once
	bounds     *bounds
	bodies     bodies
}

// New returns a proxy.
func New(opts Options) *Proxy {
	if opts.Observer == nil {
		opts.Observer = nobody{}
	}
	p := &Proxy{
		opts: opts, echo: echo.New(), bounds: newBounds(opts.Bounds), bodies: bodies{most: opts.Memory},
		beside: make(chan struct{}, maxBeside),
	}
	p.SetRules(opts.Rules)
	p.echo.HTTPErrorHandler = func(err error, c echo.Context) {} // observe does it
	p.echo.IPExtractor = echo.ExtractIPDirect()                  // X-Forwarded-For is anybody's to write
	p.echo.Use(p.observe, p.guard)
	if len(opts.Origins) > 0 {
		p.echo.Use(middleware.CORSWithConfig(middleware.CORSConfig{
			AllowOrigins: opts.Origins, AllowMethods: []string{http.MethodGet, http.MethodPost},
			ExposeHeaders: exposed, MaxAge: int(time.Hour / time.Second),
		}))
	}
	p.echo.GET("/v1/models", p.listModels)
	p.echo.GET("/v1/models/*", p.showModel)
	for _, e := range endpoints {
		p.echo.POST(e.path, p.complete(e))
	}
	for path := range embedderPaths {
		p.echo.POST(path, p.embed(path))
	}
	for _, path := range utilities {
		p.echo.POST(path, p.utility(path))
	}
	if opts.Adapters != nil {
		p.echo.POST("/v1/load_lora_adapter", p.loadAdapter)
		p.echo.POST("/v1/unload_lora_adapter", p.unloadAdapter)
	}
	p.echo.GET("/health", p.health)
	p.echo.GET("/ready", p.ready)
	return p
}

// exposed are the headers of answers that scripts of web pages may read.
var exposed = []string{
	"X-Request-Id", "Request-Id", "X-Adapter", "X-Adapter-Digest", "X-Adapter-State", "X-Worker", "X-Queue-Ms", "Retry-After", "X-Should-Retry",
	"X-Ratelimit-Limit-Requests", "X-Ratelimit-Remaining-Requests", "X-Ratelimit-Reset-Requests",
	"X-Ratelimit-Limit-Tokens", "X-Ratelimit-Remaining-Tokens", "X-Ratelimit-Reset-Tokens",
}

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.echo.ServeHTTP(w, r) }

// NewServer returns an HTTP server for a proxy, or for what stands in for it, whose
// timeouts slow clients cannot exhaust. Reading bodies and writing answers have
// deadlines of their own. When ctx ends with ErrStopped every request that is under way
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

// Drain makes the proxy refuse new requests, on connections that are open, too, and
// answers tell that their connection closes. Those under way go on.
func (p *Proxy) Drain() {
	p.draining.Store(true)
	p.closing.Store(true)
}

// Leave has answers tell that their connection closes: further requests are another
// process's. Those that come all the same are served.
func (p *Proxy) Leave() { p.closing.Store(true) }

// observe gives every request its id and its line in the log, and every error
// its envelope.
func (p *Proxy) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		rec := newRecord(c)
		c = rec
		defer func() { p.bodies.give(rec.held) }()
		c.Response().Header().Set("X-Request-Id", rec.id)
		p.announceClose(c)
		if isMessages(c.Request()) {
			c.Response().Header().Set("Request-Id", rec.id) // where Anthropic's SDKs look
		}
		p.extend(c) // the deadline of the connection's last answer may be over
		// For bodies that no handler reads, too: the server reads them to their end
		// before it answers.
		_ = http.NewResponseController(c.Response()).SetReadDeadline(rec.start.Add(p.opts.ReadTimeout))
		err := protect(next, c)
		status := c.Response().Status
		if err != nil {
			status = p.fail(c, asAPIError(err))
		}
		p.access(rec, status, err)
		if rec.completion {
			p.opts.Observer.Finished(rec.report(status, err))
		}
		var bug *panicError
		if errors.As(err, &bug) && c.Response().Committed || status == StatusClientClosed && !c.Response().Committed {
			panic(http.ErrAbortHandler) // or half an answer would look like a whole one, or none like an empty one
		}
		return nil
	}
}

// panicError is a handler's panic.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v\n%s", e.value, e.stack) }

// protect turns a panic of a handler into a *panicError.
func protect(next echo.HandlerFunc, c echo.Context) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{v, debug.Stack()}
		}
	}()
	return next(c)
}

// fail answers with the error, unless an answer has begun already or nobody is
// there to read it. It returns the status for the log.
func (p *Proxy) fail(c echo.Context, e *apiError) int {
	if c.Response().Committed || e.Status == StatusClientClosed {
		return e.Status
	}
	e.setRetryAfter(c.Response().Header())
	text := e.envelope()
	if isMessages(c.Request()) {
		text = anthropic.Error(e.Status, e.Message, recordOf(c).id)
	}
	if err := p.write(c, e.Status, text); err != nil {
		return StatusClientClosed
	}
	return e.Status
}

// health tells that the gateway is alive.
func (p *Proxy) health(c echo.Context) error {
	return p.writeJSON(c, map[string]string{"status": "ok"})
}

// ready tells whether requests can be served.
func (p *Proxy) ready(c echo.Context) error {
	err := p.readiness()
	p.pollers.note(c.RealIP()+" "+shorten(c.Request().UserAgent()), time.Now(), err == nil)
	if err != nil {
		return err
	}
	stats := p.opts.Pool.Stats()
	answer := map[string]any{"status": "ready", "workers": len(stats.Workers), "workers_up": up(stats)}
	if p.opts.Degraded != nil {
		if why := p.opts.Degraded(); why != "" {
			answer["status"], answer["reason"] = "degraded", why
		}
	}
	return p.writeJSON(c, answer)
}

// readiness returns why requests cannot be served, or nil.
func (p *Proxy) readiness() error {
	if p.draining.Load() {
		return stopping()
	}
	if up(p.opts.Pool.Stats()) > 0 {
		return nil
	}
	return notReady("No worker is ready.")
}

// up is how many workers are up.
func up(stats pool.Stats) (n int) {
	for _, w := range stats.Workers {
		if w.Up() {
			n++
		}
	}
	return n
}
