package sim

import (
	"container/heap"

	"github.com/loragate/loragate/internal/sched"
)

type eventKind int

const (
	arrives  eventKind = iota // req
	cancels                   // job
	joins                     // job, on job.server
	samples                   // job: its next token is drawn
	iterated                  // server
	wakes                     // the policy
)

// event is something that happens at a moment.
type event struct {
	at     sched.Time
	seq    uint64 // events of one moment happen in the order in which they were made
	kind   eventKind
	req    Request
	job    *job
	server *server
}

// eventQueue is a heap of events. The zero value is empty.
type eventQueue struct {
	items eventHeap
	seq   uint64
}

func (q *eventQueue) add(e event) {
	q.seq++
	e.seq = q.seq
	heap.Push(&q.items, &e)
}

func (q *eventQueue) next() *event { return heap.Pop(&q.items).(*event) }

// at returns when the next event happens, or sched.Never.
func (q *eventQueue) at() sched.Time {
	if len(q.items) == 0 {
		return sched.Never
	}
	return q.items[0].at
}

type eventHeap []*event

func (h eventHeap) Len() int { return len(h) }
func (h eventHeap) Less(i, j int) bool {
	if h[i].at != h[j].at {
		return h[i].at < h[j].at
	}
	return h[i].seq < h[j].seq
}
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *eventHeap) Push(x any)   { *h = append(*h, x.(*event)) }
func (h *eventHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return last
}
