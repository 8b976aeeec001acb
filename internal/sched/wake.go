package sched

import "github.com/loragate/loragate/internal/sched/task"

// wake is the next moment at which time alone changes a decision.
func (d *decision) wake() task.Time {
	s := d.s
	next := task.Never
	at := func(t task.Time) {
		if t > d.now {
			next = min(next, t)
		}
	}
	waits := d.wakeForLines(at)
	if waits {
		d.wakeForTurns(at)
	}
	s.residency.Wake(at)
	if !waits || len(s.queue.lines) > 1 {
		d.wakeForScaleOut(at)
	}
	return next
}

// wakeForLines names the moments at which those that wait stand before those that have a
// worker. It reports whether anybody waits in a line.
func (d *decision) wakeForLines(at func(task.Time)) (waits bool) {
	for _, l := range d.s.queue.lines {
		for _, p := range d.foremost(l) {
			waits = true
			d.wakeForFlow(p.flow, at)
		}
	}
	return waits
}

func (d *decision) wakeForFlow(f *flow, at func(task.Time)) {
	for _, w := range d.s.fleet.list {
		if !w.isOpen || w.inFlight == 0 {
			continue
		}
		at(d.overdue(f, w))
		if len(d.s.queue.priorities) == 1 {
			return // it is the same for all
		}
	}
}

// wakeForTurns names the ends of the turns of busy workers.
func (d *decision) wakeForTurns(at func(task.Time)) {
	for _, w := range d.s.fleet.list {
		if w.isOpen && w.inFlight > 0 {
			at(d.s.fleet.expiry(w))
		}
	}
}

// wakeForScaleOut names the moments at which identities with more requests than slots are
// helped, or are handed a worker.
func (d *decision) wakeForScaleOut(at func(task.Time)) {
	for _, f := range d.s.fleet.crowded() {
		at(f.head.Since + d.s.fleet.scaleOutAfter())
		for _, w := range d.s.fleet.list { // one of them may be handed over
			if w.isOpen && len(w.flow.open) > 1 {
				at(d.s.fleet.expiry(w))
			}
		}
	}
}

// foremost are the flows of a line whose turn could be next: the first, or with
// several priorities as many as there are workers.
func (d *decision) foremost(l *line) []*spot {
	if len(d.s.queue.priorities) > 1 {
		return l.spots.Least(l.set.Workers(), func(*spot) bool { return true })
	}
	return l.spots.Items()[:min(1, len(l.spots.Items()))]
}
