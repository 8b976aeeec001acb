// Package admin is the gateway's second listener: what operators and their
// tools look at and change, apart from what clients use. docs/openapi.yaml
// describes it.
//
// Without a token it has no access control: whoever listens on more than
// loopback must set one.
package admin

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/loragate/loragate/internal/adminapi"
	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/lora"
	"github.com/loragate/loragate/internal/metrics"
)

// Options says what the listener shows and changes.
type Options struct {
	Listen  string // the address listened on, host:port, as it is configured
	Metrics *metrics.Metrics
	Log     *slog.Logger

	// Catalog is behind the routes of adapters. Without it, or without Pool, they
	// answer 501.
	Catalog Catalog
	// Pool is behind the routes of workers. Without it they answer 501, and no
	// adapter is known to be loaded anywhere.
	Pool Pool
	// Keys is behind the routes of API keys, and Usage behind that of usage. Without
	// them they answer 501.
	Keys  Keys
	Usage Usage
	// Token returns the bearer token that everything but /health asks for; "" asks for
	// none, as does nil. TokenFile, if not nil, returns the file that the command line
	// reads it from, "" if there is none; /health tells it.
	Token     func() string
	TokenFile func() string
	// MaxUpload is the largest upload in bytes; 0 is no bound.
	MaxUpload int64
}

// Catalog is what the API needs of a catalog.Catalog and of an ingest.Ingest; the rules
// are there. Errors are *lora.Error. All methods may wait for the disk.
type Catalog interface {
	List() []lora.Record
	Get(name string) (lora.Record, bool)
	Put(ctx context.Context, spec lora.Spec, wait bool) (lora.Record, error)
	Upload(ctx context.Context, spec lora.Spec, r io.Reader, filename string) (lora.Record, error)
	Remove(name string) error
	Pin(name string, pin bool) (lora.Record, error)
	Rollback(name string) (lora.Record, error)
}

// Pool is what the API needs of the workers. No method waits for a request to
// end: what was asked for shows in Workers later.
type Pool interface {
	Files() map[string]FileView // by path, for those that a worker has or should have
	Workers() []WorkerView      // by number
	// Drain keeps new requests from a worker until Resume. Restart replaces its
	// process. Errors that are ErrConflict are shown, others are only logged.
	Drain(id int) error
	Resume(id int) error
	Restart(id int) error
}

// FileView is where an adapter's file is at one moment.
type FileView struct {
	LoadedOn  []int     // the workers that have it in memory
	AppliedOn []int     // those where it is in force, alone or with others
	LastUsed  time.Time // zero: not since the start
	Wanted    bool      // some worker is to load it
}

// WorkerView is what only the pool knows of a worker.
type WorkerView struct {
	ID      int
	Drained bool // it takes no requests because an operator said so
}

const (
	writeTimeout = 30 * time.Second // for an answer, once it is there
	readTimeout  = 10 * time.Second // for a request that is not an upload
	uploadPause  = 30 * time.Second // without a byte ends an upload
)

// New returns a server for a Handler, or for what stands in for it; the caller listens
// and serves. Its timeouts bound neither an upload, of which each pause is, nor what a request
// waits for once its body has been read.
func New(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// Handler returns the routes alone.
//
// On a loopback address it serves only requests that name such an address as
// their Host: a web page whose name was made to point at 127.0.0.1 would
// otherwise read everything here through its visitor's browser. For the same
// reason it takes no changes from pages of other origins.
func Handler(opts Options) http.Handler {
	a := &api{opts: opts}
	e := echo.New()
	e.HTTPErrorHandler = a.fail
	e.Use(a.logged, guard(httpkit.Host(opts.Listen)), authenticate(opts.Token), sameOrigin, routed)
	for _, rt := range a.routes() {
		e.Add(rt.method, rt.path, handle(rt))
		if rt.method == http.MethodGet {
			e.HEAD(rt.path, handle(rt))
		}
	}
	return e
}

// api serves the routes. It has no state of its own.
type api struct{ opts Options }

// route is one operation; docs/openapi.yaml has all of them.
type route struct {
	method, path string
	serve        echo.HandlerFunc
	missing      bool // what it needs is not there
}

func (a *api) routes() []route {
	noCatalog, noPool := a.opts.Catalog == nil, a.opts.Pool == nil
	return []route{
		{method: "GET", path: "/health", serve: a.health},
		{method: "GET", path: "/metrics", serve: a.metrics},
		{method: "GET", path: adminapi.StatePath, serve: a.state},

		{method: "GET", path: adminapi.AdaptersPath, serve: a.listAdapters, missing: noCatalog},
		{method: "GET", path: adminapi.AdaptersPath + "/:name", serve: a.getAdapter, missing: noCatalog},
		{method: "PUT", path: adminapi.AdaptersPath + "/:name", serve: a.putAdapter, missing: noCatalog},
		{method: "PUT", path: adminapi.AdaptersPath + "/:name/file", serve: a.uploadAdapter, missing: noCatalog},
		{method: "DELETE", path: adminapi.AdaptersPath + "/:name", serve: a.removeAdapter, missing: noCatalog},
		{method: "POST", path: adminapi.AdaptersPath + "/:name/pin", serve: a.pinAdapter, missing: noCatalog},
		{method: "POST", path: adminapi.AdaptersPath + "/:name/rollback", serve: a.rollbackAdapter, missing: noCatalog},

		{method: "GET", path: adminapi.WorkersPath, serve: a.listWorkers, missing: noPool},
		{method: "POST", path: adminapi.WorkersPath + "/:id/drain", serve: a.change(Pool.Drain), missing: noPool},
		{method: "POST", path: adminapi.WorkersPath + "/:id/resume", serve: a.change(Pool.Resume), missing: noPool},
		{method: "POST", path: adminapi.WorkersPath + "/:id/restart", serve: a.change(Pool.Restart), missing: noPool},

		{method: "GET", path: adminapi.KeysPath, serve: a.listKeys, missing: a.opts.Keys == nil},
		{method: "POST", path: adminapi.KeysPath, serve: a.createKey, missing: a.opts.Keys == nil},
		{method: "DELETE", path: adminapi.KeysPath + "/:id", serve: a.revokeKey, missing: a.opts.Keys == nil},
		{method: "POST", path: adminapi.KeysPath + "/:id/rotate", serve: a.rotateKey, missing: a.opts.Keys == nil},
		{method: "GET", path: adminapi.UsagePath, serve: a.showUsage, missing: a.opts.Usage == nil},
	}
}

// handle turns a panic of a route into an error.
func handle(rt route) echo.HandlerFunc {
	if rt.missing {
		return func(echo.Context) error {
			return &httpkit.Error{
				Status: http.StatusNotImplemented, Type: httpkit.TypeServer, Code: "not_implemented",
				Message: "This gateway does not offer that.",
			}
		}
	}
	return httpkit.Protect(rt.serve)
}

// param returns a part of the path as it was meant: a "/" in it is sent as %2F.
func param(c echo.Context, name string) string {
	value := c.Param(name)
	if c.Request().URL.RawPath == "" { // which echo routes by where it is
		return value
	}
	if plain, err := url.PathUnescape(value); err == nil {
		return plain
	}
	return value
}

func (a *api) health(c echo.Context) error {
	answer := adminapi.Health{Status: "ok"}
	if a.opts.TokenFile != nil {
		answer.TokenFile = a.opts.TokenFile()
	}
	return writeJSON(c, http.StatusOK, answer)
}

func (a *api) metrics(c echo.Context) error {
	a.opts.Metrics.Handler().ServeHTTP(c.Response(), c.Request())
	return nil
}

func (a *api) state(c echo.Context) error {
	s := stateOf(a.opts.Metrics.State())
	a.markDrained(s.Workers)
	return writeJSON(c, http.StatusOK, s)
}

// writeJSON answers.
func writeJSON(c echo.Context, status int, v any) error {
	c.Response().Header().Set("Content-Type", "application/json")
	begin(c, status)
	_ = json.NewEncoder(c.Response()).Encode(v) // fails only when nobody reads any more
	return nil
}

// begin begins an answer, which has writeTimeout from now on, however long the
// request took.
func begin(c echo.Context, status int) {
	_ = http.NewResponseController(c.Response()).SetWriteDeadline(time.Now().Add(writeTimeout)) // not every writer has one
	c.Response().WriteHeader(status)
}
