// Package proxy is the clients' API: OpenAI's, and those beside it, over a catalog of models and
// a pool of workers.
package proxy

import (
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"github.com/loragate/loragate/internal/auth"
	"github.com/loragate/loragate/internal/catalog"
	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/proxy/anthropic"
	"github.com/loragate/loragate/internal/proxy/bounds"
	"github.com/loragate/loragate/internal/proxy/failure"
	"github.com/loragate/loragate/internal/proxy/relay"
)

// Options says what a proxy serves. All without a word on it are required.
type Options struct {
	Catalog *catalog.Catalog
	Pool    Pool
	Alias   string // what workers call the model

	MaxBody      int64             // bytes of a request's body
	MaxText      int64             // the same for those that only cut texts or join them; 0 is maxUtility
	Memory       int64             // that all bodies may take at once, in bytes; 0 is no bound
	Vocabulary   bounds.Vocabulary // the base's
	ReadTimeout  time.Duration     // for the whole of a request's body
	WriteTimeout time.Duration     // for each write to a client
	Generation   time.Duration     // for the whole of an answer, once it runs; 0 is no bound
	KeepAlive    time.Duration     // without anything sent, after which a stream has a sign of life; 0 is never

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
	// MaxTokens bounds answers to requests that name no bound, see SetMaxTokens.
	MaxTokens int

	// Embedders serve /v1/embeddings and /v1/rerank, by name; none answers 501.
	Embedders map[string]*Embedder

	// Bounds are of what requests hold.
	Bounds bounds.Limits

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
	relay.Observer
}

// nobody observes nothing.
type nobody struct{}

func (nobody) Finished(Report)     {}
func (nobody) Chunk(time.Duration) {}

// Proxy is the HTTP handler. It is safe for concurrent use.
type Proxy struct {
	echo     *echo.Echo
	observer Observer
	log      *slog.Logger

	gate    gate
	answers answers
	names   names
	bodies  bodies
	probes  probes
	most    atomic.Int64 // tokens of answers to requests that name no bound
}

// New returns a proxy.
func New(opts Options) *Proxy {
	if opts.Observer == nil {
		opts.Observer = nobody{}
	}
	p := &Proxy{
		echo: echo.New(), observer: opts.Observer, log: opts.Log,
		answers: answers{timeout: opts.WriteTimeout},
		names:   names{catalog: opts.Catalog, alias: opts.Alias, fallback: opts.DefaultModel},
		bodies: bodies{
			memory: bounds.Memory{Most: opts.Memory}, decoding: make(chan struct{}, maxDecoding),
			timeout: opts.ReadTimeout, logged: opts.LogPrompts, log: opts.Log,
		},
	}
	p.gate.auth, p.gate.bodies = opts.Auth, &p.bodies
	p.probes = probes{gate: &p.gate, answers: &p.answers, stats: opts.Pool.Stats, degraded: opts.Degraded}
	p.SetRules(opts.Rules)
	p.SetMaxTokens(opts.MaxTokens)
	p.echo.HTTPErrorHandler = func(err error, c echo.Context) {} // observe does it
	p.echo.IPExtractor = echo.ExtractIPDirect()                  // X-Forwarded-For is anybody's to write
	origins := withoutPort(opts.Origins)
	guard := guard{gate: &p.gate, local: opts.Local, hosts: opts.Hosts, origins: origins}
	p.echo.Pre(normalize)
	p.echo.Use(p.observe, guard.around)
	if len(origins) > 0 {
		p.echo.Use(middleware.CORSWithConfig(middleware.CORSConfig{
			AllowOrigins: origins, AllowMethods: []string{http.MethodGet, http.MethodPost},
			ExposeHeaders: exposed, MaxAge: int(time.Hour / time.Second),
		}))
	}
	p.route(opts)
	return p
}

// route ties paths to what serves them.
func (p *Proxy) route(opts Options) {
	checker := bounds.New(opts.Bounds)
	completions := completions{
		gate: &p.gate, limit: opts.MaxBody,
		decoder: &decoder{
			names: &p.names, checker: checker, schemas: bounds.NewSchemas(opts.Bounds.Grammar), facts: opts.Pool.Facts,
			vocabulary: opts.Vocabulary, most: &p.most,
		},
		echo: echoes{opts.Pool.Any},
		relay: relay.New(relay.Options{
			Pool: opts.Pool, Alias: opts.Alias, Generation: opts.Generation, KeepAlive: opts.KeepAlive,
			Observer: opts.Observer, Log: opts.Log,
		}),
	}
	for _, e := range endpoints {
		p.echo.POST(e.path, completions.serve(e))
	}
	embedders := embedders{all: opts.Embedders, gate: &p.gate, names: &p.names, checker: checker, limit: opts.MaxBody}
	for path := range embedderPaths {
		p.echo.POST(path, embedders.serve(path))
	}
	utilities := utilities{
		gate: &p.gate, names: &p.names, checker: checker, worker: opts.Pool.Any,
		vocabulary: opts.Vocabulary, maxBody: opts.MaxBody, maxText: opts.MaxText,
		facts: opts.Pool.Facts, beside: make(chan struct{}, maxBeside),
	}
	for _, path := range utilityPaths {
		p.echo.POST(path, utilities.serve(path))
	}
	models := models{gate: &p.gate, names: &p.names, answers: &p.answers, facts: opts.Pool.Facts, embedders: &embedders}
	p.get("/v1/models", models.list)
	p.get("/v1/models/*", models.show)
	if opts.Adapters != nil {
		adapters := adapters{
			changed: opts.Adapters, token: opts.AdminToken, gate: &p.gate, bodies: &p.bodies, answers: &p.answers,
			limit: opts.MaxBody,
		}
		p.echo.POST("/v1/load_lora_adapter", adapters.load)
		p.echo.POST("/v1/unload_lora_adapter", adapters.unload)
	}
	p.get("/props", (&props{gate: &p.gate, names: &p.names, answers: &p.answers, pool: opts.Pool,
		embedders: opts.Embedders}).serve)
	p.get("/health", p.probes.health)
	p.get("/ready", p.probes.ready)
	absentAt(p.echo)
}

// get has GET served, and HEAD, whose answer the server sends without its body.
func (p *Proxy) get(path string, serve echo.HandlerFunc) {
	p.echo.GET(path, serve)
	p.echo.HEAD(path, serve)
}

// exposed are the headers of answers that scripts of web pages may read.
var exposed = slices.Concat(provenance, []string{
	"X-Request-Id", "Request-Id", "Retry-After", "X-Should-Retry",
	"X-Ratelimit-Limit-Requests", "X-Ratelimit-Remaining-Requests", "X-Ratelimit-Reset-Requests",
	"X-Ratelimit-Limit-Tokens", "X-Ratelimit-Remaining-Tokens", "X-Ratelimit-Reset-Tokens",
})

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.echo.ServeHTTP(w, r) }

// SetRules replaces the rules; requests that have been read keep theirs.
func (p *Proxy) SetRules(list []*Rule) { p.names.setRules(list) }

// SetMaxTokens bounds answers to requests that name no bound, under none of its names; 0 leaves
// them unbound. Requests that have been read keep theirs.
func (p *Proxy) SetMaxTokens(most int) { p.most.Store(int64(most)) }

// Drain makes the proxy refuse new requests, on connections that are open, too, and
// answers tell that their connection closes. Those under way go on.
func (p *Proxy) Drain() {
	p.gate.draining.Store(true)
	p.answers.closing.Store(true)
}

// Leave has answers tell that their connection closes: further requests are another
// process's. Those that come all the same are served.
func (p *Proxy) Leave() { p.answers.closing.Store(true) }

// Awaited reports whether somebody who polls /ready was last told that it is, within a
// minute, and so goes on sending requests.
func (p *Proxy) Awaited() bool { return p.probes.pollers.waiting(time.Now()) }

// observe gives every request its id and its line in the log, and every error
// its envelope.
func (p *Proxy) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		rec := newRecord(c, &p.answers)
		c = rec
		defer func() { p.bodies.memory.Give(rec.held) }()
		c.Response().Header().Set("X-Request-Id", rec.id)
		p.answers.announceClose(c)
		if isMessages(c.Request()) {
			c.Response().Header().Set("Request-Id", rec.id) // where Anthropic's SDKs look
		}
		p.answers.extend(c) // the deadline of the connection's last answer may be over
		// For bodies that no handler reads, too: the server reads them to their end
		// before it answers.
		_ = http.NewResponseController(c.Response()).SetReadDeadline(rec.start.Add(p.bodies.timeout))
		err := httpkit.Call(next, c)
		status := c.Response().Status
		if err != nil {
			status = p.fail(c, forClient(err))
		}
		rec.access(p.log.Handler(), status, err)
		if rec.completion {
			p.observer.Finished(rec.report(status, err))
		}
		var bug *httpkit.PanicError
		if errors.As(err, &bug) && c.Response().Committed ||
			status == failure.StatusClientClosed && !c.Response().Committed {
			panic(http.ErrAbortHandler) // or half an answer would look like a whole one, or none like an empty one
		}
		return nil
	}
}

// lingering is how long who was refused may go on sending his body, to get the answer, and unread how
// many bytes.
const (
	lingering = 2 * time.Second
	unread    = 16 << 20
)

// fail answers with the error, unless an answer has begun already or nobody is
// there to read it. It returns the status for the log.
func (p *Proxy) fail(c echo.Context, e *httpkit.Error) int {
	if c.Response().Committed || e.Status == failure.StatusClientClosed {
		return e.Status
	}
	setRetryAfter(c.Response().Header(), e)
	text := e.JSON()
	if isMessages(c.Request()) {
		text = anthropic.Error(e.Status, e.Message, recordOf(c).id)
	}
	if err := p.answers.write(c, e.Status, text); err != nil {
		return failure.StatusClientClosed
	}
	if !recordOf(c).read {
		httpkit.Linger(c.Response(), c.Request(), unread, lingering)
	}
	return e.Status
}
