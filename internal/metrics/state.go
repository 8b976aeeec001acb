package metrics

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// State is a Snapshot with the counts of events, for readers other than
// Prometheus.
type State struct {
	Snapshot
	Time    time.Time // when it was read
	Started time.Time // when counting began: all counts of another start are void

	Models   map[string]ModelCounts // by label, so Other may be among them; only models that were asked for
	Rejected uint64
	TTFT     Histogram
}

// ModelCounts are one model's. They only grow.
type ModelCounts struct {
	Requests         uint64 // that have ended, in whatever way
	Errors           uint64 // of Requests, those that failed
	PromptTokens     uint64
	CachedTokens     uint64
	CompletionTokens uint64
}

// Histogram counts durations. Counts[i] are those of at most Bounds[i]; they
// only grow, over time and with i.
type Histogram struct {
	Bounds []float64 // in seconds, rising
	Counts []uint64
	Count  uint64  // of all, those above the last bound included
	Sum    float64 // in seconds
}

// State returns the present state. It reads every counter: for people who look
// once a second, not for the hot path.
func (m *Metrics) State() State {
	s := State{
		Snapshot: m.opts.Snapshot(), Time: time.Now(), Started: m.started,
		Models: map[string]ModelCounts{}, Rejected: m.rejected(),
	}
	for name, c := range *m.models.Load() {
		s.addModel(name, c)
	}
	s.addModel(Other, m.other)
	for _, h := range m.ttft {
		s.TTFT.add(read(h).GetHistogram())
	}
	return s
}

func (s *State) addModel(name string, c *modelCounters) {
	counts := ModelCounts{
		Errors:           value(c.outcomes[Failed.index()]),
		PromptTokens:     value(c.prompt),
		CachedTokens:     value(c.cached),
		CompletionTokens: value(c.completion),
	}
	for _, o := range c.outcomes {
		counts.Requests += value(o)
	}
	if counts.Requests > 0 {
		s.Models[name] = counts
	}
}

func (m *Metrics) rejected() uint64 {
	ch := make(chan prometheus.Metric)
	go func() {
		m.rejections.Collect(ch)
		close(ch)
	}()
	var sum uint64
	for c := range ch {
		sum += value(c)
	}
	return sum
}

// add sums histograms of the same bounds.
func (h *Histogram) add(d *dto.Histogram) {
	h.Count += d.GetSampleCount()
	h.Sum += d.GetSampleSum()
	finite := 0
	for _, b := range d.GetBucket() {
		if math.IsInf(b.GetUpperBound(), 1) {
			continue // that is Count
		}
		if finite == len(h.Bounds) {
			h.Bounds = append(h.Bounds, b.GetUpperBound())
			h.Counts = append(h.Counts, 0)
		}
		h.Counts[finite] += b.GetCumulativeCount()
		finite++
	}
}

func value(m prometheus.Metric) uint64 { return uint64(read(m).GetCounter().GetValue()) }

// read cannot fail for counters and histograms without labels of their own.
func read(m prometheus.Metric) *dto.Metric {
	var d dto.Metric
	_ = m.Write(&d)
	return &d
}
