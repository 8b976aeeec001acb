package sched

import (
	"github.com/loragate/loragate/internal/residency"
	"github.com/loragate/loragate/internal/sched/task"
)

// Shrink has workers go one after the other from now on: no worker is given up any more
// for files that nobody waits for, and no spare takes a place.
func (s *Scheduler) Shrink(now task.Time) {
	s.residency.Shrink()
	for _, o := range s.residency.Orders() {
		s.fleet.hold(o.Worker, o.Kind == residency.Hold, now)
	}
}

// Removable reports whether a member can go: it has a worker that is up and idle and
// whose place no spare is about to take. One that has no process can go, too, unless it
// is a spare that is to have one.
func (s *Scheduler) Removable(id int) bool {
	w, up := s.fleet.workers[id]
	return s.residency.Removable(id) && (!up || w.inFlight == 0)
}

// Serves reports whether a worker is up and takes requests, now or when others had
// their turn.
func (s *Scheduler) Serves(id int) bool {
	w, up := s.fleet.workers[id]
	return up && !w.suspended && !w.drained
}

// Remove forgets a member for good, with its worker.
func (s *Scheduler) Remove(id int, now task.Time) {
	s.Down(id, now)
	s.residency.Remove(id)
}

// Excuse has nobody stay because a member has no process: it may not have one yet.
func (s *Scheduler) Excuse(id int) { s.residency.Excuse(id) }
