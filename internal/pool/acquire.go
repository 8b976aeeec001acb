package pool

import (
	"context"
	"time"
)

// Acquire blocks until the request may run and returns the lease, which the
// caller must Release. It returns a *BusyError or ErrStopping when the request
// was turned away, a *QuarantinedFileError or *NoRoomError when what it needs will never
// be loaded, a *WorkerError when workers failed under it, and ctx's cause
// when ctx ended first; its place in the queue is then free.
func (p *Pool) Acquire(ctx context.Context, req Request) (*Lease, error) {
	t := &ticket{request: req, since: req.Again, result: make(chan result, 1)}
	if t.since.IsZero() {
		t.since = p.now()
	}
	posted := p.withLock(func() {
		if err := p.state.admit(t); err != nil {
			t.refuse(err)
		}
	})
	if !posted {
		return nil, ErrStopping
	}
	select {
	case r := <-t.result: // most often: nobody had to wait
		return p.granted(r)
	default:
		return p.await(ctx, t)
	}
}

func (p *Pool) granted(r result) (*Lease, error) {
	if r.lease != nil {
		r.lease.owner = p
	}
	return r.lease, r.err
}

// await blocks until a queued request is granted or refused.
func (p *Pool) await(ctx context.Context, t *ticket) (*Lease, error) {
	timer := time.NewTimer(p.opts.MaxWait)
	defer timer.Stop()
	select {
	case r := <-t.result:
		return p.granted(r)
	case <-ctx.Done():
		p.withLock(func() { p.state.cancel(t) })
		return nil, context.Cause(ctx)
	case <-timer.C:
		busy := &BusyError{Reason: ReasonWaited, RetryAfter: retrySoon}
		p.withLock(func() {
			p.state.cancel(t)
			busy.RetryAfter = p.state.retryAfter()
		})
		return nil, busy
	case <-p.done:
		return nil, ErrStopping
	}
}

func (p *Pool) release(l *Lease, o Outcome, u Usage) {
	p.withLock(func() { p.state.release(l, o, u) })
}

func (p *Pool) prove(l *Lease) { p.withLock(func() { p.state.prove(l) }) }
