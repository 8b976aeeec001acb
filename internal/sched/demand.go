package sched

import (
	"iter"

	"github.com/loragate/loragate/internal/residency"
	"github.com/loragate/loragate/internal/residency/stock"
	"github.com/loragate/loragate/internal/sched/task"
)

// demand tells the residency's planner what waits and where something runs.
type demand struct{ *Scheduler }

func (d demand) Pressure() residency.Pressure {
	p := residency.Pressure{
		Missing: d.queue.missing.Len(), Waiting: d.queue.longest.Len(), Idle: d.fleet.byUse.IdleLen(),
	}
	if f, any := d.queue.missing.First(); any {
		p.Longest = f.position
	}
	return p
}

func (d demand) Waiting() []residency.Waiter {
	list := make([]residency.Waiter, len(d.queue.longest.Items()))
	for i, f := range d.queue.longest.Items() {
		list[i] = f.waiter()
	}
	return list
}

func (d demand) Missing(limit int) []residency.Waiter {
	flows := d.queue.missing.Items()
	if limit > 0 {
		flows = flows[:min(len(flows), limit)]
	}
	list := make([]residency.Waiter, len(flows))
	for i, f := range flows {
		list[i] = f.waiter()
	}
	return list
}

// waiter is what waits of a flow that has waiting requests.
func (f *flow) waiter() residency.Waiter {
	w := residency.Waiter{
		Files: f.files, Requests: f.waiting, Since: task.Never, Ticket: uint64(f.head.Ticket), Oldest: f.head.Since,
		Missing: f.missingIndex != 0, Loaded: len(f.spots) > 0, Capped: f.capped(),
	}
	if len(f.open) == 0 {
		w.Since = f.position
	}
	if len(f.spots) == 1 {
		w.Only = f.spots[0].line.set
	}
	return w
}

func (d demand) Candidates() (list []residency.Candidate) {
	for _, w := range d.fleet.list {
		if !w.kept() {
			list = append(list, residency.Candidate{
				Worker: w.id, InFlight: w.inFlight, TurnBegan: w.turnStart, Wanted: w.wanted(),
			})
		}
	}
	return list
}

func (d demand) Running(id int) (requests int, up bool) {
	w, up := d.fleet.workers[id]
	if !up {
		return 0, false
	}
	return w.inFlight, true
}

func (d demand) Needed() iter.Seq[[]stock.File] {
	return func(yield func([]stock.File) bool) {
		for _, f := range d.queue.flows {
			if !f.idle() && !yield(f.files) {
				return
			}
		}
	}
}
