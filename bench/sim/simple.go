package sim

import (
	"time"

	"github.com/loragate/loragate/internal/sched"
)

// simple is what the policies share that are not the gateway's: one queue, first come first
// served, and slots of which they know what KV they hold. Their workers are up from the
// beginning to the end.
type simple struct {
	limit   int
	queue   fifo
	waits   map[sched.Ticket]*waiting
	runs    map[sched.Ticket]*run
	workers []*simpleWorker
}

// waiting is a request in a queue.
type waiting struct {
	sched.Request
	gone bool // placed, or its client left
}

// run is where a request runs.
type run struct {
	worker *simpleWorker
	slot   int
}

type simpleWorker struct {
	id      int
	applied sched.Identity
	running int
	used    sched.Time
	slots   []kvSlot
}

func newSimple(o *Options) *simple {
	return &simple{limit: o.Queue, waits: map[sched.Ticket]*waiting{}, runs: map[sched.Ticket]*run{}}
}

func (p *simple) Up(id, slots int, _ string, _ sched.Time) {
	p.workers = append(p.workers, &simpleWorker{id: id, slots: make([]kvSlot, slots)})
}

func (p *simple) Down(int, sched.Time) {}

func (p *simple) Plan(int, sched.Time) ([]sched.File, bool) { return nil, true }

func (p *simple) Arrive(r sched.Request, _ sched.Time) (evicted sched.Ticket, admitted bool) {
	if len(p.waits) >= p.limit {
		return 0, false
	}
	w := &waiting{Request: r}
	p.waits[r.Ticket] = w
	p.queue.add(w)
	return 0, true
}

func (p *simple) Leave(t sched.Ticket, _ sched.Time) {
	p.waits[t].gone = true
	delete(p.waits, t)
}

func (p *simple) Finish(t sched.Ticket, _ sched.Usage, now sched.Time) {
	r := p.runs[t]
	delete(p.runs, t)
	k := &r.worker.slots[r.slot]
	k.busy, k.used = false, now
	r.worker.running--
	r.worker.used = now
}

// place gives a request a free slot of a worker.
func (p *simple) place(w *waiting, x *simpleWorker, now sched.Time) sched.Action {
	n := pickSlot(x.slots, &w.Request)
	k := &x.slots[n]
	a := sched.Action{Ticket: w.Ticket, Worker: x.id, Slot: n, Warm: k.warm(&w.Request)}
	*k = kvSlot{busy: true, used: now, identity: w.Identity, chain: w.PrefixHashes}
	x.used = now
	x.running++
	p.runs[w.Ticket] = &run{x, n}
	p.Leave(w.Ticket, now)
	return a
}

func (p *simple) Waiting() int                        { return len(p.waits) }
func (p *simple) RetryAfter(sched.Time) time.Duration { return time.Second }

// fifo is a queue of requests from which some leave before their turn.
type fifo []*waiting

func (q *fifo) add(w *waiting) { *q = append(*q, w) }

// head returns the oldest request that still waits, or nil.
func (q *fifo) head() *waiting {
	for len(*q) > 0 && (*q)[0].gone {
		(*q)[0] = nil
		*q = (*q)[1:]
	}
	if len(*q) == 0 {
		return nil
	}
	return (*q)[0]
}

// kvSlot is a slot as the simple policies know it.
type kvSlot struct {
	busy     bool
	used     sched.Time
	identity sched.Identity
	chain    sched.PrefixHashes
}

// warm is how many bytes of a request's prompt the slot holds.
func (k *kvSlot) warm(r *sched.Request) (bytes int) {
	if k.identity != r.Identity {
		return 0
	}
	for i := 0; i < min(len(k.chain), len(r.PrefixHashes)) && k.chain[i] == r.PrefixHashes[i]; i++ {
		bytes = k.chain[i].Bytes
	}
	return bytes
}

// pickSlot returns the free slot that holds most of the request's prompt, or else
// the one that was used least recently; -1 if none is free.
func pickSlot(slots []kvSlot, r *sched.Request) int {
	best, bestWarm := -1, 0
	for i := range slots {
		s := &slots[i]
		if s.busy {
			continue
		}
		warm := s.warm(r)
		if best < 0 || warm > bestWarm || warm == bestWarm && s.used < slots[best].used {
			best, bestWarm = i, warm
		}
	}
	return best
}

// raw hands requests to the raw server with most free slots, whatever their adapters.
type raw struct{ *simple }

// Decide places what there is a slot for.
func (p *raw) Decide(now sched.Time) (placed []sched.Action, wake sched.Time) {
	for {
		w := p.queue.head()
		best := p.workers[0]
		for _, x := range p.workers {
			if x.free() > best.free() {
				best = x
			}
		}
		if w == nil || best.free() == 0 {
			return placed, sched.Never
		}
		placed = append(placed, p.place(w, best, now))
	}
}

func (x *simpleWorker) free() int { return len(x.slots) - x.running }
