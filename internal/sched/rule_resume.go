package sched

import (
	"cmp"
	"slices"
)

// reopenRest opens workers again that were closed for flows that no longer wait:
// nothing would come of draining them.
func (d *decision) reopenRest() {
	for d.closed() {
		w := d.lastClosed()
		if w == nil {
			return
		}
		w.closing, w.handover = false, false
		d.s.fleet.reopen(w, d.now)
		d.fillDirty()
	}
}

// closed reports whether any worker drains for others, or did.
func (d *decision) closed() bool {
	return slices.ContainsFunc(d.s.fleet.list, func(w *worker) bool { return w.closing })
}

// lastClosed returns the closing worker that would take longest to drain, of
// those that nobody needs.
func (d *decision) lastClosed() *worker {
	var best *worker
	_, unused := d.match()
	for _, w := range unused {
		if !w.closing || w.handover && w.inFlight > 0 {
			continue
		}
		if best == nil || cmp.Or(cmp.Compare(w.inFlight, best.inFlight), cmp.Compare(best.id, w.id)) > 0 {
			best = w
		}
	}
	return best
}
