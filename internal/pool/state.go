package pool

import (
	"fmt"
	"slices"
	"time"

	"github.com/loragate/loragate/internal/sched"
	"github.com/loragate/loragate/internal/worker"
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

// ticket is one request that waits or is being made ready.
type ticket struct {
	number  sched.Ticket
	request Request
	since   time.Time
	tries   int         // workers that failed while making it ready
	result  chan result // buffered: the owner never blocks on it
	lease   *Lease      // once placed
	over    bool        // it was refused, or its client left
}

// refuse is the end of a ticket that gets no lease.
func (t *ticket) refuse(err error) {
	t.over = true
	t.result <- result{err: err}
}

type result struct {
	lease *Lease
	err   error
}

// member is one worker of the pool through all its restarts.
type member struct {
	id     int
	device string
	gen    uint64 // counts the processes; what concerns an older one is void
	over   bool   // it has no process any more, and none again
	up     Runner // nil while there is none that can serve

	suspect   bool      // it broke a request off and has given no sign of life since
	stalled   bool      // its main loop does not answer at the moment
	held      bool      // another of its device failed, and may have taken it along
	since     time.Time // when its process was ready
	swapping  bool
	preparing []*Lease // placed and not yet granted, in order

	ended chan struct{} // closed when its process is to end
	begin chan struct{} // receives when a member without a process is to have one

	suspicion string    // why its last start failed, if files may be to blame
	unstarted int       // processes in a row that did not come up
	restart   time.Time // when it is started again, while it is down and pauses
	restarts  int
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

// admit queues a request, or says why not.
func (s *state) admit(t *ticket) error {
	if s.closing {
		return ErrStopping
	}
	if err := s.unavailable(); err != nil {
		return err
	}
	if err := s.loadable(t.request.Target.files()); err != nil {
		return err
	}
	switch {
	case t.request.Suspect:
		s.trials.add(t)
	case !s.enqueue(t):
		return s.queueFull()
	}
	s.schedule()
	return nil
}

// loadable returns why no worker will ever have the files loaded, or nil.
func (s *state) loadable(files []sched.File) error {
	for _, file := range files {
		if s.sched.Quarantined(file) {
			return &QuarantinedFileError{File: file, Reason: "it was tried"}
		}
	}
	if !s.sched.Room(files) {
		return &NoRoomError{Files: len(files)}
	}
	return nil
}

func (s *state) queueFull() *BusyError {
	return &BusyError{Reason: ReasonQueueFull, RetryAfter: s.retryAfter()}
}

// retryAfter is when a request that is turned away now may hope for a place.
func (s *state) retryAfter() time.Duration {
	return min(max(s.sched.RetryAfter(s.now()), retrySoon), retryLate)
}

// enqueue hands a request to the scheduler, unless the queue is full.
func (s *state) enqueue(t *ticket) bool {
	s.tickets++
	t.number = s.tickets
	r := t.request
	evicted, admitted := s.sched.Arrive(sched.Request{
		Ticket: t.number, Identity: r.Target.Identity, Files: r.Target.files(), Namespace: r.Namespace, Exclusive: r.Exclusive, Alone: r.Suspect, PrefixHashes: r.PrefixHashes,
		NamespaceWeight: r.NamespaceWeight, Priority: r.Priority, Turn: r.Turn,
		Weight: r.Target.Weight, MaxConcurrency: r.Target.MaxConcurrency,
		Since: s.at(t.since), Again: r.again() || t.tries > 0,
	}, s.now())
	if !admitted {
		return false
	}
	s.waiting[t.number] = t
	if e, ok := s.waiting[evicted]; ok {
		delete(s.waiting, evicted)
		e.refuse(s.queueFull())
	}
	return true
}

const (
	// hopeless is how many starts in a row must have failed before a worker is not
	// waited for. One that died while it served has shown that it can start.
	hopeless = 2
	// near is how far away the next start of a worker may be that is waited for.
	near = 5 * time.Second
)

// unavailable returns an error when waiting would be idle: every worker is down, and
// has failed to start repeatedly, or is not started again soon.
func (s *state) unavailable() error {
	var next time.Time
	for _, m := range s.members {
		if s.sched.Vacant(m.id) {
			continue
		}
		if m.up != nil || m.unstarted < hopeless && m.restart.Sub(s.effects.now()) <= near {
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
	t.over = true
	if t.lease != nil {
		// Placed: being made ready, or granted in the same moment.
		t.lease.abandoned = true
		if t.lease.granted {
			s.release(t.lease, Done, Usage{})
		}
		return
	}
	if _, waits := s.waiting[t.number]; waits {
		delete(s.waiting, t.number)
		s.sched.Leave(t.number, s.now())
	}
	s.schedule() // a worker may be draining for it, or a suspect wait for its trial
}

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

// plan returns what the member's next process is to be, or false if it is to have
// none, and whether it never will.
func (s *state) plan(m *member) (start Start, ok, over bool) {
	if s.dispensable(m) && len(s.waiting) == 0 {
		s.goes(m)
	}
	if m.over {
		return Start{}, false, true
	}
	files, ok := s.sched.Plan(m.id, s.now())
	if ok {
		m.restart = time.Time{} // this is it
	}
	return Start{ID: m.id, Device: m.device, Files: files}, ok, false
}

// upWith takes a started worker in; its slots are clean and the base is in force.
// It returns the files that turned out to have been to blame when it did not
// start before, and why.
func (s *state) upWith(m *member, r Runner, slots int) (quarantined []*QuarantinedFileError) {
	m.gen++
	m.up, s.facts = r, r.Facts()
	m.ended = make(chan struct{})
	m.suspect, m.stalled, m.held, m.swapping, m.unstarted = false, false, false, false, 0
	m.since = s.effects.now()
	s.sched.Up(m.id, slots, m.device, s.now())
	for _, file := range s.sched.NewlyQuarantined() {
		quarantined = append(quarantined, &QuarantinedFileError{File: file, Reason: m.suspicion})
	}
	s.reject(quarantined)
	s.rejectRoomless() // what a worker had when they were admitted may be out now
	s.schedule()
	return quarantined
}

// startFailed takes notice of a process that did not come up. It reports true if
// it is to be started again at once: without files that were new in it and may be
// to blame, or, if it was too much, with less. bound is how many bytes of files are
// loaded at most from then on, if it has just been learned.
func (s *state) startFailed(m *member, cause error) (again bool, bound int64) {
	if worker.TooMuch(cause) {
		if bound, learned := s.sched.TooMuch(m.id); learned {
			s.rejectRoomless()
			s.schedule()
			return true, bound
		}
	}
	suspicion := s.sched.Failed(m.id, s.now())
	if suspicion {
		m.suspicion = cause.Error()
		s.schedule()
	}
	return suspicion, 0
}

// quarantine says that files are not there any more.
func (s *state) quarantine(files []*QuarantinedFileError) {
	for _, f := range files {
		s.sched.Quarantine(f.File)
	}
	s.reject(files)
	s.schedule()
}

// reject turns those away that wait for files which cannot be loaded.
func (s *state) reject(files []*QuarantinedFileError) {
	for _, f := range files {
		for number, t := range s.waiting {
			if slices.Contains(t.request.Target.files(), f.File) {
				s.sched.Leave(number, s.now())
				delete(s.waiting, number)
				t.refuse(f)
			}
		}
	}
}

// rejectRoomless turns those away for whose files there is no room any more beside
// what is pinned now.
func (s *state) rejectRoomless() {
	for number, t := range s.waiting {
		if files := t.request.Target.files(); !s.sched.Room(files) {
			s.sched.Leave(number, s.now())
			delete(s.waiting, number)
			t.refuse(&NoRoomError{Files: len(files)})
		}
	}
}

// down takes a worker out that died or could not be started. What was being
// made ready on it waits again, once; what ran on it fails by itself, and its
// owner asks again.
//
// Where the workers of a device share the fate of one that crashes (CUDA's
// multi-process service ends with it), what runs on the others fails by itself, too.
// Those on which nothing runs would fail with their next request, and are replaced
// before that.
func (s *state) down(m *member, restart time.Time, cause error) {
	m.restart = restart
	if m.up == nil {
		m.unstarted++
	} else {
		m.up = nil
		m.gen++
		m.restarts++
		s.sched.Down(m.id, s.now())
	}
	if s.shared && crashed(cause) {
		s.replaceIdle(m)
	}
	s.letGo(m)
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
	if t.tries++; t.tries > 1 {
		t.refuse(&WorkerError{Cause: cause})
		return
	}
	if err := s.loadable(t.request.Target.files()); err != nil { // quarantined meanwhile
		t.refuse(err)
		return
	}
	s.enqueue(t) // cannot be refused: it was admitted once
}

func (s *state) rejectAll(err error) {
	for number, t := range s.waiting {
		s.sched.Leave(number, s.now())
		t.refuse(err)
	}
	clear(s.waiting)
	for _, t := range s.trials.queue {
		t.refuse(err)
	}
	s.trials.queue = nil
}

// close turns everything away, now and from now on.
func (s *state) close() {
	s.closing = true
	s.rejectAll(ErrStopping)
}
