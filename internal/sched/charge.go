package sched

import (
	"time"

	"github.com/loragate/loragate/internal/sched/task"
)

// charge books what a request took. Tokens are the currency of fairness: a turn
// is a quantum long whoever has it, but one with long answers goes on for long
// after it. What it takes when it drains for more than twice as long as others
// do, and more than two quanta, is paid back: the flow stands back for as long as
// others need for as much, though never longer than its drain took, so that its
// own wait stays bounded.
//
// What it takes until then is free: popular identities run in large batches, and
// making them pay for that would put small batches in their place.
func (s *Scheduler) charge(r *run, u task.Usage, now task.Time) {
	f, w := r.flow, r.worker
	cost := u.Cost()
	if u == (task.Usage{}) {
		cost = r.expected // nobody knows: to be cut off must not make it free
	}
	r.lane.charge(cost - r.expected)
	s.queue.usualCost += smoothingFactor * (cost - s.queue.usualCost)
	f.usualCost += smoothingFactor * (cost - f.usualCost)
	w.turnTokens += cost
	w.device.measure(r, u, now)
	if w.inFlight == 1 {
		s.pace.endTurn(w.turnStart, w.turnTokens, now)
	}
	s.counts.KVKept += uint64(max(0, u.Cached))
	if len(f.open) > 0 {
		f.claim.deficit, f.claim.standBack = 0, 0
		return
	}
	free := f.claim.closedAt + 2*max(s.fleet.quantum(w.device), s.pace.usualDrain)
	late := max(0, now-max(free, r.started))
	f.claim.deficit += cost / f.weight * float64(late) / float64(max(1, now-r.started))
	if s.pace.rate > 0 && f.claim.deficit > 0 {
		wait := time.Duration(f.claim.deficit / s.pace.rate * float64(time.Second))
		f.claim.standBack = now - free + min(wait, now-f.claim.closedAt)
	}
	if f.running == 1 { // this one: its drain is over
		s.pace.usualDrain += time.Duration(smoothingFactor * float64(now-f.claim.closedAt-s.pace.usualDrain))
	}
	s.queue.refresh(f)
}

// leastTokens is how many tokens an answer must have for its speed to count.
const leastTokens = 8

// measure takes in what a finished request tells of its device.
func (d *device) measure(r *run, u task.Usage, now task.Time) {
	if u.Reading > 0 && r.swap != swapNear {
		d.costs.ObserveFirst(max(0, u.Prompt-u.Cached), r.swap == swapOwn, r.beside, u.Reading)
	}
	took := (now - r.started).Seconds()
	d.costs.ObserveHeld(took)
	if u.Generating <= 0 || u.Completion < leastTokens || took <= 0 {
		return
	}
	requests := max(1, (r.worker.load.At(now, r.worker.inFlight)-r.load)/took)
	others := max(0, (d.load.At(now, d.busy)-r.deviceLoad)/took-1)
	d.costs.ObserveStep(requests, others, u.Generating.Seconds()/float64(u.Completion))
}
