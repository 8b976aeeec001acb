package pool

import (
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/loragate/loragate/internal/lru"
	"github.com/loragate/loragate/internal/sched"
)

// scope says whose KV cache a slot holds. Two different scopes never share KV.
type scope string

const (
	clean   scope = ""        // nothing in it
	unknown scope = "unknown" // anything: llama-server used it as it pleased, or may still be
)

// scopeOf cannot collide with the two above: identities get a prefix.
func scopeOf(id sched.Identity) scope { return scope("id:" + string(id)) }

// effects is what a state asks for. Each call returns at once; the outcome
// comes back as a call of swapped, erased, settled, probed or down.
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
	now() time.Time
}

// state is the pool's whole state. One goroutine owns it, in the program the
// pool's loop and in tests the test; nothing in it is locked.
type state struct {
	effects  effects
	maxQueue int

	members []*member
	applied *lru.Set[int, sched.Identity] // what each member that is up applies, by last use; pinned while leased
	queue   []*ticket                     // in order of arrival
	tickets sched.Ticket                  // the last number given out
	closing bool                          // nothing is admitted any more
}

// ticket is one request that waits or is being made ready.
type ticket struct {
	number  sched.Ticket
	request Request
	since   time.Time
	tries   int         // workers that failed while making it ready
	result  chan result // buffered: the owner never blocks on it
	lease   *Lease      // once placed
}

type result struct {
	lease *Lease
	err   error
}

// member is one worker of the pool through all its restarts.
type member struct {
	id  int
	gen uint64 // counts the processes; what concerns an older one is void
	up  Runner // nil while there is none that can serve

	suspect   bool // it broke a request off and has given no sign of life since
	swapping  bool
	slots     *lru.Set[int, scope] // pinned while leased
	inFlight  int
	whole     bool // a lease has it for itself
	reserved  sched.Ticket
	preparing []*Lease // placed and not yet granted, in order

	failing  bool      // it died more than once in a short time
	restart  time.Time // when it is started again, while failing
	restarts int
}

func newState(e effects, workers, maxQueue int) *state {
	s := &state{effects: e, maxQueue: maxQueue, applied: lru.New[int, sched.Identity](workers)}
	for id := range workers {
		s.members = append(s.members, &member{id: id})
	}
	return s
}

// admit queues a request, or says why not.
func (s *state) admit(t *ticket) error {
	if s.closing {
		return ErrStopping
	}
	if err := s.unavailable(); err != nil {
		return err
	}
	// A request that runs again was admitted once already.
	if len(s.queue) >= s.maxQueue && !t.request.again() {
		return &BusyError{Reason: ReasonQueueFull, RetryAfter: retrySoon}
	}
	s.tickets++
	t.number = s.tickets
	s.enqueue(t)
	s.schedule()
	return nil
}

// enqueue keeps the queue in order of arrival, also for a request that waits
// again after its worker failed.
func (s *state) enqueue(t *ticket) {
	at := sort.Search(len(s.queue), func(i int) bool { return s.queue[i].since.After(t.since) })
	s.queue = append(s.queue, nil)
	copy(s.queue[at+1:], s.queue[at:])
	s.queue[at] = t
}

// unavailable returns an error when waiting would be idle: every worker is down
// and keeps failing. One that died once is back in a moment; that is waited for.
func (s *state) unavailable() error {
	var next time.Time
	for _, m := range s.members {
		if m.up != nil || !m.failing {
			return nil
		}
		if next.IsZero() || m.restart.Before(next) {
			next = m.restart
		}
	}
	return &BusyError{Reason: ReasonNoWorker, RetryAfter: max(next.Sub(s.effects.now()), retrySoon)}
}

// cancel forgets a request whose client left, wherever it is.
func (s *state) cancel(t *ticket) {
	if t.lease != nil {
		// Placed: being made ready, or granted in the same moment.
		t.lease.abandoned = true
		if t.lease.granted {
			s.release(t.lease, Done)
		}
		return
	}
	for i, q := range s.queue {
		if q == t {
			s.queue = append(s.queue[:i], s.queue[i+1:]...)
			s.schedule() // it may have held a reservation
			return
		}
	}
}

// schedule asks for a decision and carries it out.
func (s *state) schedule() {
	if len(s.queue) == 0 && !s.anyReserved() {
		return
	}
	byNumber := make(map[sched.Ticket]*ticket, len(s.queue))
	requests := make([]sched.Request, len(s.queue))
	for i, t := range s.queue {
		byNumber[t.number] = t
		requests[i] = sched.Request{Ticket: t.number, Identity: t.request.Target.Identity, Whole: t.request.Whole}
	}
	for _, a := range sched.Decide(requests, s.snapshot()) {
		m := s.members[a.Worker]
		switch a.Kind {
		case sched.Open:
			m.reserved = 0
		case sched.Reserve:
			m.reserved = a.Ticket
		case sched.Serve, sched.Swap:
			s.place(byNumber[a.Ticket], m, a.Kind)
		}
	}
	waiting := s.queue[:0]
	for _, t := range s.queue {
		if t.lease == nil {
			waiting = append(waiting, t)
		}
	}
	clear(s.queue[len(waiting):])
	s.queue = waiting
}

func (s *state) anyReserved() bool {
	for _, m := range s.members {
		if m.reserved != 0 {
			return true
		}
	}
	return false
}

// snapshot lists the workers that can serve, least recently used first.
func (s *state) snapshot() []sched.Worker {
	list := make([]sched.Worker, 0, len(s.members))
	add := func(m *member) {
		if m.suspect {
			return
		}
		applied, _ := s.applied.Peek(m.id)
		free := m.slots.IdleLen()
		if m.whole {
			free = 0
		}
		list = append(list, sched.Worker{
			ID: m.id, Applied: applied, InFlight: m.inFlight, Free: free, Reserved: m.reserved,
		})
	}
	for _, id := range s.applied.Idle() {
		add(s.members[id])
	}
	for _, m := range s.members {
		if m.up != nil && s.applied.Pinned(m.id) {
			add(m)
		}
	}
	return list
}

// place gives the request slots on m and starts making them ready.
func (s *state) place(t *ticket, m *member, kind sched.Kind) {
	id := t.request.Target.Identity
	l := &Lease{
		Worker: m.up, Member: m.id, State: StateWarm, Target: t.request.Target,
		member: m, gen: m.gen, ticket: t,
	}
	t.lease = l
	m.inFlight++
	m.preparing = append(m.preparing, l)
	s.applied.Pin(m.id)
	if kind == sched.Swap {
		s.applied.Put(m.id, id) // cannot evict: it is in already
		m.swapping = true
		s.effects.swap(m, t.request.Target)
	}
	s.takeSlots(l, scopeOf(id), t.request.Whole)
	if m.swapping {
		l.State = StateSwap
		return
	}
	s.ready(l)
}

// takeSlots picks the lease's slots and notes which must be erased before use.
// A request gets the slot of its scope that was used last, else a clean one,
// else the one least recently used. A whole worker's slots are all cleaned:
// llama-server may use any of them.
func (s *state) takeSlots(l *Lease, want scope, whole bool) {
	m := l.member
	if whole {
		m.whole = true
		l.Slot = NoSlot
		for _, slot := range m.slots.Idle() {
			s.takeSlot(l, slot, unknown)
		}
		return
	}
	idle := m.slots.Idle() // the decision saw a free one
	pick, rank := idle[0], 0
	for _, slot := range idle {
		switch held, _ := m.slots.Peek(slot); {
		case held == want:
			pick, rank = slot, 2
		case held == clean && rank == 0:
			pick, rank = slot, 1
		}
	}
	l.Slot = pick
	s.takeSlot(l, pick, want)
}

func (s *state) takeSlot(l *Lease, slot int, want scope) {
	slots := l.member.slots
	if held, _ := slots.Peek(slot); held != clean && (held != want || want == unknown) {
		l.erase = append(l.erase, slot)
	}
	slots.Put(slot, want) // cannot evict: there is an entry for every slot
	slots.Pin(slot)
	l.slots = append(l.slots, slot)
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
		s.release(l, Done)
		return
	}
	l.granted = true
	l.Queued = s.effects.now().Sub(l.ticket.since)
	l.ticket.result <- result{lease: l}
}

// swapped ends a swap of the worker's process gen. With an error the process
// cannot be trusted any more: nobody knows what is in force.
func (s *state) swapped(m *member, gen uint64, err error) {
	if m.gen != gen {
		return
	}
	if err != nil {
		s.condemn(m, fmt.Sprintf("swap failed: %v", err))
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
		s.condemn(l.member, fmt.Sprintf("erasing failed: %v", err))
		return
	}
	s.ready(l)
}

// release takes a lease back. One that did not run to its end keeps its slots
// until llama-server has really stopped: a swap before that would decode two
// adapters at once.
func (s *state) release(l *Lease, o Outcome) {
	if l.released {
		return
	}
	l.released = true
	switch m := l.member; {
	case l.gone():
	case o == Done:
		s.settled(l)
	default:
		if o == Failed && !m.suspect {
			m.suspect = true
			s.effects.probe(m)
		}
		early := o != Cut
		if early {
			// Whatever comes of it, nobody knows what is left in the slots.
			for _, slot := range l.slots {
				m.slots.Put(slot, unknown)
			}
		}
		s.effects.settle(l, early)
	}
}

// probed ends a probe. A process that cannot answer is replaced.
func (s *state) probed(m *member, gen uint64, err error) {
	if m.gen != gen {
		return
	}
	if err != nil {
		s.condemn(m, fmt.Sprintf("no sign of life: %v", err))
		return
	}
	m.suspect = false
	s.schedule()
}

// condemn ends a process that cannot be trusted. Nothing is placed on it until
// it is down, which comes next and lets what was being made ready wait again.
func (s *state) condemn(m *member, cause string) {
	m.suspect = true
	s.effects.kill(m, cause)
}

// unsettled is settled for a worker that would not stop.
func (s *state) unsettled(l *Lease, err error) {
	if !l.gone() {
		s.condemn(l.member, fmt.Sprintf("does not stop working on a cancelled request: %v", err))
	}
}

// settled frees the slots of a released lease.
func (s *state) settled(l *Lease) {
	if l.gone() {
		return
	}
	m := l.member
	for _, slot := range l.slots {
		m.slots.Unpin(slot)
	}
	if l.Slot == NoSlot {
		m.whole = false
	}
	m.inFlight--
	s.applied.Unpin(m.id)
	s.schedule()
}

// upWith takes a started worker in; its slots are clean and the base is in force.
func (s *state) upWith(m *member, r Runner, slots int) {
	m.gen++
	m.up = r
	m.suspect, m.swapping, m.whole, m.reserved, m.inFlight = false, false, false, 0, 0
	m.failing = false
	m.slots = lru.New[int, scope](slots)
	for slot := range slots {
		m.slots.Put(slot, clean)
	}
	s.applied.Put(m.id, sched.Base)
	s.schedule()
}

// down takes a worker out that died or could not be started. What was being
// made ready on it waits again, once; what ran on it fails by itself, and its
// owner asks again.
func (s *state) down(m *member, failing bool, restart time.Time, cause error) {
	m.failing, m.restart = failing, restart
	if m.up != nil {
		m.up = nil
		m.gen++
		m.restarts++
		s.applied.Remove(m.id)
	}
	lost := m.preparing
	m.preparing = nil
	for _, l := range lost {
		s.requeue(l.ticket, cause)
	}
	if err := s.unavailable(); err != nil {
		s.rejectAll(err)
	}
	s.schedule()
}

// requeue lets a request wait again whose worker failed while it was being made
// ready, once.
func (s *state) requeue(t *ticket, cause error) {
	if t.lease.abandoned {
		return
	}
	t.lease = nil
	if t.tries++; t.tries > 1 || t.request.again() {
		t.result <- result{err: &WorkerError{Cause: cause}}
		return
	}
	s.enqueue(t)
}

func (s *state) rejectAll(err error) {
	for _, t := range s.queue {
		t.result <- result{err: err}
	}
	s.queue = nil
}

// close turns everything away, now and from now on.
func (s *state) close() {
	s.closing = true
	s.rejectAll(ErrStopping)
}

func (s *state) stats() Stats {
	st := Stats{Waiting: len(s.queue), Workers: make([]WorkerStats, len(s.members))}
	for i, m := range s.members {
		st.Workers[i] = WorkerStats{Up: m.up != nil, InFlight: m.inFlight, Restarts: m.restarts}
		st.Workers[i].Applied, _ = s.applied.Peek(i)
	}
	return st
}
