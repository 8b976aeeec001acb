package metrics

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// busySnapshot is two workers at work and one that is down.
func busySnapshot() Snapshot {
	return Snapshot{
		Waiting: 3, WaitingByModel: map[string]int{"demo": 3}, OldestWait: 1500 * time.Millisecond,
		Workers: []WorkerSnapshot{
			{
				ID: 0, State: Up, PID: 10, Applied: "demo", Loaded: []string{"demo"}, InFlight: 2, Slots: 4, Device: "CPU",
				SlotOwners: []Slot{{Model: "demo", Tokens: 40, Busy: true}, {Model: "demo", Tokens: 2}, {}, {}},
			},
			{ID: 1, State: Draining, PID: 11, Restarts: 2, Loaded: []string{"demo"}, Slots: 4},
			{ID: 2, State: Down, Slots: 4},
		},
		Counters: Counters{Swaps: 5, WarmHits: 6, WarmMisses: 7, KVTokensKept: 8, KVTokensLost: 9},
	}
}

func gatherer(m *Metrics) prometheus.Gatherer {
	return prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return m.gather(context.Background()) })
}

// fixture answers for every worker what a llama-server said.
func fixture(t *testing.T) func(context.Context, int) ([]byte, error) {
	t.Helper()
	text, err := os.ReadFile("testdata/llama-server.txt")
	if err != nil {
		t.Fatal(err)
	}
	return func(context.Context, int) ([]byte, error) { return text, nil }
}

func TestStateAtTheScrape(t *testing.T) {
	snap := busySnapshot()
	m := New(Options{Models: []string{"demo"}, Snapshot: func() Snapshot { return snap }})
	f := scrape(t, m)
	for _, c := range []struct {
		want   float64
		name   string
		labels []string
	}{
		{3, "queue_depth", nil},
		{3, "model_queue_depth", []string{"model", "demo"}},
		{1.5, "queue_oldest_wait_seconds", nil},
		{5, "swaps_total", nil},
		{6, "kv_warm_hits_total", nil},
		{7, "kv_warm_misses_total", nil},
		{8, "kv_tokens_kept_total", nil},
		{9, "kv_tokens_lost_total", nil},
		{1, "worker_up", []string{"worker", "0"}},
		{1, "worker_up", []string{"worker", "1"}},
		{0, "worker_up", []string{"worker", "2"}},
		{1, "worker_state", []string{"worker", "1", "state", "draining"}},
		{0, "worker_state", []string{"worker", "1", "state", "up"}},
		{1, "worker_info", []string{"worker", "0", "device", "CPU"}},
		{2, "worker_restarts_total", []string{"worker", "1"}},
		{2, "worker_in_flight", []string{"worker", "0"}},
		{4, "worker_slots", []string{"worker", "2"}},
		{1, "adapter_applied", []string{"worker", "0", "model", "demo"}},
		{1, "adapter_loaded", []string{"worker", "1", "model", "demo"}},
		{42, "kv_tokens", []string{"worker", "0", "model", "demo"}},
		{0, "residency_series_dropped", nil},
	} {
		if got := valueOf(t, f, "loragate_"+c.name, c.labels...); got != c.want {
			t.Errorf("%s%v is %v, not %v", c.name, c.labels, got, c.want)
		}
	}
	if n := len(f["loragate_adapter_applied"].Metric); n != 1 {
		t.Errorf("%d workers have a model in force", n)
	}

	snap.Workers = snap.Workers[2:]
	f = scrape(t, m)
	if f["loragate_adapter_applied"] != nil || len(f["loragate_worker_up"].Metric) != 1 {
		t.Error("a scrape shows a former state")
	}
}

func TestResidencyIsCapped(t *testing.T) {
	var names []string
	for i := range 10 {
		names = append(names, fmt.Sprintf("m%02d", i))
	}
	m := New(Options{Models: names, MaxResidency: 15, Snapshot: func() Snapshot {
		return Snapshot{Workers: []WorkerSnapshot{
			{ID: 0, State: Up, Applied: "m00", Loaded: names},
			{ID: 1, State: Up, Applied: "m09", Loaded: names},
		}}
	}})
	f := scrape(t, m)
	if n := len(f["loragate_adapter_loaded"].Metric); n != 15 {
		t.Errorf("%d series", n)
	}
	if got := valueOf(t, f, "loragate_residency_series_dropped"); got != 5 {
		t.Errorf("%v are said to be dropped", got)
	}
	if got := valueOf(t, f, "loragate_adapter_applied", "worker", "1", "model", "m09"); got != 1 {
		t.Error("what is in force was dropped")
	}
}

func TestWorkersOwnSeries(t *testing.T) {
	m := New(Options{Models: []string{"demo"}, Snapshot: busySnapshot, Scrape: fixture(t)})
	text := expose(t, m)
	f := scrape(t, m)
	for _, worker := range []string{"0", "1"} {
		if got := valueOf(t, f, "llamacpp:tokens_predicted_total", "worker", worker); got != 8 {
			t.Errorf("worker %s: %v tokens", worker, got)
		}
	}
	if _, n := lookup(f, "llamacpp:tokens_predicted_total", "worker", "2"); n != 0 {
		t.Error("a worker that is down has series")
	}
	if f["llamacpp:requests_processing"].GetType() != dto.MetricType_GAUGE {
		t.Error("a type was lost")
	}
	last, first := strings.LastIndex(text, "\nloragate_"), strings.Index(text, "\nllamacpp:")
	if last < 0 || first < last {
		t.Error("the workers' series are not after the gateway's")
	}
	headings := map[string]bool{}
	for _, h := range regexp.MustCompile(`(?m)^# TYPE \S+`).FindAllString(text, -1) {
		if headings[h] {
			t.Errorf("%s comes twice", h)
		}
		headings[h] = true
	}
}

func TestWorkersThatCannotBeScraped(t *testing.T) {
	good := "# TYPE a gauge\na 1"
	for name, c := range map[string]struct {
		text   string
		err    error
		errors float64
		want   float64 // of worker 1's a
		found  int
	}{
		"no end of line":      {text: good, want: 1, found: 1},
		"nothing":             {text: "", found: 0},
		"fails":               {err: errors.New("refused"), errors: 1},
		"not Prometheus":      {text: "<html>", errors: 1},
		"begins well":         {text: good + "\nb{", errors: 1},
		"our name":            {text: "# TYPE a gauge\na 1\nloragate_queue_depth 7\n", want: 1, found: 1},
		"another type":        {text: "# TYPE a counter\na 1\n"},
		"a series twice":      {text: "# TYPE a gauge\na 1\na 2\n", want: 1, found: 1},
		"not UTF-8":           {text: "# TYPE a gauge\na 1\nc{d=\"\xff\"} 1\n", errors: 1},
		"a name out of range": {text: "a-b 1\n", errors: 1},
	} {
		t.Run(name, func(t *testing.T) {
			m := New(Options{Snapshot: busySnapshot, Scrape: func(_ context.Context, worker int) ([]byte, error) {
				if worker == 0 {
					return []byte("# TYPE a gauge\na 5\n"), nil
				}
				return []byte(c.text), c.err
			}})
			f := scrape(t, m)
			if got, found := lookup(f, "a", "worker", "1"); got != c.want || found != c.found {
				t.Errorf("%d series of worker 1, %v", found, got)
			}
			if got := valueOf(t, f, "a", "worker", "0"); got != 5 {
				t.Errorf("worker 0 has %v", got)
			}
			if got, _ := lookup(f, "loragate_worker_scrape_errors_total", "worker", "1"); got != c.errors {
				t.Errorf("%v errors were counted", got)
			}
			if got := valueOf(t, f, "loragate_queue_depth"); got != 3 {
				t.Errorf("the queue's depth is %v", got)
			}
		})
	}
}

func TestWorkerLabelOfTheirOwn(t *testing.T) {
	m := New(Options{Snapshot: busySnapshot, Scrape: func(context.Context, int) ([]byte, error) {
		return []byte("a{worker=\"x\",z=\"1\"} 4\n"), nil
	}})
	if got := valueOf(t, scrape(t, m), "a", "worker", "1", "exported_worker", "x", "z", "1"); got != 4 {
		t.Errorf("it is %v", got)
	}
}

func TestWorkerThatHangsCostsASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(Options{Snapshot: busySnapshot, Scrape: func(ctx context.Context, worker int) ([]byte, error) {
			if worker == 0 {
				return []byte("a 5\n"), nil
			}
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		start := time.Now()
		f := scrape(t, m)
		if took := time.Since(start); took != time.Second {
			t.Errorf("the scrape took %v", took)
		}
		if got := valueOf(t, f, "a", "worker", "0"); got != 5 {
			t.Errorf("worker 0 has %v", got)
		}
		if got := valueOf(t, f, "loragate_worker_scrape_errors_total", "worker", "1"); got != 1 {
			t.Errorf("%v errors were counted in the same scrape", got)
		}
	})
}
