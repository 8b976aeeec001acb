package sched

import (
	"slices"

	"github.com/loragate/loragate/internal/residency"
)

// line is the line of flows that wait for one of the workers which have loaded the same.
type line struct {
	set   *residency.Set
	spots heap[*spot] // first the flow whose turn it is
}

// spot is a flow's place in one line.
type spot struct {
	flow  *flow
	line  *line
	index int // in the heap, one-based; 0 is not there
}

func newLine(set *residency.Set) *line {
	return &line{set: set, spots: heap[*spot]{
		less:  func(a, b *spot) bool { return a.flow.before(b.flow) },
		index: func(p *spot) *int { return &p.index },
	}}
}

// holds reports whether the worker has loaded what the flow needs, and may be
// given it.
func (w *worker) holds(f *flow) bool {
	return slices.ContainsFunc(f.spots, func(p *spot) bool { return p.line == w.line })
}

// wanted reports whether a flow waits for a worker that has loaded what this one
// has.
func (w *worker) wanted() bool { return w.line.spots.len() > 0 }

// settle puts a worker where its files are; one that is drained has a line of its own,
// in which nobody waits.
func (s *Scheduler) settle(w *worker, set *residency.Set) {
	if w.drained {
		w.line = newLine(set)
		return
	}
	if w.line = s.lineOf[set]; w.line != nil {
		return
	}
	w.line = newLine(set)
	s.lines, s.lineOf[set] = append(s.lines, w.line), w.line
	var holders []*flow
	for _, f := range s.flows {
		if set.Holds(f.files) {
			holders = append(holders, f)
		}
	}
	sortFlows(holders)
	for _, f := range holders {
		f.spots = append(f.spots, &spot{flow: f, line: w.line})
		s.refresh(f)
	}
}

// abandon ends a line when no worker has its files any more. What it costs does not
// matter: that happens seldom.
func (s *Scheduler) abandon(l *line) {
	if l.set.Workers() > 0 || s.lineOf[l.set] != l {
		return
	}
	delete(s.lineOf, l.set)
	s.lines = slices.DeleteFunc(s.lines, func(x *line) bool { return x == l })
	var holders []*flow
	for _, f := range s.flows {
		if slices.ContainsFunc(f.spots, func(p *spot) bool { return p.line == l }) {
			holders = append(holders, f)
		}
	}
	sortFlows(holders)
	for _, f := range holders {
		f.spots = slices.DeleteFunc(f.spots, func(p *spot) bool { return p.line == l })
		s.refresh(f)
	}
}

// locate finds the lines of workers that have what a new flow needs.
func (s *Scheduler) locate(f *flow) {
	for _, set := range s.residency.With(f.files) {
		f.spots = append(f.spots, &spot{flow: f, line: s.lineOf[set]})
	}
}

// refresh keeps the lines true: in them are the flows that have requests which
// may run and no worker that takes them. Those whose files no worker has are
// missing.
func (s *Scheduler) refresh(f *flow) {
	waits := f.waiting > 0 && len(f.open) == 0 && !f.capped()
	f.place, f.leads = f.reckon()
	for _, p := range f.spots {
		if waits {
			p.line.spots.fix(p)
		} else {
			p.line.spots.remove(p)
		}
	}
	if waits && len(f.spots) == 0 {
		s.missing.fix(f)
	} else {
		s.missing.remove(f)
	}
}

// anyWaits reports whether a flow waits for a worker that is up.
func (s *Scheduler) anyWaits() bool {
	return slices.ContainsFunc(s.lines, func(l *line) bool { return l.spots.len() > 0 })
}
