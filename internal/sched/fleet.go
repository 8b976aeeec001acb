package sched

import (
	"slices"
	"time"

	"github.com/loragate/loragate/internal/lru"
	"github.com/loragate/loragate/internal/sched/cost"
	"github.com/loragate/loragate/internal/sched/task"
)

// fleet is the workers that are up, and the devices they are on.
type fleet struct {
	opts   *task.Options
	queue  *queue
	pace   *pace
	counts *task.Counts

	workers map[int]*worker
	list    []*worker                   // the same, by number
	byUse   *lru.Set[*worker, struct{}] // the same, by last use; busy ones are pinned
	devices map[string]*device
}

// mostWorkers is more than a configuration can have.
const mostWorkers = 1 << 16

func newFleet(opts *task.Options, q *queue, p *pace, counts *task.Counts) *fleet {
	return &fleet{
		opts: opts, queue: q, pace: p, counts: counts,
		workers: make(map[int]*worker), byUse: lru.New[*worker, struct{}](mostWorkers),
		devices: make(map[string]*device),
	}
}

// quantum is how long a turn of an identity of weight 1 lasts on a device.
func (fl *fleet) quantum(d *device) time.Duration {
	if fl.opts.Quantum != task.Auto {
		return fl.opts.Quantum
	}
	return d.costs.Turn()
}

// longestQuantum is the longest that quantum returns.
func (fl *fleet) longestQuantum() time.Duration {
	if fl.opts.Quantum != task.Auto {
		return fl.opts.Quantum
	}
	return cost.MostTurn
}

// expiry is when others may have the worker.
func (fl *fleet) expiry(w *worker) task.Time {
	return w.turnStart + task.Time(float64(fl.quantum(w.device))*w.flow.weight)
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
		_, _ = fl.byUse.Put(w, struct{}{}) // there is room for all workers
		if old != nil {
			old.applied--
			fl.queue.forget(old, now)
		}
	}
	w.preempted, w.handover = false, false
	w.turnStart, w.turnTokens = now, 0
	fl.reopen(w, now)
}

// reopen keeps the flow's list of open workers true.
func (fl *fleet) reopen(w *worker, now task.Time) {
	want := !w.exclusive && !w.kept() && !w.preempted
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
		stranger := sl.tainted || sl.owner != nil && (sl.owner != owner || sl.namespace != r.Namespace || r.Exclusive)
		if stranger {
			erase = append(erase, n)
		}
		fl.hand(sl, owner, r, now)
		sl.busy = true
		w.unused.Pin(n)
	}
	if w.inFlight == 0 {
		fl.byUse.Pin(w)
	}
	w.count(+1, now)
	return erase
}

// hand gives a slot to a request's conversation. What an exclusive request leaves
// there nobody knows.
func (fl *fleet) hand(sl *slot, owner *flow, r *request, now task.Time) {
	old := sl.owner
	if old != nil && (old != owner || !shares(sl.prefixes, r.PrefixHashes)) {
		fl.counts.KVLost += uint64(sl.tokens)
	}
	if r.Exclusive {
		sl.taint()
	} else {
		sl.own(owner, r.PrefixHashes, r.Namespace)
	}
	if old != nil && old != owner {
		fl.queue.forget(old, now)
	}
}

// unload takes one request off a worker.
func (fl *fleet) unload(w *worker, now task.Time) {
	w.count(-1, now)
	if w.inFlight > 0 {
		return
	}
	fl.byUse.Unpin(w)
	if w.exclusive {
		w.exclusive = false
		fl.reopen(w, now)
	}
}

// hold keeps new requests from a worker, or takes that back.
func (fl *fleet) hold(id int, held bool, now task.Time) {
	w := fl.workers[id]
	w.reloading = held
	fl.reopen(w, now)
}
