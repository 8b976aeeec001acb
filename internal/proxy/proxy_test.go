package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
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
	"github.com/loragate/loragate/internal/fakeworker"
	"github.com/loragate/loragate/internal/pool"
	"github.com/loragate/loragate/internal/proxy"
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
	args                  []string
}

func start(t *testing.T, change func(*settings)) *stack {
	t.Helper()
	s := settings{workers: 1, slots: 2, queue: 100, maxWait: time.Minute, body: 1 << 20, readTimeout: time.Minute}
	if change != nil {
		change(&s)
	}
	st := &stack{t: t, log: &logBuffer{}}
	log := slog.New(slog.NewJSONHandler(st.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	models := testCatalog(t)
	st.pool = pool.New(poolOptions(t, s, models, log))
	t.Cleanup(st.pool.Close)
	if err := st.pool.Started(t.Context()); err != nil {
		t.Fatal(err)
	}
	st.proxy = proxy.New(proxy.Options{
		Catalog: models, Pool: st.pool, Alias: "base",
		MaxBody: s.body, ReadTimeout: s.readTimeout, WriteTimeout: time.Minute, Log: log,
	})
	server := httptest.NewUnstartedServer(nil)
	server.Config = st.proxy.Server()
	server.Start()
	t.Cleanup(server.Close)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	st.url = server.URL
	return st
}

func testCatalog(t *testing.T) *catalog.Catalog {
	t.Helper()
	dir := t.TempDir()
	file := func(name string) string {
		path := filepath.Join(dir, name+".gguf")
		if err := os.WriteFile(path, []byte("GGUF "+name), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	models, err := catalog.Open(catalog.Options{
		BaseName: "base", BasePath: file("base"),
		Entries: []catalog.Entry{
			{Name: "coding", Path: file("coding"), Scale: 1, Aliases: []string{"gpt-4o-mini"}},
			{Name: "team/legal", Path: file("legal"), Scale: 0.5},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return models
}

func poolOptions(t *testing.T, s settings, models *catalog.Catalog, log *slog.Logger) pool.Options {
	command := fakeworker.Link(t)
	dir, err := os.MkdirTemp("", "lg-") // t.TempDir's paths are too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	var adapters []string
	for _, a := range models.Adapters() {
		adapters = append(adapters, a.Path)
	}
	return pool.Options{
		Count: s.workers, Slots: s.slots, Queue: s.queue, MaxWait: s.maxWait,
		Start: func(ctx context.Context, id int) (pool.Runner, error) {
			return worker.Start(ctx, worker.Options{
				Name: fmt.Sprint(id), Command: command, Args: s.args, Model: "unused", Alias: "base",
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

func TestErrors(t *testing.T) {
	s := start(t, func(s *settings) { s.body = 2000 })
	tests := []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{"not JSON", "POST", chatPath, `{"model":`, 400, `{"error":{"message":"The request body is not valid JSON: unexpected end of JSON input at byte 9.","type":"invalid_request_error","param":null,"code":null}}`},
		{"not an object", "POST", chatPath, `[]`, 400, `{"error":{"message":"The request body must be a JSON object.","type":"invalid_request_error","param":null,"code":null}}`},
		{"no body", "POST", chatPath, ``, 400, `{"error":{"message":"The request body is not valid JSON: unexpected end of JSON input at byte 0.","type":"invalid_request_error","param":null,"code":null}}`},
		{"no model", "POST", chatPath, `{"messages":[]}`, 400, `{"error":{"message":"The field \"model\" is missing: name a model, as GET /v1/models lists them.","type":"invalid_request_error","param":"model","code":null}}`},
		{"model is null", "POST", chatPath, `{"model":null}`, 400, `{"error":{"message":"The field \"model\" is missing: name a model, as GET /v1/models lists them.","type":"invalid_request_error","param":"model","code":null}}`},
		{"model is a number", "POST", chatPath, `{"model":1}`, 400, `{"error":{"message":"The field \"model\" must be a string.","type":"invalid_request_error","param":"model","code":null}}`},
		{"unknown model", "POST", chatPath, chat("nope", "x", ""), 404, `{"error":{"message":"The model \"nope\" does not exist.","type":"invalid_request_error","param":"model","code":"model_not_found"}}`},
		{"the last duplicate counts", "POST", chatPath, `{"model":"coding","model":"nope"}`, 404, `{"error":{"message":"The model \"nope\" does not exist.","type":"invalid_request_error","param":"model","code":"model_not_found"}}`},
		{"stream is a word", "POST", chatPath, `{"model":"base","stream":"yes"}`, 400, `{"error":{"message":"The field \"stream\" must be true or false.","type":"invalid_request_error","param":"stream","code":null}}`},
		{"n is 0", "POST", chatPath, `{"model":"base","n":0}`, 400, `{"error":{"message":"The field \"n\" must be a whole number of at least 1.","type":"invalid_request_error","param":"n","code":null}}`},
		{"too large", "POST", chatPath, chat("base", strings.Repeat("x", 3000), ""), 413, `{"error":{"message":"The request body is larger than the limit of 2000 bytes.","type":"invalid_request_error","param":null,"code":"request_too_large"}}`},
		{"the worker's own", "POST", chatPath, chat("base", "refuse=400", ""), 400, `{"error":{"message":"refused as told","type":"invalid_request_error","param":null,"code":"context_length_exceeded"}}`},
		{"the worker's own, for a stream", "POST", chatPath, chat("base", "refuse=400", `,"stream":true`), 400, `{"error":{"message":"refused as told","type":"invalid_request_error","param":null,"code":"context_length_exceeded"}}`},
		{"no such endpoint", "POST", "/v1/nope", `{}`, 404, `{"error":{"message":"Not Found: there is no such endpoint.","type":"invalid_request_error","param":null,"code":null}}`},
		{"no such method", "GET", chatPath, ``, 405, `{"error":{"message":"Method Not Allowed: there is no such endpoint.","type":"invalid_request_error","param":null,"code":null}}`},
		{"no such model to show", "GET", "/v1/models/a/b", ``, 404, `{"error":{"message":"The model \"a/b\" does not exist.","type":"invalid_request_error","param":"model","code":"model_not_found"}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), tt.method, s.url+tt.path, strings.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body := readAll(t, resp)
			if resp.StatusCode != tt.status || body != tt.want {
				t.Errorf("status %d, want %d\ngot  %s\nwant %s", resp.StatusCode, tt.status, body, tt.want)
			}
			if resp.Header.Get("X-Request-Id") == "" {
				t.Error("no X-Request-Id")
			}
		})
	}
}

func TestTooLargeWithoutALength(t *testing.T) {
	s := start(t, func(s *settings) { s.body = 2000 })
	body := io.MultiReader(strings.NewReader(chat("base", strings.Repeat("x", 3000), ""))) // chunked
	resp, err := http.Post(s.url+chatPath, "application/json", body)
	if err != nil {
		t.Fatal(err)
	}
	if readAll(t, resp); resp.StatusCode != 413 {
		t.Errorf("status %d, want 413", resp.StatusCode)
	}
}

// seen returns the body that the worker got for a chat request.
func (s *stack) seen(body string) map[string]json.RawMessage {
	s.t.Helper()
	resp, text := s.post(chatPath, body)
	if resp.StatusCode != http.StatusOK {
		s.t.Fatalf("status %d: %s", resp.StatusCode, text)
	}
	var answer struct {
		Choices []struct{ Message struct{ Content string } }
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		s.t.Fatal(err)
	}
	var got map[string]json.RawMessage
	if err := json.Unmarshal([]byte(answer.Choices[0].Message.Content), &got); err != nil {
		s.t.Fatal(err)
	}
	return got
}

func TestWorkerGetsTheLeasesAdapterAndSlot(t *testing.T) {
	s := start(t, nil)
	tests := []struct {
		name, body, lora string
		slot             bool
	}{
		{"adapter", chat("coding", "echo", ""), `[{"id":0,"scale":1}]`, true},
		{"alias", chat("gpt-4o-mini", "echo", ""), `[{"id":0,"scale":1}]`, true},
		{"scale", chat("team/legal", "echo", ""), `[{"id":1,"scale":0.5}]`, true},
		{"base", chat("base", "echo", ""), `[{"id":0,"scale":0}]`, true},
		{"the client's own are overruled", chat("base", "echo", `,"lora":[{"id":1,"scale":9}],"id_slot":77,"lor\u0061":[]`), `[{"id":0,"scale":0}]`, true},
		{"several choices pick their slots", chat("coding", "echo", `,"n":2,"id_slot":1`), `[{"id":0,"scale":1}]`, false},
		{"under llama-server's name for n, too", chat("coding", "echo", `,"n_cmpl":2`), `[{"id":0,"scale":1}]`, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := s.seen(tt.body)
			if string(got["lora"]) != tt.lora {
				t.Errorf("lora %s, want %s", got["lora"], tt.lora)
			}
			slot, ok := got["id_slot"]
			if ok != tt.slot || ok && string(slot) != "0" && string(slot) != "1" {
				t.Errorf("id_slot %s, %v", slot, ok)
			}
			if string(got["model"]) != `"base"` {
				t.Errorf("model %s", got["model"])
			}
		})
	}
}

func TestTransparent(t *testing.T) {
	s := start(t, nil)
	got := s.seen(chat("coding", "echo", `,"temperature":0,"unknown":{"b":1,"a":0.10},"big":123456789012345678901234567890,"none":null`))
	for key, want := range map[string]string{
		"temperature": `0`, "unknown": `{"b":1,"a":0.10}`, "big": `123456789012345678901234567890`, "none": `null`,
	} {
		if string(got[key]) != want {
			t.Errorf("%s reached the worker as %s, want %s", key, got[key], want)
		}
	}
	_, answer := s.post(chatPath, chat("gpt-4o-mini", "hi", ""))
	for _, want := range []string{`"model":"gpt-4o-mini"`, `"zero":0`, `"unknown":null`} {
		if !strings.Contains(answer, want) {
			t.Errorf("answer lacks %s: %s", want, answer)
		}
	}
}

func TestHeadersAndAccessLine(t *testing.T) {
	s := start(t, nil)
	resp, _ := s.post(chatPath, chat("gpt-4o-mini", "hi", ""))
	for key, want := range map[string]string{"X-Adapter": "coding", "X-Worker": "0", "X-Adapter-State": "swap"} {
		if got := resp.Header.Get(key); got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
	if resp.Header.Get("X-Queue-Ms") == "" {
		t.Error("no X-Queue-Ms")
	}
	line := s.access(resp.Header.Get("X-Request-Id"))
	for key, want := range map[string]any{
		"model": "gpt-4o-mini", "adapter": "coding", "adapter_state": "swap", "status": 200.0, "stream": false,
		"prompt_tokens": 5.0, "completion_tokens": 3.0, "path": chatPath, "method": "POST", "level": "INFO",
	} {
		if line[key] != want {
			t.Errorf("access line: %s = %v, want %v", key, line[key], want)
		}
	}
	resp, _ = s.post(chatPath, chat("coding", "hi", ""))
	if got := resp.Header.Get("X-Adapter-State"); got != "warm" {
		t.Errorf("second request: %q, want warm", got)
	}
}

func TestRequestID(t *testing.T) {
	s := start(t, nil)
	for given, kept := range map[string]bool{"my-id.1": true, "": false, "a b": false, strings.Repeat("x", 129): false} {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", s.url+"/health", nil)
		req.Header.Set("X-Request-Id", given)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		readAll(t, resp)
		if got := resp.Header.Get("X-Request-Id"); (got == given) != kept || got == "" {
			t.Errorf("given %q, answered %q", given, got)
		}
	}
}

func TestModels(t *testing.T) {
	s := start(t, nil)
	get := func(path string) map[string]any {
		resp, err := http.Get(s.url + path)
		if err != nil {
			t.Fatal(err)
		}
		var v map[string]any
		if err := json.Unmarshal([]byte(readAll(t, resp)), &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	var names []string
	for _, m := range get("/v1/models")["data"].([]any) {
		m := m.(map[string]any)
		names = append(names, fmt.Sprintf("%s %s of %s", m["id"], m["kind"], m["base"]))
	}
	want := "base base of base, coding adapter of base, gpt-4o-mini alias of base, team/legal adapter of base"
	if got := strings.Join(names, ", "); got != want {
		t.Errorf("models: %s\nwant:   %s", got, want)
	}
	for _, path := range []string{"/v1/models/team/legal", "/v1/models/team%2Flegal"} {
		if m := get(path); m["id"] != "team/legal" || m["parent"] != "base" {
			t.Errorf("%s: %v", path, m)
		}
	}
	if m := get("/v1/models/gpt-4o-mini"); m["root"] != "coding" {
		t.Errorf("an alias does not tell what it stands for: %v", m)
	}
}

// events reads a stream to its end.
func events(t *testing.T, body io.Reader) []string {
	t.Helper()
	var list []string
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			list = append(list, data)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestStream(t *testing.T) {
	s := start(t, nil)
	resp, text := s.post(chatPath, chat("gpt-4o-mini", "chunks=4", `,"stream":true`))
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("Content-Type %q", got)
	}
	list := events(t, strings.NewReader(text))
	if len(list) != 5 || list[4] != "[DONE]" {
		t.Fatalf("events: %q", list)
	}
	for i, e := range list[:4] {
		if !strings.Contains(e, `"model":"gpt-4o-mini"`) || !strings.Contains(e, fmt.Sprintf(`"content":"%d "`, i)) {
			t.Errorf("event %d: %s", i, e)
		}
	}
}

// TestEventsAreFlushedAsTheyCome reads an event of a stream that then stands
// still: it can only arrive if nothing holds it back.
func TestEventsAreFlushedAsTheyCome(t *testing.T) {
	s := start(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	resp := s.open(ctx, chat("coding", "idle=2", `,"stream":true`))
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	for i := range 2 {
		line, err := lines.ReadString('\n')
		if err != nil || !strings.Contains(line, fmt.Sprintf(`"content":"%d "`, i)) {
			t.Fatalf("event %d: %q, %v", i, line, err)
		}
		lines.ReadString('\n')
	}
	cancel()
	line := s.access(resp.Header.Get("X-Request-Id"))
	if line["status"] != 499.0 {
		t.Errorf("status in the log %v, want 499", line["status"])
	}
	s.eventually(func(st pool.Stats) bool { return st.Workers[0].InFlight == 0 })
}

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

func TestStreamThatTheWorkerFails(t *testing.T) {
	s := start(t, nil)
	resp, text := s.post(chatPath, chat("coding", "fail-at=2", `,"stream":true`))
	list := events(t, strings.NewReader(text))
	want := `{"error":{"message":"failed as told","type":"server_error","param":null,"code":null}}`
	if len(list) != 3 || list[2] != want {
		t.Errorf("events: %q", list)
	}
	s.access(resp.Header.Get("X-Request-Id"))
}

func TestWorkerDiesInMidStream(t *testing.T) {
	s := start(t, nil)
	resp, text := s.post(chatPath, chat("coding", "die-at=3", `,"stream":true`))
	list := events(t, strings.NewReader(text))
	want := `{"error":{"message":"The model's process ended while it was answering.","type":"server_error","param":null,"code":"worker_died"}}`
	if len(list) != 4 || list[3] != want {
		t.Errorf("events: %q", list)
	}
	line := s.access(resp.Header.Get("X-Request-Id"))
	if cause, _ := line["error"].(string); !strings.Contains(cause, "exit status 7") || !strings.Contains(cause, "fake: told to die") {
		t.Errorf("the log does not tell how the worker ended: %v", line["error"])
	}
	if resp, text := s.post(chatPath, chat("coding", "hi", "")); resp.StatusCode != 200 {
		t.Errorf("after the restart: %d %s", resp.StatusCode, text)
	}
}

func TestWorkerDiesBeforeTheFirstByte(t *testing.T) {
	for _, stream := range []string{"", `,"stream":true`} {
		s := start(t, func(s *settings) { s.workers = 2 })
		marker := filepath.Join(t.TempDir(), "died")
		resp, text := s.post(chatPath, chat("coding", "die-once="+marker, stream))
		if resp.StatusCode != 200 {
			t.Errorf("stream %q: status %d: %s", stream, resp.StatusCode, text)
		}
		if _, err := os.Stat(marker); err != nil {
			t.Error("no worker died, so nothing was tested")
		}
		s.eventually(func(st pool.Stats) bool {
			return st.Workers[0].Up && st.Workers[1].Up && st.Workers[0].Restarts+st.Workers[1].Restarts == 1
		})
	}
}

// TestPoisonousRequest sends a request that kills every worker it runs on: it
// gets two of three.
func TestPoisonousRequest(t *testing.T) {
	s := start(t, func(s *settings) { s.workers = 3 })
	resp, text := s.post(chatPath, chat("coding", "die", ""))
	if resp.StatusCode != 502 || !strings.Contains(text, `"code":"worker_died"`) {
		t.Errorf("status %d: %s", resp.StatusCode, text)
	}
	s.eventually(func(st pool.Stats) bool {
		restarts := 0
		for _, w := range st.Workers {
			if !w.Up {
				return false
			}
			restarts += w.Restarts
		}
		return restarts == 2
	})
}

func TestQueueFullAndWaitedTooLong(t *testing.T) {
	s := start(t, func(s *settings) { s.slots, s.queue, s.maxWait = 1, 1, 200*time.Millisecond })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	resp := s.open(ctx, chat("coding", "idle=1", `,"stream":true`))
	defer resp.Body.Close()

	waiting := make(chan *http.Response)
	go func() {
		resp, err := http.Post(s.url+chatPath, "application/json", strings.NewReader(chat("coding", "hi", "")))
		if err != nil {
			t.Error(err)
		}
		waiting <- resp
	}()
	s.eventually(func(st pool.Stats) bool { return st.Waiting == 1 })
	full, text := s.post(chatPath, chat("coding", "hi", ""))
	if full.StatusCode != 429 || full.Header.Get("Retry-After") == "" || !strings.Contains(text, `"code":"queue_full"`) {
		t.Errorf("full queue: %d, Retry-After %q: %s", full.StatusCode, full.Header.Get("Retry-After"), text)
	}
	waited := <-waiting
	if text := readAll(t, waited); waited.StatusCode != 429 || waited.Header.Get("Retry-After") == "" || !strings.Contains(text, `"code":"queue_wait"`) {
		t.Errorf("waited too long: %d: %s", waited.StatusCode, text)
	}
}

func TestClientThatLeavesTheQueueFreesItsPlace(t *testing.T) {
	s := start(t, func(s *settings) { s.slots = 1 })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	resp := s.open(ctx, chat("coding", "idle=1", `,"stream":true`))
	defer resp.Body.Close()
	ctx2, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		req, _ := http.NewRequestWithContext(ctx2, "POST", s.url+chatPath, strings.NewReader(chat("base", "hi", "")))
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			resp.Body.Close()
		}
		left <- err
	}()
	s.eventually(func(st pool.Stats) bool { return st.Waiting == 1 })
	leave()
	if err := <-left; err == nil {
		t.Error("the request was answered")
	}
	s.eventually(func(st pool.Stats) bool { return st.Waiting == 0 })
}

func TestDrainRefusesNewRequests(t *testing.T) {
	s := start(t, nil)
	s.proxy.Drain()
	resp, text := s.post(chatPath, chat("coding", "hi", ""))
	if resp.StatusCode != 503 || !strings.Contains(text, `"code":"stopping"`) || resp.Header.Get("Retry-After") == "" {
		t.Errorf("status %d: %s", resp.StatusCode, text)
	}
	ready, err := http.Get(s.url + "/ready")
	if err != nil {
		t.Fatal(err)
	}
	if readAll(t, ready); ready.StatusCode != 503 {
		t.Errorf("/ready: %d, want 503", ready.StatusCode)
	}
}

func TestSlowBodyIsEnded(t *testing.T) {
	s := start(t, func(s *settings) { s.readTimeout = 50 * time.Millisecond })
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", chatPath)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if readAll(t, resp); resp.StatusCode != 408 {
		t.Errorf("status %d, want 408", resp.StatusCode)
	}
}

// TestIdleStreamsLeaveNothingBehind holds 1,000 streams open that stand still
// and lets them all go: the requests end, in the log and in the pool, and no
// file descriptor stays. goleak checks the goroutines when all tests are over.
func TestIdleStreamsLeaveNothingBehind(t *testing.T) {
	const clients = 1000
	s := start(t, func(s *settings) { s.slots, s.queue = clients, clients })
	before := descriptors(t)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	bodies := make(chan io.Closer, clients)
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			req, _ := http.NewRequestWithContext(ctx, "POST", s.url+chatPath,
				strings.NewReader(chat("coding", "idle=1", `,"stream":true`)))
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			bodies <- resp.Body
		})
	}
	wg.Wait()
	if st := s.pool.Stats(); st.Workers[0].InFlight != clients {
		t.Fatalf("%d streams in flight", st.Workers[0].InFlight)
	}
	leave()
	close(bodies)
	for body := range bodies {
		body.Close()
	}
	s.eventually(func(st pool.Stats) bool { return st.Workers[0].InFlight == 0 })
	http.DefaultClient.CloseIdleConnections()
	s.eventually(func(pool.Stats) bool { return descriptors(t) <= before+8 }) // the pool's own connections
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc: file descriptors cannot be counted here")
	}
	return len(entries)
}

func TestLogHoldsNoPrompt(t *testing.T) {
	s := start(t, nil)
	resp, _ := s.post(chatPath, chat("coding", "my-secret-word", ""))
	s.access(resp.Header.Get("X-Request-Id"))
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	all, _ := json.Marshal(s.log.lines)
	if bytes.Contains(all, []byte("my-secret-word")) {
		t.Error("the prompt is in the log")
	}
}
