package sched

import (
	"slices"

	"github.com/loragate/loragate/internal/residency"
	"github.com/loragate/loragate/internal/sched/heap"
)

// line is the line of flows that wait for one of the workers which have loaded the same.
type line struct {
	set   *residency.Set
	spots heap.Heap[*spot] // first the flow whose turn it is
}

// spot is a flow's place in one line.
type spot struct {
	flow  *flow
	line  *line
	index int // in the heap, one-based; 0 is not there
}

func newLine(set *residency.Set) *line {
	return &line{set: set, spots: heap.New(beforeInLine, placeInLine)}
}

// beforeInLine and placeInLine are functions without a receiver, and do what they do by
// themselves: half of the time that a decision takes is spent in them.
func beforeInLine(a, b *spot) bool { return a.flow.position < b.flow.position }
func placeInLine(p *spot) *int     { return &p.index }

// holds reports whether the worker has loaded what the flow needs, and may be
// given it.
func (w *worker) holds(f *flow) bool {
	return slices.ContainsFunc(f.spots, func(p *spot) bool { return p.line == w.line })
}

// wanted reports whether a flow waits for a worker that has loaded what this one
// has.
func (w *worker) wanted() bool { return w.line.spots.Len() > 0 }

// settle puts a worker where its files are; one that is drained has a line of its own,
// in which nobody waits.
func (q *queue) settle(w *worker, set *residency.Set) {
	if w.drained {
		w.line = newLine(set)
		return
	}
	if w.line = q.lineOf[set]; w.line != nil {
		return
	}
	w.line = newLine(set)
	q.lines, q.lineOf[set] = append(q.lines, w.line), w.line
	var holders []*flow
	for _, f := range q.flows {
		if set.Holds(f.files) {
			holders = append(holders, f)
		}
	}
	sortFlows(holders)
	for _, f := range holders {
		f.spots = append(f.spots, &spot{flow: f, line: w.line})
		q.refresh(f)
	}
}

// abandon ends a line when no worker has its files any more. What it costs does not
// matter: that happens seldom.
func (q *queue) abandon(l *line) {
	if l.set.Workers() > 0 || q.lineOf[l.set] != l {
		return
	}
	delete(q.lineOf, l.set)
	q.lines = slices.DeleteFunc(q.lines, func(x *line) bool { return x == l })
	var holders []*flow
	for _, f := range q.flows {
		if slices.ContainsFunc(f.spots, func(p *spot) bool { return p.line == l }) {
			holders = append(holders, f)
		}
	}
	sortFlows(holders)
	for _, f := range holders {
		f.spots = slices.DeleteFunc(f.spots, func(p *spot) bool { return p.line == l })
		q.refresh(f)
	}
}

// locate finds the lines of workers that have what a new flow needs.
func (q *queue) locate(f *flow) {
	for _, set := range q.planner.With(f.files) {
		f.spots = append(f.spots, &spot{flow: f, line: q.lineOf[set]})
	}
}

// refresh keeps the lines true: in them are the flows that have requests which
// may run and no worker that takes them. Those whose files no worker has are
// missing.
func (q *queue) refresh(f *flow) {
	waits := f.waiting > 0 && len(f.open) == 0 && !f.capped()
	f.position, f.leads = f.reckon()
	for _, p := range f.spots {
		if waits {
			p.line.spots.Fix(p)
		} else {
			p.line.spots.Remove(p)
		}
	}
	if waits && len(f.spots) == 0 {
		q.missing.Fix(f)
	} else {
		q.missing.Remove(f)
	}
}

// anyWaits reports whether a flow waits for a worker that is up.
func (q *queue) anyWaits() bool {
	return slices.ContainsFunc(q.lines, func(l *line) bool { return l.spots.Len() > 0 })
}
