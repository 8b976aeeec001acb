package sched

import (
	"cmp"
	"slices"
)

// cancelDrains opens workers again that were preempted for flows that no longer wait:
// nothing would come of draining them.
func (d *decision) cancelDrains() {
	for d.anyPreempted() {
		w := d.lastPreempted()
		if w == nil {
			return
		}
		w.preempted, w.handover = false, false
		d.s.fleet.reopen(w, d.now)
		d.joinTouched()
	}
}

// anyPreempted reports whether any worker drains for others, or did.
func (d *decision) anyPreempted() bool {
	return slices.ContainsFunc(d.s.fleet.list, func(w *worker) bool { return w.preempted })
}

// lastPreempted returns the draining worker that would take longest to drain, of
// those that nobody needs.
func (d *decision) lastPreempted() *worker {
	var best *worker
	_, unused := d.match()
	for _, w := range unused {
		if !w.preempted || w.handover && w.inFlight > 0 {
			continue
		}
		if best == nil || cmp.Or(cmp.Compare(w.inFlight, best.inFlight), cmp.Compare(best.id, w.id)) > 0 {
			best = w
		}
	}
	return best
}
