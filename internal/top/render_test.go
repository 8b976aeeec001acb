package top

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/loragate/loragate/internal/adminapi"
)

var update = flag.Bool("update", false, "write the golden files anew")

var started = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// first and second are two looks, 2 s apart.
func first() adminapi.State {
	return adminapi.State{
		Time: started.Add(time.Hour), Started: started,
		Totals: adminapi.Totals{Requests: 100, Errors: 1, Rejected: 3, PromptTokens: 1000, CompletionTokens: 5000,
			Swaps: 10, WarmHits: 40, WarmMisses: 10},
		TTFT: adminapi.Histogram{Bounds: []float64{0.1, 0.5, 1}, Counts: []uint64{50, 80, 90}, Count: 95},
		Models: []adminapi.Model{{Name: "coding", Requests: 60, PromptTokens: 500, CompletionTokens: 3000},
			{Name: "legal", Requests: 40, CompletionTokens: 2000}},
	}
}

func second() adminapi.State {
	s := first()
	s.Time = s.Time.Add(2 * time.Second)
	s.Queue = adminapi.Queue{Waiting: 4, OldestWaitSeconds: 1.26}
	s.Totals = adminapi.Totals{
		Requests: 110, Errors: 1, Rejected: 4, PromptTokens: 1400, CompletionTokens: 5900, Swaps: 13,
		WarmHits: 49, WarmMisses: 11, KVTokensKept: 300, KVTokensLost: 50000000,
	}
	s.TTFT.Counts, s.TTFT.Count = []uint64{50, 88, 98}, 105
	s.Models = []adminapi.Model{
		{Name: "coding", Requests: 61, PromptTokens: 600, CachedTokens: 75, CompletionTokens: 3100},
		{Name: "legal", Requests: 48, CompletionTokens: 2800, PromptTokens: 300, Waiting: 1},
		{Name: "medical", Requests: 1, Waiting: 3},
	}
	s.Devices = []adminapi.Device{
		{Name: "CUDA0", Measured: true, Step: 0.0027, StepRequest: 0.0004, StepWorker: 0.0003, Swap: 0.0412, Turn: 1.3},
		{Swap: 0.05, Turn: 1},
	}
	s.Workers = []adminapi.Worker{
		{
			ID: 0, State: "up", Applied: "legal", InFlight: 3, Slots: 6, Restarts: 0,
			SlotOwners: []adminapi.Slot{{Model: "legal", Busy: true}, {Model: "legal", Busy: true}, {Model: "coding"},
				{Model: "legal", Busy: true}, {}, {}},
		},
		{ID: 1, State: "draining", Applied: "coding", InFlight: 1, Slots: 40, Restarts: 12,
			SlotOwners: []adminapi.Slot{{Model: "coding", Busy: true}}},
		{ID: 2, State: "down", Slots: 6, Restarts: 1},
	}
	return s
}

func TestRender(t *testing.T) {
	for name, c := range map[string]struct {
		prev          adminapi.State
		width, height int
	}{
		"rates":   {first(), 100, 30},
		"average": {since(second()), 100, 30},
		"narrow":  {first(), 40, 30},
		"low":     {first(), 100, 9},
	} {
		t.Run(name, func(t *testing.T) {
			cur := second()
			got := render(c.prev, cur, cur.Time.Sub(c.prev.Time), c.width, c.height)
			golden := filepath.Join("testdata", name+".txt")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nnot\n%s", got, want)
			}
		})
	}
}

func TestRenderFits(t *testing.T) {
	for width := range 120 {
		for height := range 20 {
			frame := render(first(), second(), time.Second, width, height)
			lines := strings.Split(strings.TrimSuffix(frame, "\n"), "\n")
			if len(lines) > max(height, 1) {
				t.Fatalf("%d lines on a screen of %d", len(lines), height)
			}
			for _, line := range lines {
				if utf8.RuneCountInString(line) > width {
					t.Fatalf("%q is wider than %d", line, width)
				}
			}
		}
	}
}

func TestRenderOfWhatNobodySends(t *testing.T) {
	odd := adminapi.State{
		TTFT:    adminapi.Histogram{Bounds: []float64{1}, Counts: []uint64{1, 2, 3}, Count: 9},
		Workers: []adminapi.Worker{{State: "\x1b[31mup", Slots: -3, Applied: strings.Repeat("x", 500)}},
		Models:  []adminapi.Model{{Name: "a\x1b]0;title\x07\n"}},
	}
	for _, pair := range [][2]adminapi.State{{{}, {}}, {{}, odd}, {odd, {}}, {second(), first()}} {
		if frame := render(pair[0], pair[1], 0, 100, 50); strings.ContainsAny(frame, "\x1b\x07") {
			t.Errorf("a terminal would obey %q", frame)
		}
	}
}

func TestQuantile(t *testing.T) {
	h := adminapi.Histogram{Bounds: []float64{0.1, 0.2, 0.4}, Counts: []uint64{0, 10, 30}, Count: 40}
	for q, want := range map[float64]string{0.125: "150 ms", 0.25: "200 ms", 0.5: "300 ms", 0.75: "400 ms",
		0.99: "over 400 ms"} {
		if got := quantile(h, q); got != want {
			t.Errorf("%v: %s, not %s", q, got, want)
		}
	}
	if got := quantile(window(h, h), 0.5); got != nothing {
		t.Errorf("of nothing: %s", got)
	}
}

func TestFormats(t *testing.T) {
	for _, c := range []struct {
		n    uint64
		d    time.Duration
		want string
	}{
		{0, time.Second, "0"}, {1, time.Second, "1.0"}, {1, 100 * time.Second, "0.010"}, {999, 10 * time.Second, "99.9"},
		{1234, time.Second, "1234"}, {2_500_000, time.Second, "2500k"}, {5, 0, "-"},
	} {
		if got := rate(0, c.n, c.d); got != c.want {
			t.Errorf("%d in %v: %s, not %s", c.n, c.d, got, c.want)
		}
	}
	for d, want := range map[time.Duration]string{1500 * time.Millisecond: "1s",
		26*time.Hour + 90*time.Second: "1d2h1m0s"} {
		if got := uptime(d); got != want {
			t.Errorf("%v: %s, not %s", d, got, want)
		}
	}
	if got := grown(10, 3); got != 3 {
		t.Errorf("a counter that began anew grew by %d", got)
	}
}
