package pool

import "slices"

// trials are the suspects that wait to run again: one after the other through the whole
// pool, so that whose worker fails next is known. The state owns them.
type trials struct {
	queue   []*ticket // in the order in which they came
	current *ticket   // whose trial is on; nil is none
}

func (tr *trials) add(t *ticket) { tr.queue = append(tr.queue, t) }

// on reports whether a trial is on. It ends when the suspect has proved harmless, has
// ended, or has left.
func (tr *trials) on() bool {
	t := tr.current
	return t != nil && !t.over && (t.lease == nil || !t.lease.proven && !t.lease.released)
}

// next takes the suspect out whose trial begins, nil if there is none.
func (tr *trials) next() *ticket {
	tr.current = nil
	tr.queue = slices.DeleteFunc(tr.queue, func(t *ticket) bool { return t.over })
	if len(tr.queue) > 0 {
		tr.current, tr.queue = tr.queue[0], tr.queue[1:]
	}
	return tr.current
}

// nextTrial lets the next suspect wait for a worker, once those do not wait any more
// that lost theirs without being suspects.
func (s *state) nextTrial() {
	if len(s.trials.queue) == 0 || s.trials.on() || s.victimsWait() {
		return
	}
	if t := s.trials.next(); t != nil {
		s.enqueue(t) // cannot be refused: it was admitted once
	}
}

func (s *state) victimsWait() bool {
	for _, t := range s.waiting {
		if t.request.again() && !t.request.Suspect {
			return true
		}
	}
	return false
}

// prove ends a suspect's trial: it did no harm.
func (s *state) prove(l *Lease) {
	if l.proven || l.gone() {
		return
	}
	l.proven = true
	s.sched.Prove(l.ticket.number, s.now())
	s.schedule()
}
