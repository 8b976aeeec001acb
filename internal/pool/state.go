package pool

import (
	"fmt"
	"slices"
	"time"

	"github.com/loragate/loragate/internal/sched"
)

// effects is what a state asks for. Each call returns at once; the outcome
// comes back as a call of swapped, erased, settled, probed, schedule or down.
type effects interface {
	// swap puts target in force on the worker that m is now.
	swap(m *member, target Target)
	// erase drops the KV of the lease's slots that are listed.
	erase(l *Lease, slots []int)
	// settle waits until llama-server has stopped working on a lease that was cut
	// short; early says that it may not have begun.
	settle(l *Lease, early bool)
	// probe asks the worker that m is now for a sign of life.
	probe(m *member)
	// kill ends the worker that m is now.
	kill(m *member, cause string)
	// end lets the process that m was end; nothing runs on it.
	end(m *member)
	// begin lets m, which has no process, have one.
	begin(m *member)
	// wake calls schedule after a while; a later call replaces an earlier one.
	wake(after time.Duration)
	now() time.Time
}

// state is the pool's whole state. One at a time owns it, in the program whoever
// holds the pool's lock and in tests the test; nothing in it is locked.
//
// Who runs where and in which slot is the scheduler's to know; the state knows
// processes, and what is being made ready on them.
type state struct {
	effects effects
	sched   *sched.Scheduler
	start   time.Time // of the scheduler's time

	devices []string  // given to members in turn; none is one that all share
	members []*member // workers, then spares; only grow adds to them
	waiting map[sched.Ticket]*ticket
	trials  trials
	tickets sched.Ticket // the last number given out
	facts   Facts        // of the worker that came up last
	closing bool         // nothing is admitted any more
	leaving bool         // see Pool.Dwindle
	shared  bool         // see Options.SharedFate
}

func newState(e effects, devices []string, opts sched.Options) *state {
	s := &state{
		effects: e, sched: sched.New(opts), start: e.now(), devices: devices,
		waiting: make(map[sched.Ticket]*ticket),
	}
	s.grow(opts.Workers, opts.Spares)
	return s
}

// grow adds members until there are as many workers, and spares behind them. There
// must be no spare before.
func (s *state) grow(workers, spares int) {
	for id := len(s.members); id < workers+spares; id++ {
		m := &member{id: id, begin: make(chan struct{}, 1)}
		if len(s.devices) > 0 {
			m.device = s.devices[id%len(s.devices)]
		}
		s.members = append(s.members, m)
	}
	s.sched.Grow(workers, spares, s.now())
}

// at is a moment in the scheduler's time.
func (s *state) at(t time.Time) sched.Time { return t.Sub(s.start) }
func (s *state) now() sched.Time           { return s.at(s.effects.now()) }

// schedule asks for a decision and carries it out.
func (s *state) schedule() {
	s.nextTrial()
	now := s.now()
	actions, wake := s.sched.Decide(now)
	replaced := false
	for _, a := range actions {
		switch m := s.members[a.Worker]; a.Kind {
		case sched.Reload, sched.Retire:
			s.replace(m)
			replaced = true
		case sched.Start:
			m.device = s.members[a.InPlaceOf].device
			s.effects.begin(m)
		default:
			s.place(a)
		}
	}
	if replaced { // a worker less: that may have changed what is to be done
		s.schedule()
		return
	}
	if wake != sched.Never {
		s.effects.wake(wake - now)
	}
	s.dwindle()
}

// replace ends a process on which nothing runs.
func (s *state) replace(m *member) {
	s.effects.end(m)
	m.up = nil
	m.gen++
	s.sched.Down(m.id, s.now())
}

// place starts making a request ready on its worker.
func (s *state) place(a sched.Action) {
	t, m := s.waiting[a.Ticket], s.members[a.Worker]
	delete(s.waiting, a.Ticket)
	l := &Lease{
		Worker: m.up, Member: m.id, Slot: a.Slot, State: StateWarm, Target: t.request.Target,
		SharedFate: s.shared, Since: m.since,
		member: m, gen: m.gen, ticket: t, slots: a.Slots, erase: a.Erase, placed: s.effects.now(),
	}
	t.lease = l
	m.preparing = append(m.preparing, l)
	if a.Kind == sched.Swap {
		m.swapping = true
		s.effects.swap(m, t.request.Target)
	}
	if m.swapping {
		l.State = StateSwap
	}
	if a.Missed {
		l.State = StateReload
	}
	if !m.swapping {
		s.ready(l)
	}
}

// ready does what is left to do before the lease can be handed out.
func (s *state) ready(l *Lease) {
	if len(l.erase) > 0 {
		slots := l.erase
		l.erase = nil
		s.effects.erase(l, slots)
		return
	}
	m := l.member
	m.preparing = slices.DeleteFunc(m.preparing, func(p *Lease) bool { return p == l })
	if l.abandoned {
		s.release(l, Done, Usage{})
		return
	}
	l.granted = true
	now := s.effects.now()
	l.Queued, l.Prepared = now.Sub(l.ticket.since), now.Sub(l.placed)
	l.ticket.result <- result{lease: l}
}

// swapped ends a swap of the worker's process gen. With an error the process
// cannot be trusted any more: nobody knows what is in force.
func (s *state) swapped(m *member, gen uint64, err error) {
	if m.gen != gen {
		return
	}
	if err != nil {
		s.distrust(m, fmt.Sprintf("swap failed: %v", err))
		return
	}
	m.swapping = false
	for _, l := range slices.Clone(m.preparing) {
		s.ready(l)
	}
}

// erased ends the erasing of a lease's slots.
func (s *state) erased(l *Lease, err error) {
	if l.gone() {
		return
	}
	if err != nil {
		s.distrust(l.member, fmt.Sprintf("erasing failed: %v", err))
		return
	}
	s.ready(l)
}

// release takes a lease back. One that did not run to its end keeps its slots
// until llama-server has really stopped: a swap before that would decode two
// adapters at once.
func (s *state) release(l *Lease, o Outcome, u Usage) {
	if l.released {
		return
	}
	l.released, l.usage = true, u
	if s.trials.current == l.ticket {
		s.schedule()
	}
	switch m := l.member; {
	case l.gone():
	case o == Done:
		s.settled(l)
	default:
		if o == Failed && !m.suspect {
			s.suspect(m)
			s.hold(m)
			s.effects.probe(m)
		}
		early := o != Cut
		if early {
			// Whatever comes of it, nobody knows what is left in the slots.
			s.sched.Taint(l.ticket.number)
		}
		s.effects.settle(l, early)
	}
}

// unsettled is settled for a worker that does not tell what it works on. One that
// does is never ended for a request that goes on.
func (s *state) unsettled(l *Lease, err error) {
	if !l.gone() {
		s.distrust(l.member, fmt.Sprintf("no sign of life while a cancelled request ends: %v", err))
	}
}

// settled ends a released lease: its slots are free.
func (s *state) settled(l *Lease) {
	if l.gone() {
		return
	}
	s.sched.Finish(l.ticket.number, l.usage, s.now())
	s.schedule()
}
