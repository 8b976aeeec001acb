package pool

import (
	"slices"
	"time"

	"github.com/loragate/loragate/internal/sched"
)

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
		Ticket: t.number, Identity: r.Target.Identity, Files: r.Target.files(), Namespace: r.Namespace,
		Exclusive: r.Exclusive, Alone: r.Suspect, PrefixHashes: r.PrefixHashes,
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
