package sched

import (
	"cmp"
	"maps"
	"slices"

	"github.com/loragate/loragate/internal/lru"
	"github.com/loragate/loragate/internal/sched/cost"
	"github.com/loragate/loragate/internal/sched/task"
)

// device is what workers share the speed of: a GPU, or the host's processors.
type device struct {
	name     string
	workers  []*worker
	inFlight int
	busy     int           // workers on which something runs
	load     cost.Integral // of busy
	costs    cost.Model
}

// worker is one worker that is up.
type worker struct {
	id     int
	device *device
	line   *line // of those that wait for what it has loaded
	flow   *flow // whose identity is applied, or about to be; never a whole one

	slots    []slot
	adjacent bool                    // see Options.Adjacent
	unused   *lru.Set[int, struct{}] // the slots by last use; busy ones are pinned
	inFlight int

	// A worker is open when it takes requests of its flow. It is not while one
	// request has it whole, while it is kept from requests (suspended by the owner,
	// drained by an operator, reloading), and while it is closing: others wait and
	// its flow has had its turn.
	isOpen    bool
	whole     bool
	suspended bool
	drained   bool
	reloading bool // it ends once it is idle, to load something else
	closing   bool
	handover  bool // it closes for a flow that has fewer workers than its own

	turnStart  task.Time
	turnTokens float64
	changed    task.Time     // when its identity was changed last; Never if it was not
	load       cost.Integral // of inFlight
}

func (w *worker) free() int  { return w.unused.IdleLen() }
func (w *worker) idle() bool { return w.inFlight == 0 && !w.kept() }

// count notes that a request begins on the worker, or with -1 that one has ended.
func (w *worker) count(more int, now task.Time) {
	d := w.device
	w.load.At(now, w.inFlight)
	d.load.At(now, d.busy)
	if w.inFlight == 0 {
		d.busy++
	}
	w.inFlight, d.inFlight = w.inFlight+more, d.inFlight+more
	if w.inFlight == 0 {
		d.busy--
	}
}

// lose forgets a worker of the device, with what runs on it.
func (d *device) lose(w *worker, now task.Time) {
	d.load.At(now, d.busy)
	d.inFlight -= w.inFlight
	if w.inFlight > 0 {
		d.busy--
	}
	d.workers = slices.DeleteFunc(d.workers, func(x *worker) bool { return x == w })
}

// kept reports whether the worker is kept from new requests.
func (w *worker) kept() bool { return w.suspended || w.drained || w.reloading }

// expiry is when others may have the worker.
func (fl *fleet) expiry(w *worker) task.Time {
	return w.turnStart + task.Time(float64(fl.quantum(w.device))*w.flow.weight)
}

// Up takes in a worker that can serve: nothing is in its slots, the base is in
// force, and what Plan said is loaded. Workers of one device share its speed.
func (s *Scheduler) Up(id, slots int, on string, now task.Time) {
	s.Down(id, now)
	d, ok := s.fleet.devices[on]
	if !ok {
		d = &device{name: on, costs: cost.New(s.opts.Together), load: cost.NewIntegral(now)}
		s.fleet.devices[on] = d
	}
	w := &worker{id: id, device: d, slots: make([]slot, slots), adjacent: s.opts.Adjacent, unused: lru.New[int, struct{}](slots), turnStart: now,
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
		s.hold(o, now)
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
	s.fleet.applied.Remove(id)
	delete(s.fleet.workers, id)
	s.fleet.list = slices.DeleteFunc(s.fleet.list, func(x *worker) bool { return x == w })
	for i := range w.slots {
		w.slots[i].disown()
	}
	for _, t := range slices.Sorted(maps.Keys(s.running)) {
		if r := s.running[t]; r.worker == w {
			delete(s.running, t)
			r.lane.give(-r.expected) // it runs again
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

// apply makes f the flow whose identity is in force on an idle worker and begins
// its turn.
func (fl *fleet) apply(w *worker, f *flow, now task.Time) {
	if old := w.flow; old != f {
		if old != nil {
			fl.close(w, now)
		}
		w.flow = f
		f.applied++
		fl.applied.Put(w.id, f) // there is room for all workers
		if old != nil {
			old.applied--
			fl.queue.forget(old, now)
		}
	}
	w.closing, w.handover = false, false
	w.turnStart, w.turnTokens = now, 0
	fl.reopen(w, now)
}

// reopen keeps the flow's list of open workers true.
func (fl *fleet) reopen(w *worker, now task.Time) {
	want := !w.whole && !w.kept() && !w.closing
	if want == w.isOpen {
		return
	}
	if !want {
		fl.close(w, now)
		return
	}
	w.isOpen = true
	w.flow.open = append(w.flow.open, w)
	fl.queue.touch(w.flow)
}

// close takes an open worker from its flow, which begins to wait if it has no
// other.
func (fl *fleet) close(w *worker, now task.Time) {
	if !w.isOpen {
		return
	}
	f := w.flow
	w.isOpen = false
	f.open = slices.DeleteFunc(f.open, func(x *worker) bool { return x == w })
	if len(f.open) == 0 {
		f.waitFrom(now)
	}
	fl.queue.refresh(f)
}

// occupy gives a request its slots on w and returns what must be erased first.
func (fl *fleet) occupy(w *worker, r *request, slots []int, now task.Time) (erase []int) {
	owner := w.flow
	for _, n := range slots {
		sl := &w.slots[n]
		stranger := sl.tainted || sl.owner != nil && (sl.owner != owner || sl.scope != r.Scope || r.Whole)
		if stranger {
			erase = append(erase, n)
		}
		fl.hand(sl, owner, r, now)
		sl.busy = true
		w.unused.Pin(n)
	}
	if w.inFlight == 0 {
		fl.applied.Pin(w.id)
	}
	w.count(+1, now)
	return erase
}

// hand gives a slot to a request's conversation. What a whole request leaves
// there nobody knows.
func (fl *fleet) hand(sl *slot, owner *flow, r *request, now task.Time) {
	old := sl.owner
	if old != nil && (old != owner || !shares(sl.chain, r.Chain)) {
		fl.counts.KVLost += uint64(sl.tokens)
	}
	if r.Whole {
		sl.taint()
	} else {
		sl.own(owner, r.Chain, r.Scope)
	}
	if old != nil && old != owner {
		fl.queue.forget(old, now)
	}
}

// shares reports whether two conversations begin alike.
func shares(a, b task.Chain) bool { return len(a) > 0 && len(b) > 0 && a[0].Hash == b[0].Hash }

// release ends the use of a slot.
func (w *worker) release(n int, u task.Usage) {
	sl := &w.slots[n]
	sl.busy = false
	w.unused.Unpin(n)
	if sl.owner != nil {
		sl.tokens = u.Prompt + u.Completion
	}
}

// unload takes one request off a worker.
func (fl *fleet) unload(w *worker, now task.Time) {
	w.count(-1, now)
	if w.inFlight > 0 {
		return
	}
	fl.applied.Unpin(w.id)
	if w.whole {
		w.whole = false
		fl.reopen(w, now)
	}
}
