package sched

import "cmp"

// takeIdle gives idle workers to the flows that wait for one, longest first.
func (d *decision) takeIdle() {
	for {
		f := d.nextInLine()
		if f == nil {
			return
		}
		w, sl := d.idleFor(f)
		d.take(w, sl, f)
	}
}

// nextInLine returns the flow that has waited longest of those for which a worker
// is idle, or nil.
func (d *decision) nextInLine() *flow {
	var next *flow
	for _, w := range d.s.fleet.byUse.Idle() {
		if p, waits := w.line.spots.First(); waits && w.idle() && (next == nil || p.flow.before(next)) {
			next = p.flow
		}
	}
	return next
}

// take runs a flow's first request on an idle worker, and its next ones beside
// it.
func (d *decision) take(w *worker, sl *slot, f *flow) {
	d.place(f.next(), w, sl)
	d.join(f)
}

// idleFor returns the idle worker on which a flow's first request costs least,
// or nil. It is the least recently used one, unless another keeps more warm KV.
func (d *decision) idleFor(f *flow) (*worker, *slot) {
	r := f.next()
	target := d.target(f)
	fits := func(w *worker) bool { return w.idle() && w.holds(f) }
	if sl, _ := target.continues(r.PrefixHashes, fits); sl != nil && !r.Exclusive {
		return sl.worker, sl
	}
	var best *worker
	bestLoss := 0
	for _, w := range d.s.fleet.byUse.Idle() {
		if !fits(w) {
			continue
		}
		loss := w.loss(r)
		if best == nil || cheaper(w, best, target, loss, bestLoss) {
			best, bestLoss = w, loss
		}
	}
	return best, nil
}

// cheaper reports whether to take a rather than b, which was used before it.
func cheaper(a, b *worker, f *flow, lossA, lossB int) bool {
	applied := func(w *worker) int {
		if w.flow == f {
			return 0
		}
		return 1
	}
	return cmp.Or(
		cmp.Compare(a.device.inFlight, b.device.inFlight),
		cmp.Compare(applied(a), applied(b)),
		cmp.Compare(lossA, lossB),
	) < 0
}

// loss is how many tokens of others' KV the request would overwrite on an idle
// worker.
func (w *worker) loss(r *request) int {
	if r.Exclusive {
		lost := 0
		for i := range w.slots {
			lost += w.slots[i].tokens
		}
		return lost
	}
	return w.pick().tokens
}
