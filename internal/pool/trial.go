package pool

import (
	"errors"
	"slices"

	"github.com/loragate/loragate/internal/worker"
)

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

// crashed reports whether a process ended by itself.
func crashed(cause error) bool {
	end, ended := EndOf(cause)
	return ended && end == EndCrash
}

// End says how a worker's process ended; see worker.End.
type End = worker.End

// The ends.
const (
	EndCrash   = worker.EndCrash
	EndOutside = worker.EndOutside
	EndMemory  = worker.EndMemory
	EndKill    = worker.EndKill
)

// EndOf returns how the process ended whose end is an error's cause; false if it is not
// known to have ended.
func EndOf(err error) (End, bool) {
	var exit *worker.ExitError
	if !errors.As(err, &exit) {
		return "", false
	}
	return exit.End(), true
}
