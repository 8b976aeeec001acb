// Package metrics counts what the gateway does and exposes it to Prometheus,
// with every worker's own series beside it.
//
// Events (a finished request, a chunk, a swap) are counted as they happen.
// States (the queue, what is applied where) are asked for at every scrape, so
// that they are true then. Each number has one source, never both.
package metrics

import (
	"context"
	"maps"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Options says what is measured.
type Options struct {
	// Models are the names that the label "model" may have at first, see AddModels;
	// anything else, such as what a client made up, is counted as Other.
	Models []string
	// Snapshot returns the present state, with counters that only grow. It is
	// called at every scrape and by Metrics.State; it must not block for long and
	// must be safe for concurrent use. Nil is a gateway without workers.
	Snapshot func() Snapshot
	// Scrape returns the text of a worker's own /metrics. It must give up when
	// ctx ends, which is after a second, and be safe for concurrent use. Nil
	// leaves the workers' series out.
	Scrape func(ctx context.Context, worker int) ([]byte, error)
	// MaxResidency bounds the series that say which worker holds which model,
	// for each kind of them; 0 is 4096.
	MaxResidency int
	// Version is the gateway's; "" is what the build recorded.
	Version string
}

// Other is the label of a model that is not in Options.Models.
const Other = "other"

// Outcome says how a request ended.
type Outcome string

const (
	OK         Outcome = "ok"
	ClientGone Outcome = "client_gone" // the client left before the end
	Failed     Outcome = "error"       // answered with an error or cut; also any value not listed here
	Rejected   Outcome = "rejected"    // turned away before it ran
	Stopped    Outcome = "stopped"     // under way when the gateway stopped
)

// Request is one finished request, whatever came of it.
type Request struct {
	Model    string // as the catalog names it
	Outcome  Outcome
	Status   int // HTTP's
	Streamed bool
	// State tells what its lease found: "warm", "swap" or "reload"; "" is no lease. Only
	// requests with a lease count in the histograms.
	State string

	Queue    time.Duration // from arrival to the lease
	TTFT     time.Duration // from arrival to the first byte of the answer; 0 is none
	Duration time.Duration // from arrival to the end

	PromptTokens     int // all of the prompt, cached ones included
	CachedTokens     int // of the prompt, taken from a KV cache
	CompletionTokens int
}

// Metrics holds the gateway's metrics. Its methods are safe for concurrent use.
type Metrics struct {
	opts     Options
	started  time.Time
	registry *prometheus.Registry
	*instruments

	models atomic.Pointer[map[string]*modelCounters] // each map is read-only
	adding sync.Mutex                                // for AddModels
	other  *modelCounters
	codes  [600]atomic.Pointer[prometheus.Counter] // by HTTP status, as they come up
}

// New returns metrics that start at zero.
func New(opts Options) *Metrics {
	if opts.Snapshot == nil {
		opts.Snapshot = func() Snapshot { return Snapshot{} }
	}
	if opts.MaxResidency == 0 {
		opts.MaxResidency = 4096
	}
	m := &Metrics{
		opts: opts, started: time.Now(),
		registry: prometheus.NewRegistry(), instruments: newInstruments(),
	}
	m.registry.MustRegister(m.collectors()...)
	m.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		buildInfo(opts.Version),
	)
	m.other = m.modelCounters(Other)
	m.models.Store(&map[string]*modelCounters{})
	m.AddModels(opts.Models)
	return m
}

// maxModels bounds how many models have series of their own.
const maxModels = 10_000

// AddModels adds names that the label "model" may have. None is ever taken away,
// for counters must not fall; what comes when there are very many counts as
// Other.
func (m *Metrics) AddModels(names []string) {
	m.adding.Lock()
	defer m.adding.Unlock()
	models := maps.Clone(*m.models.Load())
	for _, name := range names {
		if models[name] == nil && len(models) < maxModels {
			models[name] = m.modelCounters(name)
		}
	}
	m.models.Store(&models)
}

// Request counts a finished request. It allocates nothing.
func (m *Metrics) Request(r Request) {
	c := m.model(r.Model)
	c.outcomes[r.Outcome.index()].Inc()
	m.code(r.Status).Inc()
	add(c.prompt, r.PromptTokens)
	add(c.cached, r.CachedTokens)
	add(c.completion, r.CompletionTokens)
	if r.State == "" {
		return
	}
	m.queueWait.Observe(r.Queue.Seconds())
	if !r.Streamed {
		m.durationWhole.Observe(r.Duration.Seconds())
		return // the first byte of an answer in one piece comes at its end
	}
	m.durationStreamed.Observe(r.Duration.Seconds())
	if r.TTFT > 0 {
		m.ttft[stateIndex(r.State)].Observe(r.TTFT.Seconds())
	}
}

// Chunk counts the time between two chunks of a stream, which llama-server
// sends one a token. A mean over the request would hide the stalls. It
// allocates nothing.
func (m *Metrics) Chunk(d time.Duration) { m.interToken.Observe(d.Seconds()) }

// Rejected counts a request that was turned away. The reason is one of the
// program's own words, such as queue_full: never what a client sent, for each
// becomes a series.
func (m *Metrics) Rejected(reason string) { m.rejections.WithLabelValues(reason).Inc() }

// WorkerEnded counts the end of a process that nobody asked to end. The reason is one of
// the program's own words.
func (m *Metrics) WorkerEnded(reason string) { m.workerEnds.WithLabelValues(reason).Inc() }

// Swap records how long a swap that has ended took. How many there were is the
// Snapshot's to say.
func (m *Metrics) Swap(worker int, took time.Duration) {
	m.swapDuration.WithLabelValues(strconv.Itoa(worker)).Observe(took.Seconds())
}

func (m *Metrics) model(name string) *modelCounters {
	if c, ok := (*m.models.Load())[name]; ok {
		return c
	}
	return m.other
}

// label is the model's name as a label.
func (m *Metrics) label(name string) string {
	if _, ok := (*m.models.Load())[name]; ok {
		return name
	}
	return Other
}

// code returns the counter of an HTTP status; a number that is none counts as 0.
func (m *Metrics) code(status int) prometheus.Counter {
	if status < 100 || status >= len(m.codes) {
		status = 0
	}
	if c := m.codes[status].Load(); c != nil {
		return *c
	}
	c := m.responses.WithLabelValues(strconv.Itoa(status)) // the same one to all who race here
	m.codes[status].Store(&c)
	return c
}

// add leaves out what a counter would panic at: the numbers come from a worker.
func add(c prometheus.Counter, n int) {
	if n > 0 {
		c.Add(float64(n))
	}
}

func buildInfo(version string) prometheus.Collector {
	revision := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		if version == "" {
			version = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value
			}
		}
	}
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "loragate_build_info", Help: "Which gateway this is; always 1.",
		ConstLabels: prometheus.Labels{"version": version, "revision": revision, "goversion": runtime.Version()},
	})
	g.Set(1)
	return g
}
