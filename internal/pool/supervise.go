package pool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// errReplaced ends a process whose member is to load something else, or to have
// none.
var errReplaced = errors.New("replaced")

// errSelfTest is llama-server's fault, never an adapter's.
var errSelfTest = errors.New("self-test")

// supervisor keeps one member's process running until the pool is closed, or the member
// is not needed any more. It is owned by the goroutine that runs it.
type supervisor struct {
	*Pool
	member *member
	first  bool // Started waits for how its process starts
}

// run returns when there is nothing to supervise any more.
func (s *supervisor) run() {
	log := s.opts.Log.With("worker", s.member.id)
	pauses := newBackoff()
	s.first = !s.spare() // nobody waits for a spare's first start
	if s.first && !s.enter() {
		return
	}
	for {
		start, ok := s.plan()
		if !ok {
			s.tell()
			return
		}
		err := s.runOnce(start)
		if s.ctx.Err() != nil {
			return
		}
		if errors.Is(err, errReplaced) {
			continue
		}
		pause := pauses.Fail(s.now())
		restart := s.now().Add(pause)
		log.Error("worker down", "error", err, "restart_in", pause.Round(time.Millisecond))
		s.withLock(func() { s.state.down(s.member, restart, err) })
		select {
		case <-time.After(pause):
		case <-s.member.begin:
		case <-s.ctx.Done():
		}
	}
}

// enter blocks until the member may have a process, and reports false when it will not
// have one.
func (s *supervisor) enter() bool {
	if s.opts.Enter == nil {
		return true
	}
	device, err := s.opts.Enter(s.ctx, s.member.id)
	if err != nil {
		return false
	}
	s.withLock(func() { s.member.device = device })
	return true
}

// tell says that a member has gone, if it has.
func (s *supervisor) tell() {
	var ended func(string)
	s.withLock(func() {
		if s.member.over {
			ended = s.ended
		}
	})
	if ended != nil {
		ended(s.member.device)
	}
}

// spare reports whether a member is one of the spares, which come after the workers.
func (s *supervisor) spare() (spare bool) {
	s.withLock(func() { spare = s.state.sched.Vacant(s.member.id) })
	return spare
}

// plan blocks until the member is to have a process and returns which. It reports
// false when the pool is closed, or the member has gone.
func (s *supervisor) plan() (start Start, ok bool) {
	for over := false; s.ctx.Err() == nil; {
		s.withLock(func() { start, ok, over = s.state.plan(s.member) })
		if ok {
			return s.present(start), true
		}
		if over {
			return start, false
		}
		select {
		case <-s.member.begin:
		case <-s.ctx.Done():
		}
	}
	return start, false
}

// present takes files out that are not there: one is enough to end llama-server.
func (s *supervisor) present(start Start) Start {
	var lost []*QuarantinedFileError
	for _, file := range start.Files {
		if _, err := os.Stat(string(file)); err != nil {
			lost = append(lost, &QuarantinedFileError{File: file, Reason: err.Error()})
		}
	}
	if len(lost) == 0 {
		return start
	}
	s.withLock(func() { s.state.quarantine(lost) })
	s.report(lost)
	start.Files = slices.DeleteFunc(slices.Clone(start.Files), func(file File) bool {
		return slices.ContainsFunc(lost, func(l *QuarantinedFileError) bool { return l.File == file })
	})
	return start
}

func (s *supervisor) report(quarantined []*QuarantinedFileError) {
	for _, f := range quarantined {
		if s.opts.Quarantined != nil {
			s.opts.Quarantined(f.File, f.Reason)
		}
	}
}

// runOnce runs one process of the member from start to end and returns why it
// ended. The process and its files are gone by then.
func (s *supervisor) runOnce(start Start) error {
	begun := s.now()
	r, err := s.start(start)
	if err != nil && s.ctx.Err() == nil {
		retry, bound := false, int64(0)
		s.withLock(func() { retry, bound = s.state.startFailed(s.member, err) })
		switch {
		case errors.Is(err, errSelfTest):
		case bound > 0:
			s.opts.Log.Warn("worker cannot load so many adapters: fewer are loaded from now on; set workers.adapter_memory or "+
				"workers.max_loaded",
				"worker", s.member.id, "adapters", len(start.Files), "adapter_memory", bound, "error", err)
			return errReplaced
		case retry:
			s.opts.Log.Warn("worker did not start with new adapters, trying without them", "worker", s.member.id, "error", err)
			return errReplaced
		}
	}
	answer := func() {
		if s.first {
			s.first = false
			s.started <- err // buffered for every worker
		}
	}
	if err != nil {
		answer()
		return err
	}
	defer r.Stop()
	s.opts.Log.Info("worker ready", "worker", s.member.id, "pid", r.PID(), "adapters", len(start.Files),
		"took", s.now().Sub(begun).Round(time.Millisecond))
	var quarantined []*QuarantinedFileError
	var ended chan struct{}
	s.withLock(func() {
		quarantined = s.state.upWith(s.member, r, s.opts.Slots)
		ended = s.member.ended
	})
	answer() // not before: whoever waits for it asks for what is loaded
	s.report(quarantined)
	if s.opts.Loaded != nil {
		s.opts.Loaded(start.Files)
	}
	if s.watch(r, ended) {
		return errReplaced
	}
	err = r.Err()
	if end, ended := EndOf(err); ended && s.opts.Ended != nil && s.ctx.Err() == nil {
		s.opts.Ended(end)
	}
	return err
}

// start brings a process up. At the first start of the pool none is used before
// the self-test, which worker 0 takes, has passed.
func (s *supervisor) start(start Start) (Runner, error) {
	r, err := s.opts.Start(s.ctx, start)
	if err != nil {
		return nil, err
	}
	if s.first && start.ID == 0 {
		if err := s.selfTest(r, start.Files); err != nil {
			r.Stop()
			return nil, err
		}
		close(s.tested)
		if s.opts.Place != nil {
			devices := s.opts.Place(s.ctx)
			s.grow(len(devices), devices)
		}
	}
	select {
	case <-s.tested:
		return r, nil
	case <-s.ctx.Done():
		r.Stop()
		return nil, s.ctx.Err()
	}
}

func (s *supervisor) selfTest(r Runner, files []File) error {
	if s.opts.SelfTest == nil {
		return nil
	}
	begun := s.now()
	if err := s.opts.SelfTest(s.ctx, r, files); err != nil {
		return fmt.Errorf("%w: %w", errSelfTest, err)
	}
	s.opts.Log.Info("self-test passed", "took", s.now().Sub(begun).Round(time.Millisecond))
	return nil
}

// watch blocks until the process has ended, is to end, or the pool is closed. It
// kills one that is alive but gives no sign of life for the call timeout. It
// reports whether the process is to end because it is replaced.
func (s *supervisor) watch(r Runner, ended <-chan struct{}) (replaced bool) {
	var tick <-chan time.Time
	if s.opts.WatchInterval > 0 {
		ticker := time.NewTicker(s.opts.WatchInterval)
		defer ticker.Stop()
		tick = ticker.C
	}
	for {
		select {
		case <-ended:
			return true
		case <-r.Exited():
			return false
		case <-s.ctx.Done():
			return false
		case <-tick:
			s.checkAlive(r)
		}
	}
}

// checkAlive asks a worker's main loop for a sign of life, and blocks until there is
// one or none came for the call timeout.
func (s *supervisor) checkAlive(r Runner) {
	ctx, cancel := context.WithTimeout(s.ctx, s.opts.CallTimeout)
	defer cancel()
	if s.opts.StallTimeout > 0 {
		stalled := make(chan struct{})
		late := time.AfterFunc(s.opts.StallTimeout, func() { s.stall(r); close(stalled) })
		defer func() {
			if !late.Stop() {
				<-stalled
				s.withLock(func() { s.state.recover(s.member, r) })
			}
		}()
	}
	if _, err := r.Slots(ctx); errors.Is(err, context.DeadlineExceeded) {
		r.Kill(fmt.Sprintf("hung: no sign of life for %s", s.opts.CallTimeout))
	}
}

func (s *supervisor) stall(r Runner) {
	running, stalled := 0, false
	s.withLock(func() { running, stalled = s.state.stall(s.member, r) })
	if stalled {
		s.opts.Log.Warn("worker stalls: nobody else is sent to it until it answers", "worker", s.member.id,
			"silent_for", s.opts.StallTimeout, "running", running)
	}
}
