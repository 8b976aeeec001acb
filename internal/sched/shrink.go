package sched

// Shrink has workers go one after the other from now on: no worker is given up any more
// for files that nobody waits for, and no spare takes a place.
func (s *Scheduler) Shrink(now Time) {
	s.shrinking = true
	if w, up := s.workers[s.victim]; up && s.phase == draining && s.missing.len() == 0 {
		s.phase = quiet
		s.unkeep(w, now)
	}
}

// Removable reports whether a member can go: it has a worker that is up and idle and
// whose place no spare is about to take. One that has no process can go, too, unless it
// is a spare that is to have one.
func (s *Scheduler) Removable(id int) bool {
	if s.phase != quiet && s.next != s.victim && (id == s.next || id == s.victim) {
		return false
	}
	w, up := s.workers[id]
	return !up || w.inFlight == 0
}

// Serves reports whether a worker is up and takes requests, now or when others had
// their turn.
func (s *Scheduler) Serves(id int) bool {
	w, up := s.workers[id]
	return up && !w.suspended && !w.drained
}

// Remove forgets a member for good, with its worker.
func (s *Scheduler) Remove(id int, now Time) {
	s.Down(id, now)
	if s.phase != quiet && s.victim == id && s.next == id {
		s.phase = quiet
	}
	delete(s.planned, id)
	s.vacate(id)
}

// Excuse has nobody stay because a member has no process: it may not have one yet.
func (s *Scheduler) Excuse(id int) { delete(s.absent, id) }
