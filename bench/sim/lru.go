package sim

import "github.com/loragate/loragate/internal/sched"

// lruPolicy is the obvious gateway: a request joins a worker that applies its
// adapter and has a free slot, or else gets the idle worker that was used least
// recently. It never closes a worker, so a hot adapter keeps what it has.
type lruPolicy struct {
	*simple
	queues map[sched.Identity]*fifo
	freed  map[*simpleWorker]bool // since the last decision
	fresh  []*waiting             // arrived since the last decision
}

func newLRU(o *Options) *lruPolicy {
	return &lruPolicy{simple: newSimple(o), queues: map[sched.Identity]*fifo{}, freed: map[*simpleWorker]bool{}}
}

// Arrive queues a request, unless the queue is full.
func (p *lruPolicy) Arrive(r sched.Request, now sched.Time) (evicted sched.Ticket, admitted bool) {
	if _, admitted = p.simple.Arrive(r, now); !admitted {
		return 0, false
	}
	q := p.queues[r.Identity]
	if q == nil {
		q = &fifo{}
		p.queues[r.Identity] = q
	}
	w := p.waits[r.Ticket]
	q.add(w)
	p.fresh = append(p.fresh, w)
	return 0, true
}

// Finish frees a request's slot.
func (p *lruPolicy) Finish(t sched.Ticket, u sched.Usage, now sched.Time) {
	p.freed[p.runs[t].worker] = true
	p.simple.Finish(t, u, now)
}

// Decide goes through what changed in order of arrival, so that a queue costs
// nothing as long as it only waits.
func (p *lruPolicy) Decide(now sched.Time) (placed []sched.Action, wake sched.Time) {
	for _, x := range p.workers {
		if p.freed[x] {
			placed = p.join(x, placed, now)
		}
	}
	clear(p.freed)
	for _, w := range p.fresh {
		if x := p.appliedOn(w.Identity); x != nil {
			placed = p.join(x, placed, now)
		}
	}
	p.fresh = p.fresh[:0]
	for w := p.queue.head(); w != nil; w = p.queue.head() {
		x := p.idle()
		if x == nil {
			break
		}
		placed = p.join(x, append(placed, p.serve(w, x, now)), now)
	}
	return placed, sched.Never
}

// join gives a worker's free slots to requests of its adapter.
func (p *lruPolicy) join(x *simpleWorker, placed []sched.Action, now sched.Time) []sched.Action {
	q := p.queues[x.applied]
	for q != nil && x.free() > 0 {
		w := q.head()
		if w == nil {
			break
		}
		placed = append(placed, p.serve(w, x, now))
	}
	return placed
}

// serve runs a request on a worker, with a swap if it is for another adapter.
func (p *lruPolicy) serve(w *waiting, x *simpleWorker, now sched.Time) sched.Action {
	n := pickSlot(x.slots, &w.Request)
	stranger := x.slots[n].identity != sched.Base && x.slots[n].identity != w.Identity
	a := p.place(w, x, now)
	if stranger {
		a.Erase = []int{n}
	}
	if x.applied != w.Identity {
		a.Kind, x.applied = sched.Swap, w.Identity
	}
	return a
}

// appliedOn returns a worker with the adapter and a free slot, or nil.
func (p *lruPolicy) appliedOn(identity sched.Identity) *simpleWorker {
	for _, x := range p.workers {
		if x.applied == identity && x.free() > 0 {
			return x
		}
	}
	return nil
}

func (p *lruPolicy) idle() *simpleWorker {
	var best *simpleWorker
	for _, x := range p.workers {
		if x.running == 0 && (best == nil || x.used < best.used) {
			best = x
		}
	}
	return best
}
