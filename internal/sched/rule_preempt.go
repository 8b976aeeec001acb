package sched

import (
	"cmp"
	"slices"

	"github.com/loragate/loragate/internal/sched/task"
)

// preempt drains workers whose flows have had their turn, for flows that are due
// and will not have an idle one.
func (d *decision) preempt() {
	if d.preemptable(d.turnOver) == nil {
		return
	}
	unmet, _ := d.match()
	for _, f := range unmet {
		w := d.preemptable(func(w *worker) bool {
			return d.turnOver(w) && w.holds(f) && d.overdue(f, w) <= d.now
		})
		if w != nil {
			w.preempted = true
			d.s.fleet.reopen(w, d.now)
		}
	}
}

// overdue is when a flow that waits stands before the one that has a worker, if that
// came back to the line: to drain the worker before would be in vain, because the
// other would get it back. One that has nothing waiting does not come back.
func (d *decision) overdue(f *flow, w *worker) task.Time {
	priority, any := w.flow.lanes.top()
	if !any {
		priority = f.leads
	}
	return f.position + task.Time(priority)*d.s.opts.Aging
}

// match pairs the flows that are due with workers that are idle or will be. It
// returns the flows that are left, longest wait first, and the workers that are.
func (d *decision) match() (unmet []*flow, unused []*worker) {
	unused = d.soonIdle()
	for _, f := range d.due() {
		i := slices.IndexFunc(unused, func(w *worker) bool { return w.holds(f) })
		if i < 0 {
			unmet = append(unmet, f)
			continue
		}
		unused = slices.Delete(unused, i, i+1)
	}
	return unmet, unused
}

// due returns flows that should have a worker by now, or could if its flow has a
// lower priority, longest wait first: no more of a line than there are workers.
func (d *decision) due() []*flow {
	latest := d.now - task.Time(d.s.queue.leastPriority())*d.s.opts.Aging
	var list []*flow
	for _, l := range d.s.queue.lines {
		for _, p := range l.spots.Least(l.set.Workers(), func(p *spot) bool { return p.flow.position <= latest }) {
			if len(p.flow.spots) == 1 || !slices.Contains(list, p.flow) {
				list = append(list, p.flow)
			}
		}
	}
	if len(d.s.queue.lines) > 1 {
		slices.SortFunc(list, func(f, g *flow) int { return cmp.Compare(f.position, g.position) })
	}
	return list
}

// soonIdle returns the workers that are idle, then those that drain for somebody or
// run one request that will leave them idle, those with least to do first.
func (d *decision) soonIdle() []*worker {
	var list []*worker
	for _, w := range d.s.fleet.list {
		if w.idle() || !w.kept() && (w.preempted || w.exclusive) {
			list = append(list, w)
		}
	}
	slices.SortStableFunc(list, func(a, b *worker) int { return cmp.Compare(a.inFlight, b.inFlight) })
	return list
}

// turnOver reports whether a busy worker may be preempted for a flow that has none: its
// flow has had its turn, or, if it took a further worker because that was measured to
// gain something, has another one.
func (d *decision) turnOver(w *worker) bool {
	return d.s.fleet.expiry(w) <= d.now || d.s.opts.ScaleOutAfter == task.Auto && len(w.flow.open) > 1
}

// preemptable returns the open worker to preempt next, or nil: of those that fit one of the
// flow that has the most, and of these the one whose turn is, or will be, over first.
func (d *decision) preemptable(fits func(*worker) bool) *worker {
	var best *worker
	for _, w := range d.s.fleet.list {
		if !w.isOpen || w.inFlight == 0 || !fits(w) {
			continue
		}
		if best == nil || cmp.Or(
			cmp.Compare(len(best.flow.open), len(w.flow.open)),
			cmp.Compare(d.s.fleet.expiry(w), d.s.fleet.expiry(best)),
			cmp.Compare(w.id, best.id),
		) < 0 {
			best = w
		}
	}
	return best
}
