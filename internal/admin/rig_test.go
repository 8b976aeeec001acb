package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/lora"
)

// fakeCatalog answers every call with the same record or error and remembers
// what it was asked.
type fakeCatalog struct {
	records []lora.Record
	err     error
	calls   []string
	spec    lora.Spec // of the last Put or Upload
	body    string    // of the last Upload
	// before is what an Upload does before it reads, during what every change does
	// before it answers, with its error; nil is nothing.
	before func()
	during func(ctx context.Context) error
}

func (c *fakeCatalog) call(ctx context.Context, format string, args ...any) (lora.Record, error) {
	if c.during != nil {
		c.err = c.during(ctx)
	}
	c.calls = append(c.calls, fmt.Sprintf(format, args...))
	return c.records[0], c.err
}

func (c *fakeCatalog) List() []lora.Record { return c.records }

func (c *fakeCatalog) Get(name string) (lora.Record, bool) {
	for _, r := range c.records {
		if r.Name == name {
			return r, true
		}
	}
	return lora.Record{}, false
}

func (c *fakeCatalog) Put(ctx context.Context, spec lora.Spec, wait bool) (lora.Record, error) {
	c.spec = spec
	return c.call(ctx, "put %s %t", spec.Name, wait)
}

func (c *fakeCatalog) Upload(ctx context.Context, spec lora.Spec, r io.Reader, filename string) (lora.Record, error) {
	c.spec = spec
	if c.before != nil {
		c.before()
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return lora.Record{}, err
	}
	c.body = string(text)
	return c.call(ctx, "upload %s %s", spec.Name, filename)
}

func (c *fakeCatalog) Remove(name string) error {
	_, err := c.call(context.Background(), "remove %s", name)
	return err
}

func (c *fakeCatalog) Pin(name string, pin bool) (lora.Record, error) {
	return c.call(context.Background(), "pin %s %t", name, pin)
}

func (c *fakeCatalog) Rollback(name string) (lora.Record, error) {
	return c.call(context.Background(), "rollback %s", name)
}

// fakePool has two workers, of which worker 1 is down.
type fakePool struct {
	files   map[string]FileView
	drained map[int]bool
	err     error
	broken  bool // looking at it panics
}

func (p *fakePool) Files() map[string]FileView {
	p.look()
	return p.files
}

func (p *fakePool) look() {
	if p.broken {
		panic("a bug at /secret/path")
	}
}

func (p *fakePool) Workers() []WorkerView {
	p.look()
	return []WorkerView{{ID: 0, Drained: p.drained[0]}, {ID: 1, Drained: p.drained[1]}}
}
func (p *fakePool) Drain(id int) error  { p.drained[id] = true; return p.err }
func (p *fakePool) Resume(id int) error { p.drained[id] = false; return p.err }
func (p *fakePool) Restart(int) error   { return p.err }

const someDigest = "ab01"

func ready() lora.Record {
	v := &lora.Version{Number: 2, Digest: someDigest, Path: "/state/blobs/ab01.gguf", Bytes: 10, Rank: 8, Alpha: 16,
		Source: "https://user:secret@host/a.gguf?token=secret"}
	return lora.Record{
		Spec: lora.Spec{Name: "shop", Source: v.Source, Scale: 1}, Kind: lora.KindAdapter, Origin: lora.FromAPI,
		State: lora.Ready, Active: v, Versions: []*lora.Version{v},
	}
}

// rig is a handler over fakes whose answers are held to the description.
type rig struct {
	*fakeCatalog
	pool  *fakePool
	keys  *fakeKeys
	usage *fakeUsage
	token string
	max   int64
	log   *slog.Logger // nil discards
	bare  bool         // there is neither a catalog nor a pool
}

func newCatalog() *rig {
	return &rig{
		fakeCatalog: &fakeCatalog{records: []lora.Record{ready()}},
		pool:        &fakePool{files: map[string]FileView{}, drained: map[int]bool{}},
		keys:        &fakeKeys{}, usage: &fakeUsage{},
	}
}

func (r *rig) options() Options {
	log := r.log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	opts := Options{
		Listen: "127.0.0.1:8081", Metrics: testMetrics(), Log: log,
		Catalog: r.fakeCatalog, Pool: r.pool, Keys: r.keys, Usage: r.usage, Token: func() string { return r.token },
		MaxUpload: r.max,
	}
	if r.bare {
		opts.Catalog, opts.Pool, opts.Keys, opts.Usage = nil, nil, nil, nil
	}
	return opts
}

// serve answers one request. Headers come in pairs; Host is one.
func (r *rig) serve(t *testing.T, method, path, contentType, body string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	rec, _ := r.operate(t, request(method, path, contentType, body, header...), body)
	return rec
}

// operate also tells which operation of the description it was, if any.
func (r *rig) operate(t *testing.T, req *http.Request, body string) (*httptest.ResponseRecorder, *openapi3.Operation) {
	t.Helper()
	rec := httptest.NewRecorder()
	Handler(r.options()).ServeHTTP(rec, req)
	return rec, checkDescribed(t, req, body, rec)
}

func request(method, path, contentType, body string, header ...string) *http.Request {
	req := httptest.NewRequest(method, "http://127.0.0.1:8081"+path, strings.NewReader(body))
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for i := 0; i < len(header); i += 2 {
		if req.Header.Set(header[i], header[i+1]); header[i] == "Host" {
			req.Host = header[i+1]
		}
	}
	return req
}

const isJSON = "application/json"

// detail reads an error.
func detail(t *testing.T, rec *httptest.ResponseRecorder) httpkit.ErrorDetail {
	t.Helper()
	var answer httpkit.ErrorAnswer
	if err := json.Unmarshal(rec.Body.Bytes(), &answer); err != nil || answer.Error.Message == "" ||
		answer.Error.Code == nil {
		t.Fatalf("%d %s is no error of ours: %v", rec.Code, rec.Body, err)
	}
	return answer.Error
}
