package overhead

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/loragate/loragate/bench/report"
)

func TestMain(m *testing.M) {
	MaybeMain()
	os.Exit(m.Run())
}

// options builds the gateway and returns what a quick run with what Go alone can
// build needs.
func options(t *testing.T) Options {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	gateway := filepath.Join(t.TempDir(), "gateway")
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", gateway, "./cmd/gateway")
	build.Dir = filepath.Join("..", "..") // of the other module
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return Options{GatewayBinary: gateway, Self: self, Quick: true, Contestants: []string{ReverseProxy, Gateway}}
}

// temporary makes a folder that the benchmark's own is made in. Its path is
// short: those of Unix sockets are.
func temporary(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ovh")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	t.Setenv("TMPDIR", dir)
	return dir
}

// assertGone fails if the benchmark left files in dir or processes that were
// started with files of it.
func assertGone(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range left {
		t.Errorf("%s was left behind", entry.Name())
	}
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil || len(lines) == 0 {
		t.Fatalf("cannot list processes: %v", err)
	}
	for _, path := range lines {
		if line, err := os.ReadFile(path); err == nil && bytes.Contains(line, []byte(dir)) {
			t.Errorf("a process was left behind: %q", line)
		}
	}
}

func TestRunMeasuresEveryContestantInEveryCase(t *testing.T) {
	opts := options(t)
	dir := temporary(t)
	tables, err := Run(t.Context(), opts, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	if len(tables) != 2 || tables[0].Name != "overhead" || tables[1].Name != "streams" {
		t.Fatalf("tables: %+v", tables)
	}
	want := []string{
		"direct 1", "ReverseProxy 1", "gateway 1",
		"direct 16", "ReverseProxy 16", "gateway 16",
		"direct 64", "ReverseProxy 64", "gateway 64",
	}
	assertRows(t, tables[0], want)
	assertRows(t, tables[1], want[6:])
	assertGone(t, dir)
}

// assertRows checks which rows there are, and that each has every value except
// those that direct cannot have.
func assertRows(t *testing.T, table *report.Table, want []string) {
	t.Helper()
	var rows []string
	for _, row := range table.Rows {
		rows = append(rows, strings.Join(row.Labels, " "))
		for _, c := range table.Columns {
			value, ok := row.Values[c.Key]
			ofProxy := slices.Contains([]string{"p50_added", "cpu", "peak_memory"}, c.Key)
			if row.Labels[0] == Direct && ofProxy {
				if ok {
					t.Errorf("%s: %v has %s", table.Name, row.Labels, c.Key)
				}
				continue
			}
			if !ok || value <= 0 && c.Key != "p50_added" {
				t.Errorf("%s: %v: %s is %v", table.Name, row.Labels, c.Key, value)
			}
		}
	}
	if !slices.Equal(rows, want) {
		t.Errorf("%s has the rows %q, want %q", table.Name, rows, want)
	}
}

// cancelAtRound ends a run when its first round begins.
type cancelAtRound struct{ cancel context.CancelFunc }

func (c cancelAtRound) Write(text []byte) (int, error) {
	if bytes.Contains(text, []byte("round 1")) {
		c.cancel()
	}
	return len(text), nil
}

func TestRunThatIsCancelledLeavesNothingBehind(t *testing.T) {
	opts := options(t)
	opts.Quick, opts.Rounds, opts.PerRound = false, 1, time.Hour
	dir := temporary(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if _, err := Run(ctx, opts, cancelAtRound{cancel}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that the context was canceled", err)
	}
	assertGone(t, dir)
}

func TestRunSaysWhyAGatewayDoesNotStart(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(t.TempDir(), "gateway")
	if err := os.WriteFile(broken, []byte("#!/bin/sh\necho cannot do it\nexit 3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	dir := temporary(t)
	_, err = Run(t.Context(), Options{GatewayBinary: broken, Self: self, Quick: true, Contestants: []string{Gateway}},
		t.Output())
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "cannot do it") {
		t.Errorf("error %v, want the exit status and what the program said", err)
	}
	assertGone(t, dir)
}

func TestRunLeavesOutWhatIsNotInstalled(t *testing.T) {
	t.Setenv("NGINX", "/nonexistent")
	t.Setenv("LLAMA_SWAP", "/nonexistent")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	opts := Options{GatewayBinary: "unused", Self: self, Quick: true, Contestants: []string{Nginx, LlamaSwap}}
	temporary(t)
	var progress bytes.Buffer
	tables, err := Run(t.Context(), opts, &progress)
	if err != nil {
		t.Fatal(err)
	}
	assertRows(t, tables[0], []string{"direct 1", "direct 16", "direct 64"})
	if about := tables[0].About; !strings.Contains(about, "left out: nginx, llama-swap") {
		t.Errorf("the table does not say what is left out: %s", about)
	}
	if !strings.Contains(progress.String(), "apt-get install nginx-light") {
		t.Errorf("nothing tells how to get nginx: %s", progress.String())
	}
}

func TestOptionsAreChecked(t *testing.T) {
	good := Options{GatewayBinary: "gateway", Self: "self", Rounds: 1, PerRound: time.Second}
	for _, c := range []struct {
		change func(o *Options)
		want   string
	}{
		{func(o *Options) {}, ""},
		{func(o *Options) { o.Self = "" }, "no path of the running program (Self)"},
		{func(o *Options) { o.GatewayBinary = "" }, "no path of a built gateway (GatewayBinary)"},
		{func(o *Options) { o.Rounds = 0 }, "0 rounds; at least 1 is needed"},
		{func(o *Options) { o.PerRound = 0 }, "a round of 0s; it must be above 0"},
		{func(o *Options) { o.Quick, o.Rounds, o.PerRound = true, 0, 0 }, ""},
		{func(o *Options) { o.Contestants = []string{"apache"} },
			`no contestant is called "apache"; there are direct, nginx, ReverseProxy, ReverseProxy-unix, llama-swap, gateway, gateway-warn, gateway-keys`},
	} {
		o := good
		c.change(&o)
		var got string
		if err := o.complete(); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("error %q, want %q", got, c.want)
		}
	}
}

func TestPercentileAndMedian(t *testing.T) {
	var sorted []time.Duration
	for i := range 200 {
		sorted = append(sorted, time.Duration(i+1)*time.Millisecond)
	}
	for p, want := range map[int]float64{50: 100, 90: 180, 99: 198} {
		if got := percentile(sorted, p); got != want {
			t.Errorf("p%d is %v, want %v", p, got, want)
		}
	}
	if got := percentile(sorted[:1], 50); got != 1 {
		t.Errorf("p50 of one value is %v", got)
	}
	if got := median([]float64{9, 1, 5}); got != 5 {
		t.Errorf("median of three is %v", got)
	}
	if got := median([]float64{9, 1, 5, 6}); got != 5.5 {
		t.Errorf("median of four is %v", got)
	}
}

func TestAddedComparesRoundByRound(t *testing.T) {
	at := func(ms ...int) []sample {
		var all []sample
		for _, m := range ms {
			all = append(all, sample{whole: []time.Duration{time.Duration(m) * time.Millisecond}})
		}
		return all
	}
	// The difference of the medians would be 12 - 3 = 9.
	if got := added(at(12, 11, 30), at(1, 3, 28)); got != 8 {
		t.Errorf("added %v ms, want 8", got)
	}
}
