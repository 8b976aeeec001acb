package pool

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// supervise keeps one worker running until the pool is closed.
func (p *Pool) supervise(m *member) {
	log := p.opts.Log.With("worker", m.id)
	pauses := newBackoff(rand.Float64)
	for first := true; p.ctx.Err() == nil; first = false {
		err := p.runOnce(m, first)
		if p.ctx.Err() != nil {
			return
		}
		pause := pauses.fail(p.now())
		failing, restart := pauses.repeated(), p.now().Add(pause)
		log.Error("worker down", "error", err, "restart_in", pause.Round(time.Millisecond))
		p.post(func() { p.state.down(m, failing, restart, err) })
		select {
		case <-time.After(pause):
		case <-p.ctx.Done():
		}
	}
}

// runOnce runs one process of the worker from start to end and returns why it
// ended. The process and its files are gone by then.
func (p *Pool) runOnce(m *member, first bool) error {
	begun := p.now()
	r, err := p.start(m.id, first)
	if first {
		p.started <- err // buffered for every worker
	}
	if err != nil {
		return err
	}
	defer r.Stop()
	p.opts.Log.Info("worker ready", "worker", m.id, "pid", r.PID(), "took", p.now().Sub(begun).Round(time.Millisecond))
	p.post(func() { p.state.upWith(m, r, p.opts.Slots) })
	p.watch(r)
	return r.Err()
}

// start brings a process up. At the first start of the pool none is used before
// the self-test, which worker 0 takes, has passed.
func (p *Pool) start(id int, first bool) (Runner, error) {
	r, err := p.opts.Start(p.ctx, id)
	if err != nil {
		return nil, err
	}
	if first && id == 0 {
		if err := p.selfTest(r); err != nil {
			r.Stop()
			return nil, err
		}
		close(p.tested)
	}
	select {
	case <-p.tested:
		return r, nil
	case <-p.ctx.Done():
		r.Stop()
		return nil, p.ctx.Err()
	}
}

func (p *Pool) selfTest(r Runner) error {
	if p.opts.SelfTest == nil {
		return nil
	}
	begun := p.now()
	if err := p.opts.SelfTest(p.ctx, r); err != nil {
		return fmt.Errorf("self-test: %w", err)
	}
	p.opts.Log.Info("self-test passed", "took", p.now().Sub(begun).Round(time.Millisecond))
	return nil
}

// watch blocks until the process has ended or the pool is closed. It kills one
// that is alive but gives no sign of life for the call timeout.
func (p *Pool) watch(r Runner) {
	var tick <-chan time.Time
	if p.opts.WatchInterval > 0 {
		ticker := time.NewTicker(p.opts.WatchInterval)
		defer ticker.Stop()
		tick = ticker.C
	}
	for {
		select {
		case <-r.Exited():
			return
		case <-p.ctx.Done():
			return
		case <-tick:
			p.checkAlive(r)
		}
	}
}

func (p *Pool) checkAlive(r Runner) {
	ctx, cancel := context.WithTimeout(p.ctx, p.opts.CallTimeout)
	defer cancel()
	if _, err := r.Busy(ctx); errors.Is(err, context.DeadlineExceeded) {
		r.Kill(fmt.Sprintf("hung: no sign of life for %s", p.opts.CallTimeout))
	}
}
