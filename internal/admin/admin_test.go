package admin

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/adminapi"
	"github.com/loragate/loragate/internal/metrics"
)

func testMetrics() *metrics.Metrics {
	m := metrics.New(metrics.Options{Models: []string{"demo", "legal", "idle"}, Snapshot: func() metrics.Snapshot {
		return metrics.Snapshot{
			Waiting: 2, WaitingByModel: map[string]int{"coding": 2, "idle": 0}, OldestWait: 250 * time.Millisecond,
			Workers: []metrics.WorkerSnapshot{
				{
					ID: 0, State: metrics.Up, PID: 77, Restarts: 1, Applied: "legal", Loaded: []string{"demo", "legal"},
					InFlight: 1, Slots: 2, SlotOwners: []metrics.Slot{{Model: "legal", Tokens: 12, Busy: true}, {}}, Device: "CPU",
				},
				{ID: 1, State: metrics.Down, Slots: 2},
			},
			Devices: []metrics.DeviceSnapshot{{
				Name: "CPU", Measured: true, Swap: 40 * time.Millisecond, FirstToken: 20 * time.Millisecond,
				PromptToken: time.Millisecond,
				Step:        8 * time.Millisecond, StepRequest: 2 * time.Millisecond, StepWorker: 4 * time.Millisecond,
				Turn: time.Second,
			}},
			Counters: metrics.Counters{Swaps: 3, WarmHits: 4, WarmMisses: 5, KVTokensKept: 6, KVTokensLost: 7},
		}
	}})
	m.Request(metrics.Request{
		Model: "legal", Outcome: metrics.OK, Status: 200, State: "warm", Streamed: true, TTFT: 90 * time.Millisecond,
		PromptTokens: 10, CachedTokens: 4, CompletionTokens: 20,
	})
	m.Request(metrics.Request{Model: "demo", Outcome: metrics.Failed, Status: 500})
	m.Rejected("queue_full")
	return m
}

func testServer(listen string) *http.Server {
	log := slog.New(slog.DiscardHandler)
	return New(Handler(Options{Listen: listen, Metrics: testMetrics(), Log: log}), log)
}

func get(s *http.Server, method, host, path string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, path, nil)
	req.Host = host
	rec := httptest.NewRecorder()
	s.Handler.ServeHTTP(rec, req)
	return rec
}

// The names of fields are a promise: this is the whole answer but for the times
// and the histogram's length.
const wantState = `{
  "queue": {"waiting": 2, "oldest_wait_seconds": 0.25},
  "totals": {
    "requests_total": 2, "errors_total": 1, "rejected_total": 1,
    "prompt_tokens_total": 10, "cached_tokens_total": 4, "completion_tokens_total": 20,
    "swaps_total": 3, "kv_warm_hits_total": 4, "kv_warm_misses_total": 5,
    "kv_tokens_kept_total": 6, "kv_tokens_lost_total": 7
  },
  "workers": [
    {"id": 0, "state": "up", "pid": 77, "restarts_total": 1, "applied": "legal", "loaded": ["demo", "legal"],
     "in_flight": 1, "slots": 2, "device": "CPU", "drained": false,
     "slot_owners": [{"model": "legal", "tokens": 12, "busy": true}, {"model": "", "tokens": 0, "busy": false}]},
    {"id": 1, "state": "down", "pid": 0, "restarts_total": 0, "applied": "", "loaded": [],
     "in_flight": 0, "slots": 2, "device": "", "drained": false, "slot_owners": []}
  ],
  "devices": [
    {"name": "CPU", "measured": true, "swap_seconds": 0.04, "first_token_seconds": 0.02, "prompt_token_seconds": 0.001,
     "step_seconds": 0.008, "step_request_seconds": 0.002, "step_worker_seconds": 0.004, "turn_seconds": 1}
  ],
  "models": [
    {"name": "coding", "waiting": 2, "requests_total": 0, "errors_total": 0,
     "prompt_tokens_total": 0, "cached_tokens_total": 0, "completion_tokens_total": 0},
    {"name": "demo", "waiting": 0, "requests_total": 1, "errors_total": 1,
     "prompt_tokens_total": 0, "cached_tokens_total": 0, "completion_tokens_total": 0},
    {"name": "legal", "waiting": 0, "requests_total": 1, "errors_total": 0,
     "prompt_tokens_total": 10, "cached_tokens_total": 4, "completion_tokens_total": 20}
  ]
}`

func TestState(t *testing.T) {
	rec := get(testServer("127.0.0.1:8081"), http.MethodGet, "127.0.0.1:8081", adminapi.StatePath)
	if rec.Code != http.StatusOK || rec.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%d %v: %s", rec.Code, rec.Header(), rec.Body)
	}
	var got map[string]json.RawMessage
	if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	var times struct {
		Time, Started time.Time
		TTFT          struct {
			Bounds []float64 `json:"bounds_seconds"`
			Counts []uint64  `json:"counts_total"`
			Count  uint64    `json:"count_total"`
			Sum    float64   `json:"sum_seconds_total"`
		} `json:"time_to_first_token"`
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &times); err != nil {
		t.Fatal(err)
	}
	if times.Started.IsZero() || times.Time.Before(times.Started) {
		t.Errorf("started %v, read %v", times.Started, times.Time)
	}
	if h := times.TTFT; h.Count != 1 || h.Sum != 0.09 || len(h.Bounds) == 0 || len(h.Bounds) != len(h.Counts) ||
		!slices.IsSorted(h.Bounds) {
		t.Errorf("first tokens: %+v", h)
	}
	for _, checked := range []string{"time", "started", "time_to_first_token"} {
		delete(got, checked)
	}
	if have, want := canonical(t, got), canonical(t, json.RawMessage(wantState)); have != want {
		t.Errorf("state is\n%s\nnot\n%s", have, want)
	}
}

// canonical is v as JSON with sorted keys.
func canonical(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var any any
	if err := json.Unmarshal(raw, &any); err != nil {
		t.Fatal(err)
	}
	sorted, err := json.MarshalIndent(any, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(sorted)
}

func TestRoutes(t *testing.T) {
	s := testServer("127.0.0.1:8081")
	for _, c := range []struct {
		method, path string
		status       int
		contains     string
	}{
		{http.MethodGet, "/health", 200, `{"status":"ok"}`},
		{http.MethodGet, "/metrics", 200, `loragate_requests_total{model="legal",outcome="ok"} 1`},
		{http.MethodHead, "/metrics", 200, ""},
		{http.MethodPost, "/metrics", 405, ""},
		{http.MethodDelete, adminapi.StatePath, 405, ""},
		{http.MethodGet, "/v1/models", 404, ""},
		{http.MethodOptions, adminapi.StatePath, 405, ""},
	} {
		rec := get(s, c.method, "localhost", c.path)
		if rec.Code != c.status || !strings.Contains(rec.Body.String(), c.contains) {
			t.Errorf("%s %s: %d %s", c.method, c.path, rec.Code, rec.Body)
		}
		if cors := rec.Header().Get("Access-Control-Allow-Origin"); cors != "" {
			t.Errorf("%s %s may be read by %s", c.method, c.path, cors)
		}
		if rec.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s %s may be cached", c.method, c.path)
		}
	}
}

func TestForeignHostsOnLoopback(t *testing.T) {
	for _, c := range []struct {
		listen, host string
		status       int
	}{
		{"127.0.0.1:8081", "127.0.0.1:8081", 200},
		{"127.0.0.1:8081", "127.0.0.1", 200},
		{"127.0.0.1:8081", "localhost:9999", 200}, // a forwarded port
		{"127.0.0.1:8081", "LOCALHOST.:8081", 200},
		{"127.0.0.1:8081", "[::1]:8081", 200},
		{"127.0.0.1:8081", "[::1]", 200},
		{"127.0.0.1:8081", "evil.example:8081", 403},
		{"127.0.0.1:8081", "localhost.evil.example", 403},
		{"127.0.0.1:8081", "127.0.0.1.evil.example:8081", 403},
		{"127.0.0.1:8081", "10.0.0.7", 403},
		{"127.0.0.1:8081", "0.0.0.0:8081", 403},
		{"127.0.0.1:8081", "", 403},
		{"127.9.9.9:8081", "evil.example", 403},
		{"[::1]:8081", "evil.example", 403},
		{"localhost:8081", "evil.example", 403},
		{"localhost:8081", "localhost:8081", 200},
		{"0.0.0.0:8081", "gateway.example", 200}, // whoever opens it wants it reached by a name
		{":8081", "gateway.example", 200},
		{"10.0.0.7:8081", "10.0.0.7:8081", 200},
	} {
		for _, path := range []string{"/health", "/metrics", adminapi.StatePath} {
			rec := get(testServer(c.listen), http.MethodGet, c.host, path)
			if rec.Code != c.status {
				t.Errorf("on %s, host %q: %s answers %d", c.listen, c.host, path, rec.Code)
			}
			if c.status == 403 && !strings.Contains(rec.Body.String(), `"code":"host_not_allowed"`) {
				t.Errorf("on %s, host %q: %s", c.listen, c.host, rec.Body)
			}
		}
	}
}

func TestServerHasTimeouts(t *testing.T) {
	s := testServer("127.0.0.1:0")
	if s.ReadHeaderTimeout == 0 || s.ReadTimeout == 0 || s.WriteTimeout == 0 || s.IdleTimeout == 0 ||
		s.MaxHeaderBytes == 0 {
		t.Errorf("%+v", s)
	}
}

func TestOverTheNetwork(t *testing.T) {
	srv := httptest.NewServer(testServer("127.0.0.1:0").Handler)
	defer srv.Close()
	resp, err := http.Get(srv.URL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(text), "loragate_worker_up") {
		t.Errorf("%s, %v: %.100s", resp.Status, err, text)
	}
}
