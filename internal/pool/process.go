package pool

import (
	"time"

	"github.com/loragate/loragate/internal/worker"
)

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
