package metrics

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// expose returns what a scrape gets, as text.
func expose(t *testing.T, m *Metrics) string {
	t.Helper()
	rec := httptest.NewRecorder()
	m.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if rec.Code != http.StatusOK {
		t.Fatalf("status %d: %s", rec.Code, rec.Body)
	}
	if got := rec.Header().Get("Content-Type"); !strings.HasPrefix(got, "text/plain; version=0.0.4") {
		t.Fatalf("content type %q", got)
	}
	return rec.Body.String()
}

// scrape parses what a scrape gets, which fails unless it is valid.
func scrape(t *testing.T, m *Metrics) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(expose(t, m)))
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// valueOf returns the value of the one series with exactly these labels, given
// as name, value, name, value; a histogram's is its count.
func valueOf(t *testing.T, families map[string]*dto.MetricFamily, name string, labels ...string) float64 {
	t.Helper()
	v, found := lookup(families, name, labels...)
	if found != 1 {
		t.Fatalf("%d series %s%v", found, name, labels)
	}
	return v
}

func lookup(families map[string]*dto.MetricFamily, name string, labels ...string) (v float64, found int) {
	want := map[string]string{}
	for i := 0; i < len(labels); i += 2 {
		want[labels[i]] = labels[i+1]
	}
	for _, s := range families[name].GetMetric() {
		match := len(s.Label) == len(want)
		for _, l := range s.Label {
			match = match && want[l.GetName()] == l.GetValue()
		}
		if !match {
			continue
		}
		found++
		v = s.GetCounter().GetValue() + s.GetGauge().GetValue() + s.GetUntyped().GetValue() + float64(s.GetHistogram().GetSampleCount())
	}
	return v, found
}

func TestRequest(t *testing.T) {
	m := New(Options{Models: []string{"demo", "legal"}})
	m.Request(Request{
		Model: "legal", Outcome: OK, Status: 200, Streamed: true, State: "swap",
		Queue: 20 * time.Millisecond, TTFT: 90 * time.Millisecond, Duration: 2 * time.Second,
		PromptTokens: 30, CachedTokens: 10, CompletionTokens: 50,
	})
	m.Request(Request{Model: "legal", Outcome: OK, Status: 200, State: "warm", TTFT: time.Second, Duration: time.Second,
		CompletionTokens: 5})
	m.Request(Request{Model: "demo", Outcome: Rejected, Status: 429, Duration: time.Millisecond})
	m.Rejected("queue_full")
	m.Chunk(3 * time.Millisecond)
	m.Swap(1, 4*time.Millisecond)

	f := scrape(t, m)
	for _, c := range []struct {
		want   float64
		name   string
		labels []string
	}{
		{2, "loragate_requests_total", []string{"model", "legal", "outcome", "ok"}},
		{0, "loragate_requests_total", []string{"model", "legal", "outcome", "error"}},
		{1, "loragate_requests_total", []string{"model", "demo", "outcome", "rejected"}},
		{2, "loragate_responses_total", []string{"code", "200"}},
		{1, "loragate_responses_total", []string{"code", "429"}},
		{30, "loragate_prompt_tokens_total", []string{"model", "legal"}},
		{10, "loragate_cached_tokens_total", []string{"model", "legal"}},
		{55, "loragate_completion_tokens_total", []string{"model", "legal"}},
		{1, "loragate_rejections_total", []string{"reason", "queue_full"}},
		{0, "loragate_rejections_total", []string{"reason", "no_worker"}},
		{2, "loragate_queue_wait_seconds", nil}, // the rejected one had no lease
		{1, "loragate_request_duration_seconds", []string{"streamed", "true"}},
		{1, "loragate_request_duration_seconds", []string{"streamed", "false"}},
		{1, "loragate_time_to_first_token_seconds", []string{"state", "swap"}},
		{0, "loragate_time_to_first_token_seconds", []string{"state", "warm"}}, // came in one piece
		{1, "loragate_inter_token_seconds", nil},
		{1, "loragate_swap_duration_seconds", []string{"worker", "1"}},
	} {
		if got := valueOf(t, f, c.name, c.labels...); got != c.want {
			t.Errorf("%s%v is %v, not %v", c.name, c.labels, got, c.want)
		}
	}
	for _, name := range []string{"loragate_build_info", "go_goroutines", "process_start_time_seconds"} {
		if f[name] == nil {
			t.Errorf("%s is missing", name)
		}
	}
}

func TestLabelsAreBounded(t *testing.T) {
	m := New(Options{Models: []string{"demo"}, Snapshot: func() Snapshot {
		return Snapshot{
			Waiting: 3, WaitingByModel: map[string]int{"gone": 1, "lost": 2},
			Workers: []WorkerSnapshot{{ID: 0, State: Up, Loaded: []string{"gone", "lost"}, Applied: "gone"}},
		}
	}})
	for _, name := range []string{"", "nobody's", "x\ny"} {
		m.Request(Request{Model: name, Outcome: "what?", Status: -5})
	}
	m.Request(Request{Model: "demo", Outcome: OK, Status: 1000, PromptTokens: -1})

	f := scrape(t, m)
	if got := valueOf(t, f, "loragate_requests_total", "model", "other", "outcome", "error"); got != 3 {
		t.Errorf("%v requests of other models", got)
	}
	if n := len(f["loragate_requests_total"].Metric); n != 2*len(outcomes) {
		t.Errorf("%d series of requests", n)
	}
	if got := valueOf(t, f, "loragate_responses_total", "code", "0"); got != 4 {
		t.Errorf("%v answers without a status", got)
	}
	if got := valueOf(t, f, "loragate_model_queue_depth", "model", "other"); got != 3 {
		t.Errorf("%v others wait", got)
	}
	if got := valueOf(t, f, "loragate_adapter_loaded", "worker", "0", "model", "other"); got != 1 {
		t.Errorf("others are loaded %v times", got)
	}
}

func TestNamesFollowPrometheus(t *testing.T) {
	m := New(Options{Models: []string{"demo"}, Snapshot: busySnapshot})
	m.Request(Request{Model: "demo", Outcome: OK, Status: 200})
	m.Swap(0, time.Second)
	problems, err := testutil.GatherAndLint(gatherer(m))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestCountingAndScrapingAtOnce(t *testing.T) {
	const tasks, each = 8, 200
	m := New(Options{Models: []string{"demo"}, Snapshot: busySnapshot, Scrape: fixture(t)})
	handler := m.Handler()
	var wg sync.WaitGroup
	for n := range tasks {
		wg.Go(func() {
			for i := range each {
				m.Request(Request{Model: "demo", Outcome: OK, Status: 200 + i%7, State: "warm", Streamed: true, TTFT: time.Second})
				m.Chunk(time.Millisecond)
				m.Swap(n, time.Millisecond)
				m.Rejected("queue_wait")
			}
		})
		wg.Go(func() {
			for range 5 {
				rec := httptest.NewRecorder()
				handler.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
				if _, err := io.Copy(io.Discard, rec.Body); err != nil || rec.Code != http.StatusOK {
					t.Errorf("status %d, %v", rec.Code, err)
				}
				m.State()
			}
		})
	}
	wg.Wait()
	if got := valueOf(t, scrape(t, m), "loragate_requests_total", "model", "demo", "outcome", "ok"); got != tasks*each {
		t.Errorf("%v requests were counted", got)
	}
	s := m.State()
	if s.TTFT.Count != tasks*each || s.Rejected != tasks*each || s.Models["demo"].Requests != tasks*each {
		t.Errorf("state: %+v", s)
	}
}

func TestState(t *testing.T) {
	m := New(Options{Models: []string{"demo", "idle"}, Snapshot: busySnapshot})
	m.Request(Request{Model: "demo", Outcome: OK, Streamed: true, State: "warm", TTFT: 15 * time.Millisecond,
		PromptTokens: 7, CachedTokens: 3, CompletionTokens: 9})
	m.Request(Request{Model: "demo", Outcome: Failed, Streamed: true, State: "swap", TTFT: time.Hour})
	m.Request(Request{Model: "made up", Outcome: Failed})
	m.Rejected("queue_full")
	m.Rejected("no_worker")

	s := m.State()
	if want := (ModelCounts{Requests: 2, Errors: 1, PromptTokens: 7, CachedTokens: 3,
		CompletionTokens: 9}); s.Models["demo"] != want {
		t.Errorf("demo: %+v", s.Models["demo"])
	}
	if _, ok := s.Models["idle"]; ok || len(s.Models) != 2 || s.Models[Other].Errors != 1 {
		t.Errorf("models: %+v", s.Models)
	}
	if s.Rejected != 2 || s.Waiting != 3 || s.Counters.Swaps != 5 {
		t.Errorf("state: %+v", s)
	}
	if h := s.TTFT; h.Count != 2 || len(h.Bounds) != len(ttftBuckets) || h.Counts[1] != 0 || h.Counts[2] != 1 ||
		h.Counts[len(h.Counts)-1] != 1 {
		t.Errorf("first tokens: %+v", h)
	}
}

func TestRequestAllocatesNothing(t *testing.T) {
	m, r := New(Options{Models: []string{"demo"}}), full
	if n := testing.AllocsPerRun(100, func() { m.Request(r); m.Chunk(time.Millisecond) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

var full = Request{
	Model: "demo", Outcome: OK, Status: 200, Streamed: true, State: "warm", Queue: time.Millisecond,
	TTFT: 80 * time.Millisecond, Duration: 3 * time.Second, PromptTokens: 100, CachedTokens: 50, CompletionTokens: 200,
}

func BenchmarkRequest(b *testing.B) {
	m := New(Options{Models: []string{"demo", "coding", "legal"}})
	b.ReportAllocs()
	for b.Loop() {
		m.Request(full)
	}
}

func BenchmarkRequestParallel(b *testing.B) {
	m := New(Options{Models: []string{"demo", "coding", "legal"}})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			m.Request(full)
		}
	})
}

func BenchmarkChunk(b *testing.B) {
	m := New(Options{})
	b.ReportAllocs()
	for b.Loop() {
		m.Chunk(12 * time.Millisecond)
	}
}
