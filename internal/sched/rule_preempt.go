package sched

import (
	"cmp"
	"slices"

	"github.com/loragate/loragate/internal/sched/task"
)

func (d *decision) clear() {
	if d.expired(d.turnOver) == nil {
		return
	}
	unmet, _ := d.match()
	for _, f := range unmet {
		if w := d.expired(func(w *worker) bool { return d.turnOver(w) && w.holds(f) && d.overdue(f, w) <= d.now }); w != nil {
			w.closing = true
			d.s.fleet.reopen(w, d.now)
		}
	}
}

func (d *decision) overdue(f *flow, w *worker) task.Time {
	priority, any := w.flow.lanes.top()
	if !any {
		priority = f.leads
	}
	return f.place + task.Time(priority)*d.s.opts.HeadStart
}

func (d *decision) match() (unmet []*flow, unused []*worker) {
	unused = d.coming()
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

func (d *decision) due() []*flow {
	latest := d.now - task.Time(d.s.queue.leastPriority())*d.s.opts.HeadStart
	var list []*flow
	for _, l := range d.s.queue.lines {
		for _, p := range l.spots.Least(l.set.Workers(), func(p *spot) bool { return p.flow.place <= latest }) {
			if len(p.flow.spots) == 1 || !slices.Contains(list, p.flow) {
				list = append(list, p.flow)
			}
		}
	}
	if len(d.s.queue.lines) > 1 {
		slices.SortFunc(list, func(f, g *flow) int { return cmp.Compare(f.place, g.place) })
	}
	return list
}

func (d *decision) coming() []*worker {
	var list []*worker
	for _, w := range d.s.fleet.list {
		if w.idle() || !w.kept() && (w.closing || w.whole) {
			list = append(list, w)
		}
	}
	slices.SortStableFunc(list, func(a, b *worker) int { return cmp.Compare(a.inFlight, b.inFlight) })
	return list
}

func (d *decision) turnOver(w *worker) bool {
	return d.s.fleet.expiry(w) <= d.now || d.s.opts.Spread == task.Auto && len(w.flow.open) > 1
}

func (d *decision) expired(fits func(*worker) bool) *worker {
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
