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
	waits := false
	for _, l := range s.queue.lines {
		for _, p := range d.foremost(l) {
			waits = true
			for _, w := range s.fleet.list {
				if w.isOpen && w.inFlight > 0 {
					at(d.overdue(p.flow, w))
					if len(s.queue.priorities) == 1 {
						break // it is the same for all
					}
				}
			}
		}
	}
	for _, w := range s.fleet.list {
		if waits && w.isOpen && w.inFlight > 0 {
			at(s.fleet.expiry(w))
		}
	}
	s.residency.Wake(at)
	if waits && len(s.queue.lines) == 1 {
		return next
	}
	for _, f := range s.fleet.crowded() {
		at(f.head.Since + s.fleet.scaleOutAfter())
		for _, w := range s.fleet.list { // one of them may be handed over
			if w.isOpen && len(w.flow.open) > 1 {
				at(s.fleet.expiry(w))
			}
		}
	}
	return next
}

// foremost are the flows of a line whose turn could be next: the first, or with
// several priorities as many as there are workers.
func (d *decision) foremost(l *line) []*spot {
	if len(d.s.queue.priorities) > 1 {
		return l.spots.Least(l.set.Workers(), func(*spot) bool { return true })
	}
	return l.spots.Items()[:min(1, len(l.spots.Items()))]
}
