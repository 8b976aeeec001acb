package sched

import "cmp"

// joinTouched gives flows that may be servable the free slots of their workers.
func (d *decision) joinTouched() {
	for len(d.s.queue.dirty) > 0 {
		last := len(d.s.queue.dirty) - 1
		f := d.s.queue.dirty[last]
		d.s.queue.dirty = d.s.queue.dirty[:last]
		f.touched = false
		d.join(f)
	}
}

// join serves a flow's requests in their order while an open worker has a free
// slot.
func (d *decision) join(f *flow) {
	for f.waiting > 0 && !f.capped() {
		r := f.next()
		w, sl := d.joinable(f, r)
		if w == nil {
			return
		}
		d.place(r, w, sl)
	}
}

// worthASwap is how many bytes of a conversation are worth a swap: reading so much
// again takes longer than the few milliseconds of a swap.
const worthASwap = 2 << 10

// joinable returns the worker to serve a request on without waiting, and the slot
// that continues its conversation, if there is one.
func (d *decision) joinable(f *flow, r *request) (*worker, *slot) {
	open := func(w *worker) bool { return w.isOpen && w.flow == f && w.free() > 0 }
	if sl, _ := f.continues(r.PrefixHashes, open); sl != nil {
		return sl.worker, sl
	}
	var best *worker
	for _, w := range f.open {
		if w.free() > 0 && (best == nil || fuller(w, best) < 0) {
			best = w
		}
	}
	if best == nil {
		return nil, nil
	}
	// One for which nobody waits and that has the conversation is better.
	elsewhere := func(w *worker) bool { return w.idle() && w.flow != f && !w.wanted() }
	if sl, warm := f.continues(r.PrefixHashes, elsewhere); sl != nil && warm >= worthASwap {
		return sl.worker, sl
	}
	return d.better(f, best), nil
}

// fuller orders a flow's workers by where one more request costs least: on the
// device with the least to do, and there on the worker with the most, so that
// batches are large and other workers become idle.
func fuller(a, b *worker) int {
	return cmp.Or(
		cmp.Compare(a.device.inFlight, b.device.inFlight),
		cmp.Compare(b.inFlight, a.inFlight),
		cmp.Compare(a.id, b.id),
	)
}
