package sched

import (
	"github.com/loragate/loragate/internal/residency"
	"github.com/loragate/loragate/internal/sched/task"
)

// reload takes the next step of the reload that is under way, or begins one. It
// reports whether a busy worker takes no more requests from now on, or does so
// again: that may change what others are to do.
func (d *decision) reload() (changed bool) {
	orders, changed := d.s.residency.Step(d.now)
	for _, o := range orders {
		switch o.Kind {
		case residency.Reload:
			d.s.counts.Reloads++
			d.actions = append(d.actions, task.Action{Kind: task.Reload, Worker: o.Worker})
		case residency.Start:
			d.s.counts.Reloads++
			d.actions = append(d.actions, task.Action{Kind: task.Start, Worker: o.Worker, InPlaceOf: o.InPlaceOf})
		case residency.Retire:
			d.actions = append(d.actions, task.Action{Kind: task.Retire, Worker: o.Worker})
		default:
			d.s.fleet.hold(o.Worker, o.Kind == residency.Hold, d.now)
		}
	}
	return changed
}
