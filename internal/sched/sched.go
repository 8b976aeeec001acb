// Package sched decides which waiting request runs on which worker, in which
// slot, and which worker is preempted for whom. It is pure: no goroutines, no
// clock, no processes. Whoever owns a Scheduler tells it what happened (Arrive,
// Leave, Finish, Up, Down, ...) and asks Decide what to do; the pool does so for
// real workers, the simulator for modelled ones.
//
// docs/scheduling.md says what it promises and why.
package sched

import (
	"time"

	"github.com/loragate/loragate/internal/sched/task"
)

// New returns a scheduler without workers.
func New(opts task.Options) *Scheduler {
	s := &Scheduler{opts: &opts, pace: &pace{}, running: make(map[task.Ticket]*run), counts: &task.Counts{}}
	s.queue = newQueue(s.opts)
	s.fleet = newFleet(s.opts, s.queue, s.pace, s.counts)
	s.residency = newResidency(s)
	s.queue.planner = s.residency
	return s
}

// Arrive queues a request. It reports false when the queue is full. When it is
// full of lower priorities, or of a flow or a namespace that takes more than its share
// of it, the newest request of these makes room instead: it is forgotten, and
// evicted is its ticket.
func (s *Scheduler) Arrive(r task.Request, now task.Time) (evicted task.Ticket, admitted bool) {
	f := s.queue.flowOf(r, now)
	if len(s.queue.waiting) >= s.opts.Queue && !r.Again {
		victim := s.queue.pushOut(f, r, now)
		if victim == 0 {
			s.queue.forget(f, now)
			return 0, false
		}
		evicted = victim
		f = s.queue.flowOf(r, now) // its only request may have been the one that went
	}
	if f.waiting == 0 {
		f.claim.since = now
	}
	missed := len(f.files) > 0 && len(f.spots) == 0
	if missed {
		s.counts.Misses++
	} else {
		s.counts.Hits++
	}
	s.queue.enqueue(&request{Request: r, flow: f, missed: missed}, now)
	return evicted, true
}

// Leave forgets a request that waits. One that does not wait is ignored.
func (s *Scheduler) Leave(t task.Ticket, now task.Time) { s.queue.leave(t, now) }

// Finish takes back what a placed request had: its client and llama-server are
// done with it.
func (s *Scheduler) Finish(t task.Ticket, u task.Usage, now task.Time) {
	r, ok := s.running[t]
	if !ok {
		return
	}
	delete(s.running, t)
	f, w := r.flow, r.worker
	s.charge(r, u, now)
	for _, slot := range r.slots {
		w.release(slot, u)
	}
	if r.warm && u.Prompt > 0 && u.Cached == 0 {
		s.counts.WarmGone++ // the slot holds the conversation now, so that is all
	}
	f.running--
	s.fleet.unload(w, now)
	s.pace.finished.count(now)
	s.queue.touch(f)
	if w.flow != f {
		s.queue.touch(w.flow) // a request that had its worker for itself gave it back
	}
	s.queue.forget(f, now)
}

// Prove says that a placed request did no harm: others may run beside it from now on,
// though it asked to be alone.
func (s *Scheduler) Prove(t task.Ticket, now task.Time) {
	r, ok := s.running[t]
	if !ok || !r.alone || !r.worker.exclusive {
		return
	}
	r.worker.exclusive = false
	s.fleet.reopen(r.worker, now)
}

// Taint says that nobody knows what a placed request leaves in its slots.
func (s *Scheduler) Taint(t task.Ticket) {
	if r, ok := s.running[t]; ok {
		for _, slot := range r.slots {
			r.worker.slots[slot].taint()
		}
	}
}

// InFlight returns how many requests run on a worker, 0 if it is not up.
func (s *Scheduler) InFlight(worker int) int {
	if w, up := s.fleet.workers[worker]; up {
		return w.inFlight
	}
	return 0
}

// Waiting returns how many requests wait.
func (s *Scheduler) Waiting() int { return len(s.queue.waiting) }

// Counts returns the totals so far.
func (s *Scheduler) Counts() task.Counts { return *s.counts }

// RetryAfter estimates how long a request that came last would wait now: the
// queue's length over the rate at which requests finished of late.
func (s *Scheduler) RetryAfter(now task.Time) time.Duration {
	rate := s.pace.finished.perSecond(now)
	if rate <= 0 {
		return s.fleet.longestQuantum()
	}
	return time.Duration(float64(len(s.queue.waiting)) / rate * float64(time.Second))
}
