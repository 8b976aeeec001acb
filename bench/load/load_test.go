package load

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"
)

func TestPercentile(t *testing.T) {
	values := []float64{5, 1, 4, 2, 3}
	for p, want := range map[float64]float64{0: 1, 20: 1, 21: 2, 50: 3, 99: 5, 100: 5} {
		if got := Percentile(values, p); got != want {
			t.Errorf("percentile %v is %v, not %v", p, got, want)
		}
	}
	if values[0] != 5 {
		t.Error("the values were sorted in place")
	}
	if got := Percentile(nil, 50); !math.IsNaN(got) {
		t.Errorf("percentile of nothing is %v", got)
	}
}

func TestMedian(t *testing.T) {
	if got := Median([]float64{9, 1, 2}); got != 2 {
		t.Errorf("of three: %v", got)
	}
	if got := Median([]float64{4, 1, 2, 9}); got != 3 {
		t.Errorf("of four: %v", got)
	}
}

func TestSummarize(t *testing.T) {
	s := Summarize([]Result{
		{TTFT: time.Millisecond, Latency: 2 * time.Millisecond, Tokens: 10},
		{Tokens: 7, Err: errors.New("cut")},
		{TTFT: 3 * time.Millisecond, Latency: 4 * time.Millisecond, Tokens: 20},
	}, 2*time.Second)
	if s.Tokens != 30 || s.Requests != 2 || s.Errors != 1 || s.TokensPerSecond != 15 || s.RequestsPerSecond != 1 {
		t.Errorf("%+v", s)
	}
	if !reflect.DeepEqual(s.TTFT, []float64{1, 3}) || !reflect.DeepEqual(s.Latency, []float64{2, 4}) {
		t.Errorf("times %v and %v", s.TTFT, s.Latency)
	}
}

func TestEvents(t *testing.T) {
	const stream = ": a comment\r\ndata: one\r\n\r\nevent: x\ndata:two\ndata: lines\n\ndata: [DONE]\n\ndata: late\n\n"
	var got []string
	take := func(data []byte) error { got = append(got, string(data)); return nil }
	// Byte by byte, as the network might.
	if err := events(iotest.OneByteReader(strings.NewReader(stream)), take); err != nil {
		t.Fatal(err)
	}
	if want := []string{"one", "two\nlines"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q, not %q", got, want)
	}
}

func TestEventsOfACutStream(t *testing.T) {
	ignore := func([]byte) error { return nil }
	if err := events(strings.NewReader("data: one\n\ndata: tw"), ignore); !errors.Is(err, errNoDone) {
		t.Errorf("the error is %v", err)
	}
	broken := errors.New("broken")
	if err := events(iotest.ErrReader(broken), ignore); !errors.Is(err, broken) {
		t.Errorf("the error is %v", err)
	}
	fail := func([]byte) error { return broken }
	if err := events(strings.NewReader("data: one\n\ndata: [DONE]\n\n"), fail); !errors.Is(err, broken) {
		t.Errorf("the error is %v", err)
	}
}

func TestTraceIsRepeatable(t *testing.T) {
	o := TraceOptions{Seed: 3, Requests: 50, Adapters: 4, Chars: 300, Answers: Lengths{20, 400}}
	first := Trace(o)
	if !reflect.DeepEqual(first, Trace(o)) {
		t.Error("equal options gave another trace")
	}
	o.Seed = 4
	if reflect.DeepEqual(first, Trace(o)) {
		t.Error("another seed gave the same trace")
	}
}

func TestTraceOfASingleAdapterHasTheSamePrompts(t *testing.T) {
	o := TraceOptions{Seed: 3, Requests: 50, Adapters: 4, Chars: 300, Answers: Lengths{200, 200}}
	many := Trace(o)
	o.Single = true
	for i, r := range Trace(o) {
		if r.Adapter != 0 {
			t.Fatalf("request %d is for adapter %d", i, r.Adapter)
		}
		if r.Messages[0] != many[i].Messages[0] || r.MaxTokens != 200 {
			t.Fatalf("request %d is %+v, not like %+v", i, r, many[i])
		}
	}
}

func TestTraceFollowsZipf(t *testing.T) {
	const requests, adapters = 20000, 4
	count := make([]float64, adapters)
	for _, r := range Trace(TraceOptions{Seed: 1, Requests: requests, Adapters: adapters, Chars: 1,
		Answers: Lengths{20, 400}}) {
		count[r.Adapter]++
		if r.MaxTokens < 20 || r.MaxTokens > 400 {
			t.Fatalf("an answer of %d tokens", r.MaxTokens)
		}
	}
	for i, n := range count {
		want := requests / (float64(i+1) * (1 + 1./2 + 1./3 + 1./4))
		if math.Abs(n-want) > 0.05*want {
			t.Errorf("adapter %d has %v requests, not about %v", i, n, want)
		}
	}
}

func TestPromptHasTheLengthAskedFor(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 100 {
		if p := Prompt(rng, 400); len(p) < 400 || len(p) > 550 || !strings.HasSuffix(p, "?") {
			t.Fatalf("%d characters: %s", len(p), p)
		}
	}
}

func TestWarmupSizes(t *testing.T) {
	if got := (Warmup{}).sizes(4); !reflect.DeepEqual(got, []int{1, 2, 3, 4}) {
		t.Errorf("all: %v", got)
	}
	got := (Warmup{Sparse: true}).sizes(35)
	if want := []int{16, 24, 32, 35}; !reflect.DeepEqual(got[15:], want) {
		t.Errorf("sparse: %v", got)
	}
}

func TestAddressesAreReadFromTheLog(t *testing.T) {
	var at addresses
	at.read("tail of a line\n{\"msg\":\"admin\",\"url\":\"http://h:2\"}\n{\"msg\":\"worker ready\",\"worker\":0}\n{\"ms")
	if at != (addresses{admin: "http://h:2"}) {
		t.Errorf("%+v", at)
	}
	// The first lines have been pushed out of what is kept of the log.
	at.read("{\"msg\":\"ready\",\"url\":\"http://h:1\"}\n")
	if at != (addresses{clients: "http://h:1", admin: "http://h:2"}) {
		t.Errorf("%+v", at)
	}
}

func TestWorkersThatServeAreCounted(t *testing.T) {
	s := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"workers":[{"state":"up","slots":6},{"state":"up","slots":6},{"state":"spare","slots":6}]}`)
	})
	if err := s.countWorkers(t.Context(), s.url); err != nil || s.Workers != 2 || s.Slots != 6 {
		t.Errorf("%d workers with %d slots, %v", s.Workers, s.Slots, err)
	}
}

func TestConfigHasOnlyWhatIsNotDefault(t *testing.T) {
	setup := Setup{LlamaServer: "l", Base: "b", Adapters: []string{"a.gguf"}, Context: 512}
	workers := func(g Gateway) map[string]any {
		var c struct {
			Workers   map[string]any
			Scheduler map[string]any
		}
		if err := json.Unmarshal(g.config(setup, "d"), &c); err != nil {
			t.Fatal(err)
		}
		if c.Scheduler != nil {
			t.Errorf("%v: the scheduler has settings: %v", g, c.Scheduler)
		}
		return c.Workers
	}
	defaults := workers(Gateway{})
	for _, key := range []string{"count", "slots", "kv", "mps"} {
		if v, there := defaults[key]; there {
			t.Errorf("%s is %v and not left at its default", key, v)
		}
	}
	g := Gateway{Workers: 4, Slots: 16, KV: "split", MPS: "off"}
	set := workers(g)
	if set["count"] != 4. || set["slots"] != 16. || set["kv"] != "split" || set["mps"] != "off" {
		t.Errorf("%v", set)
	}
	if got, want := g.String(), "gateway workers=4 kv=split mps=off"; got != want {
		t.Errorf("it is called %q, not %q", got, want)
	}
}

func TestCachesOfARawServer(t *testing.T) {
	for want, r := range map[string]Raw{
		"--parallel 4 --ctx-size 2048 --cache-ram 0":              {Slots: 4},
		"--parallel 4 --ctx-size 2048 --cache-ram 0 --kv-unified": {Slots: 4, Unified: true},
		"--parallel 4 --ctx-size 2048 --cache-ram 0 --kv-unified --kv-unified-per-slot 512": {Slots: 4, Unified: true,
			PerSlot: true},
	} {
		if got := strings.Join(r.args(512), " "); got != want {
			t.Errorf("%+v: %s", r, got)
		}
	}
}

func TestVariables(t *testing.T) {
	got := variables([]string{"scheduler.max_wait=5s", `workers.args=["a=b"]`})
	if want := []string{"GATEWAY_SCHEDULER_MAX_WAIT=5s", `GATEWAY_WORKERS_ARGS=["a=b"]`}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q", got)
	}
}

// answering returns a server that sends each request's stream.
func answering(t *testing.T, handle http.HandlerFunc) *Server {
	t.Helper()
	h := httptest.NewServer(handle)
	t.Cleanup(h.Close)
	return &Server{url: h.URL, http: h.Client(), address: func(int) map[string]any { return map[string]any{} }}
}

const goodStream = `data: {"choices":[{"delta":{"role":"assistant","content":null}}]}

data: {"choices":[{"delta":{"content":"Hel"}}]}

data: {"choices":[{"delta":{"content":"lo"}}]}

data: {"choices":[],"timings":{"cache_n":5,"prompt_n":8,"prompt_ms":4.5,"predicted_n":3}}

data: [DONE]

`

func TestChat(t *testing.T) {
	s := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Worker", "1")
		io.WriteString(w, goodStream)
	})
	r := s.Chat(context.Background(), Request{})
	if r.Err != nil || r.Text != "Hello" || r.Tokens != 3 || r.Computed != 8 || r.Cached != 5 || r.PromptMS != 4.5 ||
		r.Worker != "1" {
		t.Errorf("%+v", r)
	}
	if len(r.Arrivals) != 2 || r.TTFT != r.Arrivals[0] || r.Latency < r.Arrivals[1] {
		t.Errorf("times %v, first token %v, end %v", r.Arrivals, r.TTFT, r.Latency)
	}
}

func TestChatThatFails(t *testing.T) {
	for want, handle := range map[string]http.HandlerFunc{
		"status 503: busy": func(w http.ResponseWriter,
			_ *http.Request) {
			http.Error(w, "busy", http.StatusServiceUnavailable)
		},
		"[DONE]": func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, strings.TrimSuffix(goodStream, "data: [DONE]\n\n"))
		},
		"died": func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "data: {\"error\":{\"message\":\"died\"}}\n\n")
		},
		"no timings": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "data: [DONE]\n\n") },
	} {
		r := answering(t, handle).Chat(context.Background(), Request{})
		if r.Err == nil || !strings.Contains(r.Err.Error(), want) {
			t.Errorf("the error is %v, not %q", r.Err, want)
		}
	}
}

func TestClosedKeepsTheOrderAndTheNumberOfClients(t *testing.T) {
	const clients = 3
	var running atomic.Int32
	full := make(chan struct{}) // closed once all clients are at work: fewer would hang
	s := answering(t, func(w http.ResponseWriter, r *http.Request) {
		now := running.Add(1)
		defer running.Add(-1)
		if now > clients {
			t.Errorf("%d requests run at once", now)
		}
		if now == clients {
			select {
			case <-full:
			default:
				close(full)
			}
		}
		<-full
		io.WriteString(w, goodStream)
	})
	results, wall := Closed(context.Background(), s, make([]Request, 20), clients)
	for i, r := range results {
		if r.Err != nil || r.Text != "Hello" {
			t.Errorf("request %d: %+v", i, r)
		}
	}
	if wall <= 0 {
		t.Errorf("it took %v", wall)
	}
}

func TestValidateNamesWhatIsWrong(t *testing.T) {
	good := Setup{LlamaServer: "load_test.go", Base: "load_test.go", Adapters: []string{"trace.go"}}
	if _, err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, breakIt := range map[string]func(*Setup){
		"absent.gguf":     func(s *Setup) { s.Base = "absent.gguf" },
		"no adapters":     func(s *Setup) { s.Adapters = nil },
		"called trace.go": func(s *Setup) { s.Adapters = []string{"trace.go", "./trace.go"} },
	} {
		s := good
		breakIt(&s)
		if _, err := s.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, not %q", err, want)
		}
	}
}
