package sched

import "github.com/loragate/loragate/internal/sched/task"

// decision is one call of Decide.
type decision struct {
	s       *Scheduler
	now     task.Time
	actions []task.Action
}

// place runs a request on a worker: in sl, or where it costs least.
func (d *decision) place(r *request, w *worker, sl *slot) {
	s, f := d.s, r.flow
	target := d.target(f)
	a := task.Action{Kind: task.Serve, Ticket: r.Ticket, Worker: w.id, Slot: task.NoSlot, Missed: r.missed}
	fresh := w.flow != target || w.inFlight == 0
	if w.flow != target {
		a.Kind = task.Swap
		s.counts.Swaps++
		w.changed = d.now
	}
	// A worker that has just finished its flow's last request goes on with its turn
	// if others wait: one that ran idle for moments would never have had it.
	if w.flow != target || w.inFlight == 0 && !w.wanted() {
		s.fleet.apply(w, target, d.now)
	}
	if r.Exclusive || r.Alone {
		w.exclusive = true
		s.fleet.reopen(w, d.now)
	}
	if r.Exclusive {
		a.Slots = w.allSlots()
	} else {
		if sl == nil {
			sl = w.pick()
		}
		a.Slots, a.Slot = []int{sl.number}, sl.number
		a.Warm = d.countWarm(sl, r)
	}
	a.Erase = s.fleet.occupy(w, r, a.Slots, d.now)
	s.residency.Use(f.files, d.now)
	r.lane.begin(f.usualCost, d.now)
	s.running[r.Ticket] = &run{
		flow: f, lane: r.lane, worker: w, slots: a.Slots, started: d.now, expected: f.usualCost,
		swap: w.swapOf(d.now), beside: w.inFlight - 1, warm: a.Warm > 0, alone: r.Alone && !r.Exclusive,
		load: w.load.Sum(), deviceLoad: w.device.load.Sum(),
	}
	f.running++
	if f.key.exclusive { // its next one waits anew
		f.waitFrom(d.now)
	}
	s.queue.dequeue(r)
	if fresh {
		s.queue.turn(r, d.now)
	}
	d.actions = append(d.actions, a)
}

func (w *worker) allSlots() []int {
	all := make([]int, len(w.slots))
	for i := range all {
		all[i] = i
	}
	return all
}

// target is the flow whose identity a worker applies to run f's requests.
func (d *decision) target(f *flow) *flow {
	if !f.key.exclusive {
		return f
	}
	return d.s.queue.flow(flowKey{identity: f.key.identity}, f.files, d.now)
}

// countWarm returns how many bytes of the request's prompt the slot holds.
func (d *decision) countWarm(sl *slot, r *request) int {
	if len(r.PrefixHashes) == 0 {
		return 0
	}
	warm := 0
	if sl.owner == r.flow {
		for i := range min(len(sl.prefixes), len(r.PrefixHashes)) {
			if sl.prefixes[i].Hash != r.PrefixHashes[i].Hash {
				break
			}
			warm = r.PrefixHashes[i].Bytes
		}
	}
	if warm > 0 {
		d.s.counts.WarmHits++
	} else {
		d.s.counts.WarmMisses++
	}
	return warm
}
