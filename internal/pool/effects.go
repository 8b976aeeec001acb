package pool

import (
	"context"
	"time"
)

// calls makes the pool's own calls of workers: it is the effects of the state, whose owner
// calls them.
type calls struct{ *Pool }

var _ effects = calls{}

// call runs one of the pool's own calls of a worker in the background, but none
// any more once the state is closed, so that Close can wait for all.
func (p calls) call(f func(ctx context.Context)) {
	if p.state.closing {
		return
	}
	p.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(p.ctx, p.opts.CallTimeout)
		defer cancel()
		f(ctx)
	})
}

// wake may leave a call of an earlier time behind, which does no harm.
func (p calls) wake(after time.Duration) { p.timer.Reset(after) }

func (p calls) swap(m *member, target Target) {
	gen, r := m.gen, m.up
	p.call(func(ctx context.Context) {
		begun := p.now()
		err := p.patiently(ctx, func(ctx context.Context) error { return r.Apply(ctx, target.Parts) })
		if err == nil && p.opts.Swapped != nil {
			p.opts.Swapped(m.id, p.now().Sub(begun))
		}
		p.withLock(func() { p.state.swapped(m, gen, err) })
	})
}

func (p calls) erase(l *Lease, slots []int) {
	p.call(func(ctx context.Context) {
		var err error
		for _, slot := range slots {
			if err = p.patiently(ctx, func(ctx context.Context) error { return l.Worker.Erase(ctx, slot) }); err != nil {
				break
			}
		}
		p.withLock(func() { p.state.erased(l, err) })
	})
}

func (p calls) probe(m *member) {
	gen, r := m.gen, m.up
	p.call(func(ctx context.Context) {
		err := p.patiently(ctx, func(ctx context.Context) error {
			_, err := r.Slots(ctx)
			return err
		})
		if err != nil {
			awaitEnd(ctx, r)
		}
		p.withLock(func() { p.state.probed(m, gen, err) })
	})
}

// endGrace is how long a process that answers no more may take to be gone: it closes its
// socket first, and gives gigabytes back then.
const endGrace = 5 * time.Second

// awaitEnd lets a process that is ending already end by itself, so that it is known what
// ended it: one that a signal from outside ends is no reason to suspect a request.
func awaitEnd(ctx context.Context, r Runner) {
	timer := time.NewTimer(endGrace)
	defer timer.Stop()
	select {
	case <-r.Exited():
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (p calls) kill(m *member, cause string) { m.up.Kill(cause) }

func (p calls) end(m *member) { close(m.ended) }

// begin may find the signal of an earlier time, which serves as well.
func (p calls) begin(m *member) {
	select {
	case m.begin <- struct{}{}:
	default:
	}
}
