package sched

import "github.com/loragate/loragate/internal/sched/task"

// Identities that clients make up, such as sums of adapters at scales of their own,
// have no end: were each to wait in its own right, who makes up a hundred would have a
// hundred turns to another's one. Those with the same Request.Turn have one together:
// when one of them is given a worker, the others begin to wait anew.

// turned is when the flow's Turn last was given a worker, by its oldest request's.
func (f *flow) turned() task.Time {
	if f.head == nil || f.head.Turn == "" {
		return 0
	}
	return f.turns[f.head.Turn]
}

// turn books that a request was given a worker. It looks at every flow that waits.
func (q *queue) turn(r *request, now task.Time) {
	if r.Turn == "" {
		return
	}
	q.turns[r.Turn] = now
	for _, f := range q.longest.Items() {
		if f != r.flow && f.head.Turn == r.Turn {
			q.refresh(f)
		}
	}
}

// turnShare is what waits of a Turn, for the weights, but for one flow.
func (q *queue) turnShare(turn string, except *flow) (share float64) {
	for _, f := range q.longest.Items() {
		if f != except && f.head.Turn == turn {
			share += f.share()
		}
	}
	return share
}

// crowdedTurn returns the share of the Turn of which most waits, and of its flows the
// one with the newest request; nil and 0 if there are none. It looks at every flow that
// waits, in a queue that is full.
func (q *queue) crowdedTurn() (newest *flow, most float64) {
	shares, last := map[string]float64{}, map[string]*flow{}
	for _, f := range q.longest.Items() {
		turn := f.head.Turn
		if turn == "" {
			continue
		}
		shares[turn] += f.share()
		if of := last[turn]; of == nil || f.tail.Ticket > of.tail.Ticket {
			last[turn] = f
		}
	}
	for turn, share := range shares {
		if share > most || share == most && newest != nil && last[turn].tail.Ticket > newest.tail.Ticket {
			newest, most = last[turn], share
		}
	}
	return newest, most
}
