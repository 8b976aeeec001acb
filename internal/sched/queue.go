package sched

import (
	"github.com/loragate/loragate/internal/residency"
	"github.com/loragate/loragate/internal/sched/heap"
	"github.com/loragate/loragate/internal/sched/task"
)

// queue is who waits: the flows of all identities, and the lines in which those stand
// that need a worker.
type queue struct {
	opts    *task.Options
	planner *residency.Planner // knows which workers have what a flow needs

	flows map[flowKey]*flow
	swept int                  // flows that were left after the last sweep
	dirty []*flow              // flows that may have become servable since the last decision
	turns map[string]task.Time // when one of a Turn was last given a worker

	waiting    map[task.Ticket]*request
	priorities map[int]int      // how many requests of each wait
	longest    heap.Heap[*flow] // flows that have waiting requests, first the one with most
	usualCost  float64          // of a request, smoothed

	lines   []*line                  // who waits for a worker, by what is loaded
	lineOf  map[*residency.Set]*line // the same
	missing heap.Heap[*flow]         // flows that wait and whose files no worker has, first the one whose turn it is
}

func newQueue(opts *task.Options) *queue {
	return &queue{
		opts: opts, flows: make(map[flowKey]*flow), turns: make(map[string]task.Time),
		waiting: make(map[task.Ticket]*request), priorities: make(map[int]int), usualCost: 1,
		lineOf:  make(map[*residency.Set]*line),
		longest: heap.New((*flow).longer, func(f *flow) *int { return &f.longestIndex }),
		missing: heap.New((*flow).before, func(f *flow) *int { return &f.missingIndex }),
	}
}

// leave forgets a request that waits.
func (q *queue) leave(t task.Ticket, now task.Time) {
	if r, ok := q.waiting[t]; ok {
		q.dequeue(r)
		q.forget(r.flow, now)
	}
}
