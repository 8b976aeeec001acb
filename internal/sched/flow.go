package sched

import (
	"cmp"
	"slices"
	"time"

	"github.com/loragate/loragate/internal/residency/stock"
	"github.com/loragate/loragate/internal/sched/task"
)

// flowKey tells flows apart. Requests that need a worker to themselves cannot run
// beside others of their identity, so they wait in a flow of their own.
type flowKey struct {
	identity  task.Identity
	exclusive bool
}

// flow is everything about one identity: its queue, what it was given, where it
// is applied.
type flow struct {
	key    flowKey
	files  []stock.File // that must be loaded
	own    float64      // the identity's weight
	weight float64      // that and its heaviest waiting namespace's
	limit  int          // requests that may run at once; 0 is no limit

	aging time.Duration        // a step of priority
	turns map[string]task.Time // the scheduler's

	head, tail *request // all that wait, in order of arrival
	lanes      lanes    // the same, by whose turn it is
	waiting    int
	running    int

	claim claim

	usualCost float64 // of a request, smoothed, from what it was for all when the flow came

	// position orders the flows that wait for a worker; from then on one is preempted for
	// it. It is reckoned anew whenever something of that has changed (refresh).
	position task.Time
	leads    int // the priority that gives it that place

	applied int       // workers that apply it
	open    []*worker // those of them that take requests
	kv      warmth

	spots                      []*spot // in the lines of the workers that have its files
	missingIndex, longestIndex int     // in the heaps, one-based; 0 is not there
	touched                    bool
}

// claim is since when a flow has one to a worker. If its requests went on for long after it
// had lost its last open one, at closedAt, what they took is its deficit, and it stands back
// until standBack after that.
type claim struct {
	since     task.Time // when it began to wait for a worker
	closedAt  task.Time
	deficit   float64 // in tokens over its weight
	standBack time.Duration
}

// reckon returns the flow's position: when it began to wait, or has made up its deficit,
// less the aging of what waits.
func (f *flow) reckon() (position task.Time, leads int) {
	since := max(f.claim.since, f.claim.closedAt+f.claim.standBack, f.turned())
	position = task.Never
	for _, c := range f.lanes.bands {
		if at := c.position(since, f.aging); c.lanes.Len() > 0 && at < position {
			position, leads = at, c.priority
		}
	}
	return position, leads
}

// waitFrom lets the flow begin to wait for a worker, with no deficit yet.
func (f *flow) waitFrom(now task.Time) {
	f.claim.since, f.claim.closedAt, f.claim.deficit, f.claim.standBack = now, now, 0, 0
}

func (f *flow) before(g *flow) bool { return f.position < g.position }
func (f *flow) longer(g *flow) bool { return f.share() > g.share() }

func (f *flow) share() float64 { return float64(f.waiting) / f.weight }
func (f *flow) idle() bool     { return f.waiting == 0 && f.running == 0 }

// capped reports whether as many of the flow's requests run as may.
func (f *flow) capped() bool { return f.limit > 0 && f.running >= f.limit }

// A flow's weight is between these.
const lightest, heaviest = 0.1, 10

// flowOf returns the request's flow, with its present settings.
func (q *queue) flowOf(r task.Request, now task.Time) *flow {
	f := q.flow(flowKey{r.Identity, r.Exclusive || r.Alone}, r.Files, now)
	if own := orOne(r.Weight); f.own != own || f.limit != r.MaxConcurrency {
		f.own, f.limit = own, r.MaxConcurrency
		f.weigh()
		if f.waiting > 0 {
			q.longest.Fix(f)
			q.touch(f)
		}
	}
	return f
}

// weigh reckons the flow's weight anew.
func (f *flow) weigh() { f.weight = min(max(f.own*f.lanes.heaviest(), lightest), heaviest) }

// flow returns the flow of that key, which needs these files.
func (q *queue) flow(key flowKey, files []stock.File, now task.Time) *flow {
	f, ok := q.flows[key]
	if !ok {
		q.sweep(now)
		f = &flow{
			key: key, files: files, own: 1, weight: 1, usualCost: q.usualCost, aging: q.opts.Aging, turns: q.turns,
		}
		q.flows[key] = f
		q.locate(f)
	}
	return f
}

// forget drops a flow with which nothing is lost: no request, no place where it
// is applied, no KV, and no deficit that it still stands back for.
func (q *queue) forget(f *flow, now task.Time) {
	if f.idle() && f.applied == 0 && f.kv.owned == 0 && f.claim.closedAt+f.claim.standBack <= now {
		delete(q.flows, f.key)
	}
}

// sweep drops flows whose deficits have become void since they were left, whenever
// the number of flows has doubled: its cost is shared by those that came.
func (q *queue) sweep(now task.Time) {
	if len(q.flows) < 2*q.swept+64 {
		return
	}
	for _, f := range q.flows {
		q.forget(f, now)
	}
	q.swept = len(q.flows)
}

// enqueue puts a request into its flow's queue, by its time of arrival: nearly
// always at the end.
func (q *queue) enqueue(r *request, now task.Time) {
	f := r.flow
	f.lanes.add(r, now)
	f.weigh()
	q.priorities[r.Priority]++
	after := f.tail
	for after != nil && after.Since > r.Since {
		after = after.prev
	}
	r.prev = after
	if after == nil {
		r.next, f.head = f.head, r
	} else {
		r.next, after.next = after.next, r
	}
	if r.next == nil {
		f.tail = r
	} else {
		r.next.prev = r
	}
	f.waiting++
	q.waiting[r.Ticket] = r
	q.longest.Fix(f)
	q.touch(f)
}

func (q *queue) dequeue(r *request) {
	f := r.flow
	if r.prev == nil {
		f.head = r.next
	} else {
		r.prev.next = r.next
	}
	if r.next == nil {
		f.tail = r.prev
	} else {
		r.next.prev = r.prev
	}
	r.prev, r.next = nil, nil
	f.lanes.remove(r)
	f.weigh()
	if q.priorities[r.Priority]--; q.priorities[r.Priority] == 0 {
		delete(q.priorities, r.Priority)
	}
	f.waiting--
	delete(q.waiting, r.Ticket)
	if f.waiting == 0 {
		q.longest.Remove(f)
	} else {
		q.longest.Fix(f)
	}
	q.refresh(f)
}

// touch marks a flow for the next decision.
func (q *queue) touch(f *flow) {
	q.refresh(f)
	if !f.touched && f.waiting > 0 {
		f.touched = true
		q.dirty = append(q.dirty, f)
	}
}

// request is one that waits. It is a node of its flow's queue.
type request struct {
	task.Request
	flow       *flow
	lane       *lane
	missed     bool
	prev, next *request // of the flow, by arrival
}

// sortFlows puts flows into an order that does not depend on that of a map.
func sortFlows(list []*flow) {
	slices.SortFunc(list, func(a, b *flow) int {
		if c := cmp.Compare(a.key.identity, b.key.identity); c != 0 || a.key.exclusive == b.key.exclusive {
			return c
		}
		if b.key.exclusive {
			return -1
		}
		return 1
	})
}
