package sim

import (
	"math"
	"slices"

	"github.com/loragate/loragate/internal/sched"
)

// Timeline is what happened in a run, to be drawn.
type Timeline struct {
	Policy  string
	Seconds float64
	Rows    []int // slots of each server
	Spans   []Span
	Swaps   []Span // of whole servers; the slot means nothing
	Drains  []Span // from when a server took its last request before a swap
	Waiting []Sample
}

// Span is a time in which a slot worked, or a server was swapped or drained.
type Span struct {
	Server, Slot int
	Adapter      string
	From, To     float64 // seconds
}

// Sample is how many requests waited from a moment on.
type Sample struct {
	At      float64
	Waiting int
}

func (t *Timeline) span(j *job, now sched.Time) {
	t.Spans = append(t.Spans, Span{j.server.id, j.slot, j.Adapter, float64(seconds(j.begun)), float64(seconds(now))})
}

func (t *Timeline) swap(server int, adapter string, from, to sched.Time) {
	t.Swaps = append(t.Swaps, Span{server, 0, adapter, float64(seconds(from)), float64(seconds(to))})
}

func (t *Timeline) sample(now sched.Time, waiting int) {
	if n := len(t.Waiting); n == 0 || t.Waiting[n-1].Waiting != waiting {
		t.Waiting = append(t.Waiting, Sample{float64(seconds(now)), waiting})
	}
}

// close ends what goes on at the end of a run.
func (t *Timeline) close(e *engine, policy string) {
	t.Policy, t.Seconds = policy, float64(seconds(e.Now()))
	for _, s := range e.servers {
		t.Rows = append(t.Rows, len(s.held))
	}
	for _, j := range e.jobs {
		if j.result == unfinished && j.begun >= 0 {
			t.span(j, e.Now())
		}
	}
	t.findDrains()
}

// findDrains takes as a drain what lies between the first end of a request after
// which a server began no other one, and the swap that it led to.
func (t *Timeline) findDrains() {
	for _, swap := range t.Swaps {
		lastBegin, from := -1.0, math.Inf(1)
		for _, s := range t.Spans {
			if s.Server == swap.Server && s.From < swap.From {
				lastBegin = max(lastBegin, s.From)
			}
		}
		for _, s := range t.Spans {
			if s.Server == swap.Server && s.To > lastBegin && s.To < swap.From {
				from = min(from, s.To)
			}
		}
		if from < swap.From && lastBegin >= 0 {
			t.Drains = append(t.Drains, Span{swap.Server, 0, swap.Adapter, from, swap.From})
		}
	}
}

// adapters lists all that occur, by name.
func adapters(runs []*Timeline) []string {
	var list []string
	for _, t := range runs {
		for _, s := range t.Spans {
			list = append(list, s.Adapter)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
