package sim

import (
	"time"

	"github.com/loragate/loragate/internal/sched"
)

// lruPolicy is the obvious gateway: a request joins a worker that applies its
// adapter and has a free slot, or else gets the idle worker that was used least
// recently. It never closes a worker, so a hot adapter keeps what it has.
type lruPolicy struct {
	limit   int
	all     fifo
	queues  map[string]*fifo // by adapter
	workers []*lruWorker
	freed   map[*lruWorker]bool // since the last decision
	fresh   []*job              // arrived since the last decision
}

type lruWorker struct {
	id      int
	adapter string
	running int
	used    sched.Time
	slots   []kvSlot
}

func newLRU(o *Options) *lruPolicy {
	p := &lruPolicy{limit: o.Queue, queues: map[string]*fifo{}, freed: map[*lruWorker]bool{}}
	for i := range o.Workers {
		p.workers = append(p.workers, &lruWorker{id: i, slots: make([]kvSlot, o.Slots)})
	}
	return p
}

func (p *lruPolicy) servers(o *Options) []serverKind { return workers(o) }

func (p *lruPolicy) arrive(j *job, _ sched.Time) (*job, bool) {
	if p.all.size >= p.limit {
		return nil, false
	}
	q := p.queues[j.Adapter]
	if q == nil {
		q = &fifo{}
		p.queues[j.Adapter] = q
	}
	p.all.add(j)
	q.add(j)
	p.fresh = append(p.fresh, j)
	return nil, true
}

func (p *lruPolicy) leave(*job, sched.Time) { p.all.size-- }

func (p *lruPolicy) finish(j *job, now sched.Time) {
	w := p.workers[j.server.id]
	w.slots[j.slot].busy = false
	w.slots[j.slot].used = now
	w.running--
	w.used = now
	p.freed[w] = true
}

// decide goes through what changed in order of arrival, so that a queue costs
// nothing as long as it only waits.
func (p *lruPolicy) decide(now sched.Time) (placed []placement, wake sched.Time) {
	for _, w := range p.workers {
		if p.freed[w] {
			placed = p.join(w, placed, now)
		}
	}
	clear(p.freed)
	for _, j := range p.fresh {
		if w := p.applied(j.Adapter); w != nil {
			placed = p.join(w, placed, now)
		}
	}
	p.fresh = p.fresh[:0]
	for j := p.all.head(); j != nil; j = p.all.head() {
		w := p.idle()
		if w == nil {
			break
		}
		placed = p.join(w, append(placed, p.place(j, w, now)), now)
	}
	return placed, never
}

// join gives a worker's free slots to requests of its adapter.
func (p *lruPolicy) join(w *lruWorker, placed []placement, now sched.Time) []placement {
	q := p.queues[w.adapter]
	for q != nil && w.running < len(w.slots) {
		j := q.head()
		if j == nil {
			break
		}
		placed = append(placed, p.place(j, w, now))
	}
	return placed
}

func (p *lruPolicy) place(j *job, w *lruWorker, now sched.Time) placement {
	n := pickSlot(w.slots, j)
	k := &w.slots[n]
	out := placement{job: j, server: w.id, slot: n, swap: w.adapter != j.Adapter, warm: k.warm(j)}
	if k.adapter != "" && k.adapter != j.Adapter {
		out.erase = 1
	}
	k.take(j, now)
	w.adapter, w.used = j.Adapter, now
	w.running++
	p.all.size--
	j.state = placedState
	return out
}

// applied returns a worker with the adapter and a free slot, or nil.
func (p *lruPolicy) applied(adapter string) *lruWorker {
	for _, w := range p.workers {
		if w.adapter == adapter && w.running < len(w.slots) {
			return w
		}
	}
	return nil
}

func (p *lruPolicy) idle() *lruWorker {
	var best *lruWorker
	for _, w := range p.workers {
		if w.running == 0 && (best == nil || w.used < best.used) {
			best = w
		}
	}
	return best
}

func (p *lruPolicy) waiting() int                     { return p.all.size }
func (p *lruPolicy) retryAfter(sched.Time) sched.Time { return time.Second }
