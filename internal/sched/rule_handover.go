package sched

import "slices"

// handOver drains a worker of a flow that was scaled out over several, once its turn is
// over, for a flow that has requests waiting and fewer workers for its weight,
// if that leaves them closer.
func (d *decision) handOver() {
	crowded := d.s.fleet.crowded()
	if len(crowded) == 0 || d.s.queue.anyWaits() {
		return
	}
	poor := crowded[0]
	w := d.preemptable(func(w *worker) bool {
		return d.s.fleet.expiry(w) <= d.now && w.holds(poor) && len(w.flow.open) > 1
	})
	if w == nil || w.flow == poor || slices.ContainsFunc(d.s.fleet.list, func(x *worker) bool { return x.handover }) {
		return
	}
	if float64(len(poor.open)+1)/poor.weight < float64(len(w.flow.open))/w.flow.weight {
		w.preempted, w.handover = true, true
		d.s.fleet.reopen(w, d.now)
	}
}
