package proxy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/loragate/loragate/internal/catalog"
	"github.com/loragate/loragate/internal/catalog/ingest"
	"github.com/loragate/loragate/internal/fakeworker"
	"github.com/loragate/loragate/internal/lora"
	"github.com/loragate/loragate/internal/pool"
	"github.com/loragate/loragate/internal/proxy"
	"github.com/loragate/loragate/internal/proxy/bounds"
	"github.com/loragate/loragate/internal/state"
	"github.com/loragate/loragate/internal/worker"
)

func TestMain(m *testing.M) {
	fakeworker.MaybeMain()
	goleak.VerifyTestMain(m)
}

// stack is a proxy over a pool of fake workers, on a real listener.
type stack struct {
	t     *testing.T
	url   string
	proxy *proxy.Proxy
	pool  *pool.Pool
	log   *logBuffer
}

type settings struct {
	workers, slots, queue int
	maxWait               time.Duration
	body                  int64
	readTimeout           time.Duration
	writeTimeout          time.Duration
	generation            time.Duration
	keepAlive             time.Duration
	args                  []string
	origins, hosts        []string
	local                 bool
	memory                int64
	longest               int
	logPrompts            bool
	vllm                  bool
	adapters              proxy.Adapters // behind vLLM's endpoints, in place of the catalog
	adminToken            string
}

func start(t *testing.T, change func(*settings)) *stack {
	t.Helper()
	s := settings{workers: 1, slots: 2, queue: 100, maxWait: time.Minute, body: 1 << 20, readTimeout: time.Minute,
		writeTimeout: time.Minute}
	if change != nil {
		change(&s)
	}
	st := &stack{t: t, log: &logBuffer{}}
	log := slog.New(slog.NewJSONHandler(st.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	models := testCatalog(t)
	st.pool = pool.New(poolOptions(t, s, log), stockOf(models.Catalog))
	t.Cleanup(st.pool.Close)
	if err := st.pool.Started(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.vllm {
		s.adapters = models
	}
	st.proxy = proxy.New(proxy.Options{
		Bounds:   bounds.Limits{Context: 4096, Grammar: 64 << 10, Fields: 64 << 10},
		Adapters: s.adapters, AdminToken: func() string { return s.adminToken },
		Catalog: models.Catalog, Pool: st.pool, Alias: "base", Origins: s.origins, Local: s.local, Hosts: s.hosts,
		LogPrompts: s.logPrompts,
		MaxBody:    s.body, Memory: s.memory, Vocabulary: bounds.Vocabulary{Longest: s.longest}, ReadTimeout: s.readTimeout,
		WriteTimeout: s.writeTimeout, Generation: s.generation, KeepAlive: s.keepAlive, Log: log,
	})
	server := httptest.NewUnstartedServer(nil)
	server.Config = proxy.NewServer(context.Background(), st.proxy, log)
	server.Start()
	t.Cleanup(server.Close)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	st.url = server.URL
	return st
}

func testCatalog(t *testing.T) adapters {
	t.Helper()
	dir := t.TempDir()
	file := func(name string) string {
		path := filepath.Join(dir, name+".gguf")
		if err := os.WriteFile(path, []byte("GGUF "+name), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	db, err := state.Open(filepath.Join(dir, "state"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	base := file("base")
	models, err := catalog.New(catalog.Options{BaseName: "base", BasePath: base, Store: db})
	if err != nil {
		t.Fatal(err)
	}
	in, err := ingest.Open(t.Context(), ingest.Options{
		Catalog: models, BasePath: base, Blobs: db.Blobs(), Sources: asTheyAre{},
		Entries: []lora.Spec{
			{Name: "coding", Source: file("coding"), Settings: lora.Settings{Aliases: []string{"gpt-4o-mini"},
				Description: "Writes <code>."}},
			{Name: "team/legal", Source: file("legal"), Scale: 0.5},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(in.Close)
	return adapters{models, in}
}

// adapters is a catalog, and what is brought into it.
type adapters struct {
	*catalog.Catalog
	*ingest.Ingest
}

// asTheyAre takes every file for an adapter.
type asTheyAre struct{ ingest.Sources }

func (asTheyAre) Fetch(_ context.Context, source, _ string, _ func(done, total int64)) (string, func(), error) {
	return source, func() {}, nil
}

func (asTheyAre) Check(context.Context, string) (lora.Version, error) {
	return lora.Version{Rank: 8}, nil
}

func stockOf(models *catalog.Catalog) (stock []pool.Stock) {
	for _, s := range models.Stock() {
		stock = append(stock, pool.Stock{File: pool.File(s.Path), Bytes: s.Bytes})
	}
	return stock
}

func poolOptions(t *testing.T, s settings, log *slog.Logger) pool.Options {
	command := fakeworker.Link(t)
	dir, err := os.MkdirTemp("", "lg-") // t.TempDir's paths are too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return pool.Options{
		Count: s.workers, Slots: s.slots, Queue: s.queue, MaxWait: s.maxWait,
		Start: func(ctx context.Context, w pool.Start) (pool.Runner, error) {
			var adapters []string
			for _, file := range w.Files {
				adapters = append(adapters, string(file))
			}
			return worker.Start(ctx, worker.Options{
				Name: fmt.Sprint(w.ID), Command: command, Args: s.args, Model: "unused", Alias: "base",
				Adapters: adapters, Slots: s.slots, Context: 64, Dir: dir,
				StartTimeout: time.Minute, StopTimeout: time.Minute, Log: log,
			})
		},
		CallTimeout: time.Minute, Log: log,
	}
}

// logBuffer collects log lines and lets tests wait for one.
type logBuffer struct {
	mu    sync.Mutex
	lines []map[string]any
	wake  chan struct{}
}

func (b *logBuffer) Write(p []byte) (int, error) {
	var line map[string]any
	if err := json.Unmarshal(p, &line); err != nil {
		return 0, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, line)
	if b.wake != nil {
		close(b.wake)
		b.wake = nil
	}
	return len(p), nil
}

// wait blocks until a line fits and returns it.
func (b *logBuffer) wait(t *testing.T, fits func(line map[string]any) bool) map[string]any {
	t.Helper()
	limit := time.After(time.Minute)
	for from := 0; ; {
		b.mu.Lock()
		lines := b.lines[from:]
		from = len(b.lines)
		if b.wake == nil {
			b.wake = make(chan struct{})
		}
		wake := b.wake
		b.mu.Unlock()
		for _, line := range lines {
			if fits(line) {
				return line
			}
		}
		select {
		case <-wake:
		case <-limit:
			t.Fatal("no such line in the log after a minute")
		}
	}
}

// access returns the access line of a request.
func (s *stack) access(id string) map[string]any {
	s.t.Helper()
	return s.log.wait(s.t, func(l map[string]any) bool { return l["msg"] == "request" && l["request_id"] == id })
}

// post sends a body and returns the whole answer.
func (s *stack) post(path, body string) (*http.Response, string) {
	s.t.Helper()
	resp, err := http.Post(s.url+path, "application/json", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	return resp, readAll(s.t, resp)
}

func readAll(t *testing.T, resp *http.Response) string {
	t.Helper()
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func chat(model, content, more string) string {
	return fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":%q}]%s}`, model, content, more)
}

const chatPath = "/v1/chat/completions"

// open starts a chat request and returns the answer as it comes.
func (s *stack) open(ctx context.Context, body string) *http.Response {
	s.t.Helper()
	req, err := http.NewRequestWithContext(ctx, "POST", s.url+chatPath, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp
}

// eventually blocks until the pool looks as it should.
func (s *stack) eventually(fits func(pool.Stats) bool) {
	s.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(time.Minute)
	for {
		st := s.pool.Stats()
		if fits(st) {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			s.t.Fatalf("after a minute the pool is %+v", st)
		}
	}
}
