package sched

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// flowKey tells flows apart. Requests that need a worker whole cannot run
// beside others of their identity, so they wait in a flow of their own.
type flowKey struct {
	identity Identity
	whole    bool
}

// flow is everything about one identity: its queue, what it was given, where it
// is applied.
type flow struct {
	key    flowKey
	files  []File  // that must be loaded
	own    float64 // the identity's weight
	weight float64 // that and its heaviest waiting scope's
	limit  int     // requests that may run at once; 0 is no limit

	headStart time.Duration   // a step of priority
	turns     map[string]Time // the scheduler's

	head, tail *request // all that wait, in order of arrival
	lanes      lanes    // the same, by whose turn it is
	waiting    int
	running    int

	// since is when it began to wait for a worker. If its requests went on for long
	// after it had lost its last open one, at closedAt, what they took is its debt,
	// and it stands back until payback after that.
	since    Time
	closedAt Time
	debt     float64 // in tokens over its weight
	payback  time.Duration

	usualCost float64 // of a request, smoothed, from what it was for all when the flow came

	// place orders the flows that wait for a worker; from then on one is cleared for
	// it. It is reckoned anew whenever something of that has changed (refresh).
	place Time
	leads int // the priority that gives it that place

	applied int       // workers that apply it
	open    []*worker // those of them that take requests
	owned   int       // slots that hold its KV
	index   prefixIndex

	spots                      []*spot // in the lines of the workers that have its files
	missingIndex, longestIndex int     // in the heaps, one-based; 0 is not there
	touched                    bool
}

// reckon returns the flow's place: when it began to wait, or has paid its debt,
// less the head start of what waits.
func (f *flow) reckon() (place Time, leads int) {
	since := max(f.since, f.closedAt+f.payback, f.turned())
	place = Never
	for _, c := range f.lanes.classes {
		if at := c.place(since, f.headStart); c.lanes.len() > 0 && at < place {
			place, leads = at, c.priority
		}
	}
	return place, leads
}

// waitFrom lets the flow begin to wait for a worker, with no debt yet.
func (f *flow) waitFrom(now Time) {
	f.since, f.closedAt, f.debt, f.payback = now, now, 0, 0
}

func (f *flow) before(g *flow) bool { return f.place < g.place }
func (f *flow) longer(g *flow) bool { return f.share() > g.share() }

func (f *flow) share() float64 { return float64(f.waiting) / f.weight }
func (f *flow) idle() bool     { return f.waiting == 0 && f.running == 0 }

// capped reports whether as many of the flow's requests run as may.
func (f *flow) capped() bool { return f.limit > 0 && f.running >= f.limit }

// A flow's weight is between these.
const lightest, heaviest = 0.1, 10

// flowOf returns the request's flow, with its present settings.
func (s *Scheduler) flowOf(r Request, now Time) *flow {
	f := s.flow(flowKey{r.Identity, r.Whole || r.Alone}, r.Files, now)
	if own := orOne(r.Weight); f.own != own || f.limit != r.MaxConcurrency {
		f.own, f.limit = own, r.MaxConcurrency
		f.weigh()
		if f.waiting > 0 {
			s.longest.fix(f)
			s.touch(f)
		}
	}
	return f
}

// weigh reckons the flow's weight anew.
func (f *flow) weigh() { f.weight = min(max(f.own*f.lanes.heaviest(), lightest), heaviest) }

// flow returns the flow of that key, which needs these files.
func (s *Scheduler) flow(key flowKey, files []File, now Time) *flow {
	f, ok := s.flows[key]
	if !ok {
		s.sweep(now)
		f = &flow{key: key, files: files, own: 1, weight: 1, usualCost: s.usualCost, headStart: s.opts.HeadStart, turns: s.turns}
		s.flows[key] = f
		s.locate(f)
	}
	return f
}

// forget drops a flow with which nothing is lost: no request, no place where it
// is applied, no KV, and no debt that it still stands back for.
func (s *Scheduler) forget(f *flow, now Time) {
	if f.idle() && f.applied == 0 && f.owned == 0 && f.closedAt+f.payback <= now {
		delete(s.flows, f.key)
	}
}

// sweep drops flows whose debts have become void since they were left, whenever
// the number of flows has doubled: its cost is shared by those that came.
func (s *Scheduler) sweep(now Time) {
	if len(s.flows) < 2*s.swept+64 {
		return
	}
	for _, f := range s.flows {
		s.forget(f, now)
	}
	s.swept = len(s.flows)
}

// enqueue puts a request into its flow's queue, by its time of arrival: nearly
// always at the end.
func (s *Scheduler) enqueue(r *request, now Time) {
	f := r.flow
	f.lanes.add(r, now)
	f.weigh()
	s.priorities[r.Priority]++
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
	s.waiting[r.Ticket] = r
	s.longest.fix(f)
	s.touch(f)
}

func (s *Scheduler) dequeue(r *request) {
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
	if s.priorities[r.Priority]--; s.priorities[r.Priority] == 0 {
		delete(s.priorities, r.Priority)
	}
	f.waiting--
	delete(s.waiting, r.Ticket)
	if f.waiting == 0 {
		s.longest.remove(f)
	} else {
		s.longest.fix(f)
	}
	s.refresh(f)
}

// touch marks a flow for the next decision.
func (s *Scheduler) touch(f *flow) {
	s.refresh(f)
	if !f.touched && f.waiting > 0 {
		f.touched = true
		s.dirty = append(s.dirty, f)
	}
}

// charge books what a request took. Tokens are the currency of fairness: a turn
// is a quantum long whoever has it, but one with long answers goes on for long
// after it. What it takes when it drains for more than twice as long as others
// do, and more than two quanta, is paid back: the flow stands back for as long as
// others need for as much, though never longer than its drain took, so that its
// own wait stays bounded.
//
// What it takes until then is free: popular identities run in large batches, and
// making them pay for that would put small batches in their place.
func (s *Scheduler) charge(r *run, u Usage, now Time) {
	f, w := r.flow, r.worker
	cost := u.cost()
	if u == (Usage{}) {
		cost = r.expected // nobody knows: to be cut off must not make it free
	}
	r.lane.give(cost - r.expected)
	s.usualCost += memory * (cost - s.usualCost)
	f.usualCost += memory * (cost - f.usualCost)
	w.turnTokens += cost
	w.device.measure(r, u, now)
	if w.inFlight == 1 {
		s.endTurn(w, now)
	}
	s.counts.KVKept += uint64(max(0, u.Cached))
	if len(f.open) > 0 {
		f.debt, f.payback = 0, 0
		return
	}
	free := f.closedAt + 2*max(s.quantum(w.device), s.usualDrain)
	late := max(0, now-max(free, r.started))
	f.debt += cost / f.weight * float64(late) / float64(max(1, now-r.started))
	if s.rate > 0 && f.debt > 0 {
		wait := time.Duration(f.debt / s.rate * float64(time.Second))
		f.payback = now - free + min(wait, now-f.closedAt)
	}
	if f.running == 1 { // this one: its drain is over
		s.usualDrain += time.Duration(memory * float64(now-f.closedAt-s.usualDrain))
	}
	s.refresh(f)
}

// finishRate is how many requests finish a second, of late.
type finishRate struct {
	value float64
	last  Time
}

// finishMemory is the time in which an old request counts for 1/e.
const finishMemory = 10 * time.Second

func (r *finishRate) decay(now Time) {
	r.value *= math.Exp(-float64(now-r.last) / float64(finishMemory))
	r.last = now
}

func (r *finishRate) count(now Time) {
	r.decay(now)
	r.value++
}

func (r *finishRate) perSecond(now Time) float64 {
	r.decay(now)
	return r.value / finishMemory.Seconds()
}

// sortFlows puts flows into an order that does not depend on that of a map.
func sortFlows(list []*flow) {
	slices.SortFunc(list, func(a, b *flow) int {
		if c := cmp.Compare(a.key.identity, b.key.identity); c != 0 || a.key.whole == b.key.whole {
			return c
		}
		if b.key.whole {
			return -1
		}
		return 1
	})
}
