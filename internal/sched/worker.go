package sched

import (
	"cmp"
	"maps"
	"slices"

	"github.com/loragate/loragate/internal/lru"
)

// device is what workers share the speed of: a GPU, or the host's processors.
type device struct {
	name     string
	workers  []*worker
	inFlight int
	busy     int      // workers on which something runs
	load     integral // of busy
	costs    costs
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

	turnStart  Time
	turnTokens float64
	changed    Time     // when its identity was changed last; Never if it was not
	load       integral // of inFlight
}

func (w *worker) free() int  { return w.unused.IdleLen() }
func (w *worker) idle() bool { return w.inFlight == 0 && !w.kept() }

// count notes that a request begins on the worker, or with -1 that one has ended.
func (w *worker) count(more int, now Time) {
	d := w.device
	w.load.at(now, w.inFlight)
	d.load.at(now, d.busy)
	if w.inFlight == 0 {
		d.busy++
	}
	w.inFlight, d.inFlight = w.inFlight+more, d.inFlight+more
	if w.inFlight == 0 {
		d.busy--
	}
}

// lose forgets a worker of the device, with what runs on it.
func (d *device) lose(w *worker, now Time) {
	d.load.at(now, d.busy)
	d.inFlight -= w.inFlight
	if w.inFlight > 0 {
		d.busy--
	}
	d.workers = slices.DeleteFunc(d.workers, func(x *worker) bool { return x == w })
}

// kept reports whether the worker is kept from new requests.
func (w *worker) kept() bool { return w.suspended || w.drained || w.reloading }

// expiry is when others may have the worker.
func (s *Scheduler) expiry(w *worker) Time {
	return w.turnStart + Time(float64(s.quantum(w.device))*w.flow.weight)
}

// Up takes in a worker that can serve: nothing is in its slots, the base is in
// force, and what Plan said is loaded. Workers of one device share its speed.
func (s *Scheduler) Up(id, slots int, on string, now Time) {
	s.Down(id, now)
	d, ok := s.devices[on]
	if !ok {
		d = &device{name: on, costs: newCosts(s.opts.Together), load: integral{last: now}}
		s.devices[on] = d
	}
	w := &worker{id: id, device: d, slots: make([]slot, slots), adjacent: s.opts.Adjacent, unused: lru.New[int, struct{}](slots), turnStart: now,
		changed: Never, load: integral{last: now}}
	d.workers = append(d.workers, w)
	for i := range w.slots {
		w.slots[i] = slot{worker: w, number: i}
		w.unused.Put(i, struct{}{})
	}
	w.drained = s.residency.Drained(id)
	s.settle(w, s.residency.Up(id, now))
	s.workers[id] = w
	s.list = append(s.list, w)
	slices.SortFunc(s.list, func(a, b *worker) int { return cmp.Compare(a.id, b.id) })
	s.apply(w, s.flow(flowKey{identity: Base}, nil, now), now)
	for _, o := range s.residency.Orders() {
		s.hold(o, now)
	}
}

// Down forgets a worker and what runs on it: Finish of that is ignored.
func (s *Scheduler) Down(id int, now Time) {
	w, ok := s.workers[id]
	if !ok {
		return
	}
	w.suspended = true
	s.reopen(w, now)
	s.applied.Remove(id)
	delete(s.workers, id)
	s.list = slices.DeleteFunc(s.list, func(x *worker) bool { return x == w })
	for i := range w.slots {
		w.slots[i].disown()
	}
	for _, t := range slices.Sorted(maps.Keys(s.running)) {
		if r := s.running[t]; r.worker == w {
			delete(s.running, t)
			r.lane.give(-r.expected) // it runs again
			r.flow.running--
			s.touch(r.flow)
			s.forget(r.flow, now)
		}
	}
	w.device.lose(w, now)
	w.flow.applied--
	s.forget(w.flow, now)
	s.residency.Down(id, now)
	s.abandon(w.line)
}

// Suspend keeps new requests from a worker until Resume.
func (s *Scheduler) Suspend(id int, now Time) { s.setSuspended(id, true, now) }

// Resume ends a Suspend.
func (s *Scheduler) Resume(id int, now Time) { s.setSuspended(id, false, now) }

func (s *Scheduler) setSuspended(id int, suspended bool, now Time) {
	if w, ok := s.workers[id]; ok {
		w.suspended = suspended
		if !suspended {
			s.residency.Noticed() // it may have been passed over
		}
		s.reopen(w, now)
	}
}

// apply makes f the flow whose identity is in force on an idle worker and begins
// its turn.
func (s *Scheduler) apply(w *worker, f *flow, now Time) {
	if old := w.flow; old != f {
		if old != nil {
			s.close(w, now)
		}
		w.flow = f
		f.applied++
		s.applied.Put(w.id, f) // there is room for all workers
		if old != nil {
			old.applied--
			s.forget(old, now)
		}
	}
	w.closing, w.handover = false, false
	w.turnStart, w.turnTokens = now, 0
	s.reopen(w, now)
}

// memory is the share of the newest value in one that is smoothed.
const memory = 0.2

// endTurn takes the speed of a turn whose last request has finished into account.
func (s *Scheduler) endTurn(w *worker, now Time) {
	took := (now - w.turnStart).Seconds()
	if took <= 0 || w.turnTokens == 0 {
		return
	}
	rate := w.turnTokens / took
	if s.rate == 0 {
		s.rate = rate
	}
	s.rate += memory * (rate - s.rate)
}

// reopen keeps the flow's list of open workers true.
func (s *Scheduler) reopen(w *worker, now Time) {
	want := !w.whole && !w.kept() && !w.closing
	if want == w.isOpen {
		return
	}
	if !want {
		s.close(w, now)
		return
	}
	w.isOpen = true
	w.flow.open = append(w.flow.open, w)
	s.touch(w.flow)
}

// close takes an open worker from its flow, which begins to wait if it has no
// other.
func (s *Scheduler) close(w *worker, now Time) {
	if !w.isOpen {
		return
	}
	f := w.flow
	w.isOpen = false
	f.open = slices.DeleteFunc(f.open, func(x *worker) bool { return x == w })
	if len(f.open) == 0 {
		f.waitFrom(now)
	}
	s.refresh(f)
}

// occupy gives a request its slots on w and returns what must be erased first.
func (s *Scheduler) occupy(w *worker, r *request, slots []int, now Time) (erase []int) {
	owner := w.flow
	for _, n := range slots {
		sl := &w.slots[n]
		stranger := sl.tainted || sl.owner != nil && (sl.owner != owner || sl.scope != r.Scope || r.Whole)
		if stranger {
			erase = append(erase, n)
		}
		s.hand(sl, owner, r, now)
		sl.busy = true
		w.unused.Pin(n)
	}
	if w.inFlight == 0 {
		s.applied.Pin(w.id)
	}
	w.count(+1, now)
	return erase
}

// hand gives a slot to a request's conversation. What a whole request leaves
// there nobody knows.
func (s *Scheduler) hand(sl *slot, owner *flow, r *request, now Time) {
	old := sl.owner
	if old != nil && (old != owner || !shares(sl.chain, r.Chain)) {
		s.counts.KVLost += uint64(sl.tokens)
	}
	if r.Whole {
		sl.taint()
	} else {
		sl.own(owner, r.Chain, r.Scope)
	}
	if old != nil && old != owner {
		s.forget(old, now)
	}
}

// shares reports whether two conversations begin alike.
func shares(a, b Chain) bool { return len(a) > 0 && len(b) > 0 && a[0].Hash == b[0].Hash }

// release ends the use of a slot.
func (w *worker) release(n int, u Usage) {
	sl := &w.slots[n]
	sl.busy = false
	w.unused.Unpin(n)
	if sl.owner != nil {
		sl.tokens = u.Prompt + u.Completion
	}
}

// unload takes one request off a worker.
func (s *Scheduler) unload(w *worker, now Time) {
	w.count(-1, now)
	if w.inFlight > 0 {
		return
	}
	s.applied.Unpin(w.id)
	if w.whole {
		w.whole = false
		s.reopen(w, now)
	}
}
