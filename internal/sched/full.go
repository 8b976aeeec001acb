package sched

import (
	"cmp"

	"github.com/loragate/loragate/internal/sched/task"
)

// A queue that is full makes room for a newcomer at the cost of whoever takes most of it.

// pushOut forgets a request so that r, which is f's, has room, and returns its
// ticket, or 0.
func (q *queue) pushOut(f *flow, r task.Request, now task.Time) task.Ticket {
	victim := q.lowest(r.Priority)
	if victim == nil {
		victim = q.greediest(f, r)
	}
	if victim == nil {
		return 0
	}
	ticket := victim.newest()
	q.leave(ticket, now)
	return ticket
}

// leastPriority is the lowest one that waits, 0 if none does.
func (q *queue) leastPriority() int {
	least, any := 0, false
	for p := range q.priorities {
		if !any || p < least {
			least, any = p, true
		}
	}
	return least
}

// lowest returns a lane of the lowest priority, if that is lower than the given
// one. It looks at every flow that waits, in a queue that is full.
func (q *queue) lowest(priority int) *lane {
	least := q.leastPriority()
	if len(q.priorities) == 0 || least >= priority {
		return nil
	}
	var longest *lane
	for _, f := range q.longest.Items() {
		if l := f.lanes.longestLane(); l.priority == least && (longest == nil ||
			cmp.Or(cmp.Compare(l.share(), longest.share()), cmp.Compare(l.newest(), longest.newest())) > 0) {
			longest = l
		}
	}
	return longest
}

// greediest returns the longest lane of the flow with the longest queue, if that
// is longer than f's would be with r; in f itself, if it is longer than r's lane
// would be.
func (q *queue) greediest(f *flow, r task.Request) *lane {
	most, ok := q.longest.First()
	if !ok {
		return nil
	}
	l := most.lanes.longestLane()
	theirs, ours := most.share(), float64(f.waiting+1)/f.weight
	if r.Turn != "" {
		ours += q.turnShare(r.Turn, f)
	}
	if crowd, share := q.crowdedTurn(); share > theirs && crowd.head.Turn != r.Turn {
		l, theirs = crowd.lanes.longestLane(), share
	} else if most == f {
		own := 1.0
		if l := f.lanes.byKey[laneKey{r.Namespace, r.Priority}]; l != nil {
			own += float64(len(l.queue))
		}
		theirs, ours = l.share(), own/orOne(r.NamespaceWeight)
	}
	if l.priority > r.Priority || ours >= theirs {
		return nil
	}
	return l
}
