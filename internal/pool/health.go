package pool

import "fmt"

// suspect keeps requests from a worker until it has shown that it is alive.
func (s *state) suspect(m *member) {
	m.suspect = true
	s.sched.Suspend(m.id, s.now())
}

// probed ends a probe. A process that cannot answer is replaced.
func (s *state) probed(m *member, gen uint64, err error) {
	if m.gen != gen {
		return
	}
	if err != nil {
		s.distrust(m, fmt.Sprintf("no sign of life: %v", err))
		return
	}
	m.suspect, m.stalled = false, false
	s.resume(m)
	s.letGo(m)
	s.schedule()
}

// resume lets a worker have requests again, unless something else keeps them from it.
func (s *state) resume(m *member) {
	if m.up != nil && !m.suspect && !m.stalled && !m.held {
		s.sched.Resume(m.id, s.now())
	}
}

// stall keeps further requests from a worker whose main loop does not answer, and
// returns how many run on it, of which one is the cause. The process may be another by
// now; then it reports false.
func (s *state) stall(m *member, r Runner) (inFlight int, is bool) {
	if m.up != r {
		return 0, false
	}
	m.stalled = true
	s.sched.Suspend(m.id, s.now())
	return s.sched.InFlight(m.id), true
}

// recover takes a stalled worker back.
func (s *state) recover(m *member, r Runner) {
	if m.up != r || !m.stalled {
		return
	}
	m.stalled = false
	s.resume(m)
	s.schedule()
}

// distrust ends a process that cannot be trusted. Nothing is placed on it until
// it is down, which comes next and lets what was being made ready wait again.
func (s *state) distrust(m *member, cause string) {
	s.suspect(m)
	s.effects.kill(m, cause)
}

// hold keeps further requests from the other workers of a device on which one broke off,
// where they share its fate, until that is known: idle ones would fail with their next
// request.
func (s *state) hold(failed *member) {
	if !s.shared {
		return
	}
	for _, m := range s.members {
		if m != failed && m.up != nil && m.device == failed.device {
			m.held = true
			s.sched.Suspend(m.id, s.now())
		}
	}
}

// letGo ends hold, once it is known what became of the worker.
func (s *state) letGo(failed *member) {
	for _, m := range s.members {
		if m.held && m.device == failed.device {
			m.held = false
			s.resume(m)
		}
	}
}

// replaceIdle replaces the workers of a crashed one's device on which nothing runs.
func (s *state) replaceIdle(crashed *member) {
	for _, m := range s.members {
		if m != crashed && m.up != nil && m.device == crashed.device && s.sched.InFlight(m.id) == 0 {
			s.replace(m)
		}
	}
}
