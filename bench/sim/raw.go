package sim

import (
	"slices"
	"time"

	"github.com/loragate/loragate/internal/sched"
)

// fifo is a queue of requests from which some leave before their turn.
type fifo struct {
	jobs []*job
	size int // of those that still wait
}

func (q *fifo) add(j *job) {
	q.jobs = append(q.jobs, j)
	q.size++
}

// head returns the oldest request that still waits, or nil.
func (q *fifo) head() *job {
	for len(q.jobs) > 0 && q.jobs[0].state != waits {
		q.jobs[0] = nil
		q.jobs = q.jobs[1:]
	}
	if len(q.jobs) == 0 {
		return nil
	}
	return q.jobs[0]
}

// kvSlot is a slot as the simple policies know it.
type kvSlot struct {
	busy         bool
	used         sched.Time
	adapter      string
	conversation string
	chain        sched.PrefixHashes
}

// warm is how many bytes of a request's prompt the slot holds.
func (k *kvSlot) warm(j *job) int {
	if k.adapter != j.Adapter || k.conversation != j.Conversation {
		return 0
	}
	bytes := 0
	for i := 0; i < min(len(k.chain), len(j.chain)) && k.chain[i] == j.chain[i]; i++ {
		bytes = j.chain[i].Bytes
	}
	return bytes
}

func (k *kvSlot) take(j *job, now sched.Time) {
	*k = kvSlot{busy: true, used: now, adapter: j.Adapter, conversation: j.Conversation, chain: j.chain}
}

// pickSlot returns the free slot that holds most of the request's prompt, or else
// the one that was used least recently; -1 if none is free.
func pickSlot(slots []kvSlot, j *job) int {
	best, bestWarm := -1, 0
	for i := range slots {
		s := &slots[i]
		if s.busy {
			continue
		}
		warm := s.warm(j)
		if best < 0 || warm > bestWarm || warm == bestWarm && s.used < slots[best].used {
			best, bestWarm = i, warm
		}
	}
	return best
}

// raw hands requests, first come first served, to the raw server with most free
// slots, whatever their adapters.
type raw struct {
	kind  serverKind
	queue fifo
	limit int
	slots [][]kvSlot
	free  []int
}

func newRaw(o *Options, kv KV) *raw {
	p := &raw{limit: o.Queue, kind: serverKind{slots: o.RawSlots, kv: kv, raw: true}}
	if p.kind.slots == 0 {
		p.kind.slots = o.Workers * o.Slots / o.Devices
	}
	for range o.Devices {
		p.slots = append(p.slots, make([]kvSlot, p.kind.slots))
		p.free = append(p.free, p.kind.slots)
	}
	return p
}

func (p *raw) servers(o *Options) []serverKind { return slices.Repeat([]serverKind{p.kind}, o.Devices) }

func (p *raw) arrive(j *job, _ sched.Time) (*job, bool) {
	if p.queue.size >= p.limit {
		return nil, false
	}
	p.queue.add(j)
	return nil, true
}

func (p *raw) leave(*job, sched.Time) { p.queue.size-- }

func (p *raw) finish(j *job, now sched.Time) {
	k := &p.slots[j.server.id][j.slot]
	k.busy, k.used = false, now
	p.free[j.server.id]++
}

func (p *raw) decide(now sched.Time) (placed []placement, wake sched.Time) {
	for {
		j := p.queue.head()
		best := 0
		for i, n := range p.free {
			if n > p.free[best] {
				best = i
			}
		}
		if j == nil || p.free[best] == 0 {
			return placed, never
		}
		n := pickSlot(p.slots[best], j)
		warm := p.slots[best][n].warm(j)
		p.slots[best][n].take(j, now)
		p.free[best]--
		p.queue.size--
		j.state = placedState
		placed = append(placed, placement{job: j, server: best, slot: n, warm: warm})
	}
}

func (p *raw) waiting() int                     { return p.queue.size }
func (p *raw) retryAfter(sched.Time) sched.Time { return time.Second }
