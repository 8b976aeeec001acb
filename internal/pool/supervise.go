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

// supervise keeps one member's process running until the pool is closed, or the member
// is not needed any more.
func (p *Pool) supervise(m *member) {
	log := p.opts.Log.With("worker", m.id)
	pauses := newBackoff()
	first := !p.spare(m) // nobody waits for a spare's first start
	if first && !p.enter(m) {
		return
	}
	for {
		start, ok := p.plan(m)
		if !ok {
			p.tell(m)
			return
		}
		err := p.runOnce(m, start, &first)
		if p.ctx.Err() != nil {
			return
		}
		if errors.Is(err, errReplaced) {
			continue
		}
		pause := pauses.Fail(p.now())
		restart := p.now().Add(pause)
		log.Error("worker down", "error", err, "restart_in", pause.Round(time.Millisecond))
		p.withLock(func() { p.state.down(m, restart, err) })
		select {
		case <-time.After(pause):
		case <-m.begin:
		case <-p.ctx.Done():
		}
	}
}

// enter blocks until the member may have a process, and reports false when it will not
// have one.
func (p *Pool) enter(m *member) bool {
	if p.opts.Enter == nil {
		return true
	}
	device, err := p.opts.Enter(p.ctx, m.id)
	if err != nil {
		return false
	}
	p.withLock(func() { m.device = device })
	return true
}

// tell says that a member has gone, if it has.
func (p *Pool) tell(m *member) {
	var ended func(string)
	p.withLock(func() {
		if m.over {
			ended = p.ended
		}
	})
	if ended != nil {
		ended(m.device)
	}
}

// spare reports whether a member is one of the spares, which come after the workers.
func (p *Pool) spare(m *member) (spare bool) {
	p.withLock(func() { spare = p.state.sched.Vacant(m.id) })
	return spare
}

// plan blocks until the member is to have a process and returns which. It reports
// false when the pool is closed, or the member has gone.
func (p *Pool) plan(m *member) (start Start, ok bool) {
	for over := false; p.ctx.Err() == nil; {
		p.withLock(func() { start, ok, over = p.state.plan(m) })
		if ok {
			return p.present(start), true
		}
		if over {
			return start, false
		}
		select {
		case <-m.begin:
		case <-p.ctx.Done():
		}
	}
	return start, false
}

// present takes files out that are not there: one is enough to end llama-server.
func (p *Pool) present(start Start) Start {
	var lost []*QuarantinedFileError
	for _, file := range start.Files {
		if _, err := os.Stat(string(file)); err != nil {
			lost = append(lost, &QuarantinedFileError{File: file, Reason: err.Error()})
		}
	}
	if len(lost) == 0 {
		return start
	}
	p.withLock(func() { p.state.quarantine(lost) })
	p.report(lost)
	start.Files = slices.DeleteFunc(slices.Clone(start.Files), func(file File) bool {
		return slices.ContainsFunc(lost, func(l *QuarantinedFileError) bool { return l.File == file })
	})
	return start
}

func (p *Pool) report(quarantined []*QuarantinedFileError) {
	for _, f := range quarantined {
		if p.opts.Quarantined != nil {
			p.opts.Quarantined(f.File, f.Reason)
		}
	}
}

// runOnce runs one process of the member from start to end and returns why it
// ended. The process and its files are gone by then. first says that Started
// waits for how it starts.
func (p *Pool) runOnce(m *member, start Start, first *bool) error {
	begun := p.now()
	r, err := p.start(start, *first)
	if err != nil && p.ctx.Err() == nil {
		retry, bound := false, int64(0)
		p.withLock(func() { retry, bound = p.state.startFailed(m, err) })
		switch {
		case errors.Is(err, errSelfTest):
		case bound > 0:
			p.opts.Log.Warn("worker cannot load so many adapters: fewer are loaded from now on; set workers.adapter_memory or "+
				"workers.max_loaded",
				"worker", m.id, "adapters", len(start.Files), "adapter_memory", bound, "error", err)
			return errReplaced
		case retry:
			p.opts.Log.Warn("worker did not start with new adapters, trying without them", "worker", m.id, "error", err)
			return errReplaced
		}
	}
	tell := func() {
		if *first {
			*first = false
			p.started <- err // buffered for every worker
		}
	}
	if err != nil {
		tell()
		return err
	}
	defer r.Stop()
	p.opts.Log.Info("worker ready", "worker", m.id, "pid", r.PID(), "adapters", len(start.Files),
		"took", p.now().Sub(begun).Round(time.Millisecond))
	var quarantined []*QuarantinedFileError
	var ended chan struct{}
	p.withLock(func() {
		quarantined = p.state.upWith(m, r, p.opts.Slots)
		ended = m.ended
	})
	tell() // not before: whoever waits for it asks for what is loaded
	p.report(quarantined)
	if p.opts.Loaded != nil {
		p.opts.Loaded(start.Files)
	}
	if p.watch(m, r, ended) {
		return errReplaced
	}
	err = r.Err()
	if end, ended := EndOf(err); ended && p.opts.Ended != nil && p.ctx.Err() == nil {
		p.opts.Ended(end)
	}
	return err
}

// start brings a process up. At the first start of the pool none is used before
// the self-test, which worker 0 takes, has passed.
func (p *Pool) start(start Start, first bool) (Runner, error) {
	r, err := p.opts.Start(p.ctx, start)
	if err != nil {
		return nil, err
	}
	if first && start.ID == 0 {
		if err := p.selfTest(r, start.Files); err != nil {
			r.Stop()
			return nil, err
		}
		close(p.tested)
		if p.opts.Place != nil {
			devices := p.opts.Place(p.ctx)
			p.grow(len(devices), devices)
		}
	}
	select {
	case <-p.tested:
		return r, nil
	case <-p.ctx.Done():
		r.Stop()
		return nil, p.ctx.Err()
	}
}

func (p *Pool) selfTest(r Runner, files []File) error {
	if p.opts.SelfTest == nil {
		return nil
	}
	begun := p.now()
	if err := p.opts.SelfTest(p.ctx, r, files); err != nil {
		return fmt.Errorf("%w: %w", errSelfTest, err)
	}
	p.opts.Log.Info("self-test passed", "took", p.now().Sub(begun).Round(time.Millisecond))
	return nil
}

// watch blocks until the process has ended, is to end, or the pool is closed. It
// kills one that is alive but gives no sign of life for the call timeout. It
// reports whether the process is to end because it is replaced.
func (p *Pool) watch(m *member, r Runner, ended <-chan struct{}) (replaced bool) {
	var tick <-chan time.Time
	if p.opts.WatchInterval > 0 {
		ticker := time.NewTicker(p.opts.WatchInterval)
		defer ticker.Stop()
		tick = ticker.C
	}
	for {
		select {
		case <-ended:
			return true
		case <-r.Exited():
			return false
		case <-p.ctx.Done():
			return false
		case <-tick:
			p.checkAlive(m, r)
		}
	}
}

// checkAlive asks a worker's main loop for a sign of life, and blocks until there is
// one or none came for the call timeout.
func (p *Pool) checkAlive(m *member, r Runner) {
	ctx, cancel := context.WithTimeout(p.ctx, p.opts.CallTimeout)
	defer cancel()
	if p.opts.StallTimeout > 0 {
		stalled := make(chan struct{})
		late := time.AfterFunc(p.opts.StallTimeout, func() { p.stall(m, r); close(stalled) })
		defer func() {
			if !late.Stop() {
				<-stalled
				p.withLock(func() { p.state.recover(m, r) })
			}
		}()
	}
	if _, err := r.Slots(ctx); errors.Is(err, context.DeadlineExceeded) {
		r.Kill(fmt.Sprintf("hung: no sign of life for %s", p.opts.CallTimeout))
	}
}

func (p *Pool) stall(m *member, r Runner) {
	running, stalled := 0, false
	p.withLock(func() { running, stalled = p.state.stall(m, r) })
	if stalled {
		p.opts.Log.Warn("worker stalls: nobody else is sent to it until it answers", "worker", m.id,
			"silent_for", p.opts.StallTimeout, "running", running)
	}
}
