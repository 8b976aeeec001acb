package sched

import (
	"cmp"
	"slices"
	"time"

	"github.com/loragate/loragate/internal/sched/task"
)

// scaleOut takes idle workers for flows that have more requests than slots, when
// nobody waits for a first one. On another device that is a gain at once; on the
// same one it splits the batch, which pays only if requests would wait long.
func (d *decision) scaleOut() {
	s := d.s
	if s.fleet.byUse.IdleLen() == 0 {
		return
	}
	for _, f := range s.fleet.crowded() {
		for f.waiting > 0 && !f.capped() {
			w, sl := d.idleFor(f)
			if w == nil || w.wanted() || w.isOpen && w.flow == f {
				break
			}
			if f.sharesDevice(w) && d.now < f.head.Since+s.fleet.scaleOutAfter() && !d.paysOff(f, w) {
				break
			}
			d.take(w, sl, f)
		}
	}
}

// autoScaleOutAfter is how long requests wait before their identity gets a second worker
// of a device on which that gains nothing but a shorter wait.
const autoScaleOutAfter = 200 * time.Millisecond

// scaleOutAfter is how long requests wait before their flow gets a second worker of a
// device whatever that gains.
func (fl *fleet) scaleOutAfter() time.Duration {
	if fl.opts.ScaleOutAfter == task.Auto {
		return autoScaleOutAfter
	}
	return fl.opts.ScaleOutAfter
}

// paysOff reports whether an idle worker is worth taking at once for the requests of a
// crowded flow: the device has been measured to get more done with it, and a slot will
// not be free sooner than its adapter is changed.
func (d *decision) paysOff(f *flow, w *worker) bool {
	c := &w.device.costs
	if d.s.opts.ScaleOutAfter != task.Auto || !c.Known() || d.worthwhile(f, w.device) <= f.busyOn(w.device) {
		return false
	}
	open := f.open[0]
	nextFree := f.usualCost * c.Step(float64(open.inFlight), w.device.busy) / float64(max(1, f.running))
	return w.flow == f || nextFree > c.Swap().Seconds()
}

// crowded returns the flows that have workers and yet requests that wait, those
// with the fewest workers for their weight first. There are no more of them than
// workers.
func (fl *fleet) crowded() []*flow {
	var list []*flow
	for _, w := range fl.list {
		f := w.flow
		if w.isOpen && f.open[0] == w && f.waiting > 0 && !f.capped() {
			list = append(list, f)
		}
	}
	slices.SortFunc(list, func(f, g *flow) int {
		return cmp.Or(
			cmp.Compare(float64(len(f.open)+1)/f.weight, float64(len(g.open)+1)/g.weight),
			cmp.Compare(f.head.Since, g.head.Since),
			cmp.Compare(f.head.Ticket, g.head.Ticket))
	})
	return list
}

func (f *flow) sharesDevice(w *worker) bool {
	return slices.ContainsFunc(f.open, func(x *worker) bool { return x.device == w.device })
}
