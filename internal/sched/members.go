package sched

import (
	"cmp"
	"maps"
	"slices"

	"github.com/loragate/loragate/internal/lru"
	"github.com/loragate/loragate/internal/residency"
	"github.com/loragate/loragate/internal/sched/cost"
	"github.com/loragate/loragate/internal/sched/task"
)

// Up takes in a worker that can serve: nothing is in its slots, the base is in
// force, and what Plan said is loaded. Workers of one device share its speed.
func (s *Scheduler) Up(id, slots int, on string, now task.Time) {
	s.Down(id, now)
	d, ok := s.fleet.devices[on]
	if !ok {
		d = &device{name: on, costs: cost.New(s.opts.Together), load: cost.NewIntegral(now)}
		s.fleet.devices[on] = d
	}
	w := &worker{id: id, device: d, slots: make([]slot, slots), adjacent: s.opts.Adjacent,
		unused: lru.New[int, struct{}](slots), turnStart: now,
		changed: task.Never, load: cost.NewIntegral(now)}
	d.workers = append(d.workers, w)
	for i := range w.slots {
		w.slots[i] = slot{worker: w, number: i}
		w.unused.Put(i, struct{}{})
	}
	w.drained = s.residency.Drained(id)
	s.queue.settle(w, s.residency.Up(id, now))
	s.fleet.workers[id] = w
	s.fleet.list = append(s.fleet.list, w)
	slices.SortFunc(s.fleet.list, func(a, b *worker) int { return cmp.Compare(a.id, b.id) })
	s.fleet.apply(w, s.queue.flow(flowKey{identity: task.Base}, nil, now), now)
	for _, o := range s.residency.Orders() {
		s.fleet.hold(o.Worker, o.Kind == residency.Hold, now)
	}
}

// Down forgets a worker and what runs on it: Finish of that is ignored.
func (s *Scheduler) Down(id int, now task.Time) {
	w, ok := s.fleet.workers[id]
	if !ok {
		return
	}
	w.suspended = true
	s.fleet.reopen(w, now)
	s.fleet.byUse.Remove(w)
	delete(s.fleet.workers, id)
	s.fleet.list = slices.DeleteFunc(s.fleet.list, func(x *worker) bool { return x == w })
	for i := range w.slots {
		w.slots[i].disown()
	}
	for _, t := range slices.Sorted(maps.Keys(s.running)) {
		if r := s.running[t]; r.worker == w {
			delete(s.running, t)
			r.lane.charge(-r.expected) // it runs again
			r.flow.running--
			s.queue.touch(r.flow)
			s.queue.forget(r.flow, now)
		}
	}
	w.device.lose(w, now)
	w.flow.applied--
	s.queue.forget(w.flow, now)
	s.residency.Down(id, now)
	s.queue.abandon(w.line)
}

// Suspend keeps new requests from a worker until Resume.
func (s *Scheduler) Suspend(id int, now task.Time) { s.setSuspended(id, true, now) }

// Resume ends a Suspend.
func (s *Scheduler) Resume(id int, now task.Time) { s.setSuspended(id, false, now) }

func (s *Scheduler) setSuspended(id int, suspended bool, now task.Time) {
	if w, ok := s.fleet.workers[id]; ok {
		w.suspended = suspended
		if !suspended {
			s.residency.Noticed() // it may have been passed over
		}
		s.fleet.reopen(w, now)
	}
}
