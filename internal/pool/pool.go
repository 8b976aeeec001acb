// Package pool keeps a number of workers running and lends them out: one
// adapter at a time on a worker, no slot's KV cache ever used under another.
//
// One goroutine, the loop, owns the state (state.go). Everything that blocks
// (starting, swapping, erasing) runs in goroutines of its own and reports back
// to the loop.
package pool

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/loragate/loragate/internal/sched"
)

// Options says what a pool consists of. All fields without a word on it are
// required.
type Options struct {
	Count   int           // workers
	Slots   int           // of each worker
	Queue   int           // requests that may wait
	MaxWait time.Duration // how long each may

	// Start starts worker number id and blocks until it is ready. It is called
	// again for every restart.
	Start func(ctx context.Context, id int) (Runner, error)
	// SelfTest judges the first start of worker 0, before any request runs; it
	// must leave all slots empty and the base in force. Nil is no test.
	SelfTest func(ctx context.Context, r Runner) error
	// CallTimeout bounds each of the pool's own calls of a worker; one that does
	// not answer in time is replaced.
	CallTimeout time.Duration
	// WatchInterval is how often a worker is asked for a sign of life; 0 never.
	WatchInterval time.Duration

	Log *slog.Logger
}

// Pool lends workers out. Its methods are safe for concurrent use.
type Pool struct {
	opts   Options
	ctx    context.Context // ends when the workers are to stop
	cancel context.CancelFunc
	events chan func()    // run by the loop, one after the other
	quit   chan struct{}  // closed to end the loop
	done   chan struct{}  // closed when the loop has ended
	tasks  sync.WaitGroup // supervisors and effects

	started chan error    // how the first start of each worker ended
	tested  chan struct{} // closed when the self-test has passed

	state *state // owned by the loop
}

// New starts a pool and returns at once; the workers come up in the background
// (see Started). Close must be called.
func New(opts Options) *Pool {
	ctx, cancel := context.WithCancel(context.Background())
	p := &Pool{
		opts: opts, ctx: ctx, cancel: cancel,
		events: make(chan func()), quit: make(chan struct{}), done: make(chan struct{}),
		started: make(chan error, opts.Count), tested: make(chan struct{}),
	}
	p.state = newState(p, opts.Count, opts.Queue)
	for _, m := range p.state.members {
		p.tasks.Go(func() { p.supervise(m) })
	}
	go p.loop()
	return p
}

func (p *Pool) loop() {
	defer close(p.done)
	for {
		select {
		case event := <-p.events:
			event()
		case <-p.quit:
			return
		}
	}
}

// post hands an event to the loop. It blocks only while the loop runs other
// events, which never block, and reports false when the pool is closed.
func (p *Pool) post(event func()) bool {
	select {
	case p.events <- event:
		return true
	case <-p.done:
		return false
	}
}

// Started blocks until every worker has come up once and returns nil, or returns
// the first reason why one did not: then the configuration does not work, and
// trying again would not help.
func (p *Pool) Started(ctx context.Context) error {
	for range p.opts.Count {
		select {
		case err := <-p.started:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// Acquire blocks until the request may run and returns the lease, which the
// caller must Release. It returns a *BusyError or ErrStopping when the request
// was turned away, a *WorkerError when workers failed under it, and ctx's cause
// when ctx ended first; its place in the queue is then free.
func (p *Pool) Acquire(ctx context.Context, req Request) (*Lease, error) {
	t := &ticket{request: req, since: req.Again, result: make(chan result, 1)}
	if t.since.IsZero() {
		t.since = p.now()
	}
	posted := p.post(func() {
		if err := p.state.admit(t); err != nil {
			t.result <- result{err: err}
		}
	})
	if !posted {
		return nil, ErrStopping
	}
	timer := time.NewTimer(p.opts.MaxWait)
	defer timer.Stop()
	select {
	case r := <-t.result:
		if l := r.lease; l != nil {
			l.release = func(o Outcome) { p.post(func() { p.state.release(l, o) }) }
		}
		return r.lease, r.err
	case <-ctx.Done():
		p.post(func() { p.state.cancel(t) })
		return nil, context.Cause(ctx)
	case <-timer.C:
		p.post(func() { p.state.cancel(t) })
		return nil, &BusyError{Reason: ReasonWaited, RetryAfter: retrySoon}
	case <-p.done:
		return nil, ErrStopping
	}
}

// Stats is what the pool looks like at one moment.
type Stats struct {
	Waiting int
	Workers []WorkerStats // by worker number
}

// WorkerStats is one worker of Stats.
type WorkerStats struct {
	Up       bool
	Applied  sched.Identity
	InFlight int // leases out, including those whose work is being cancelled
	Restarts int // processes that died after they were up
}

// Stats returns the present state; it blocks only while the loop runs events.
func (p *Pool) Stats() Stats {
	reply := make(chan Stats, 1)
	if !p.post(func() { reply <- p.state.stats() }) {
		return Stats{Workers: make([]WorkerStats, p.opts.Count)}
	}
	return <-reply
}

// Close turns away what waits, stops the workers and returns when they are
// gone. Leases that are still out lose their worker: let requests end first.
func (p *Pool) Close() {
	p.post(func() { p.state.close() })
	p.cancel()
	p.tasks.Wait()
	close(p.quit)
	<-p.done
}

// Kill ends every worker that is up at once; only useful when the pool is to be
// closed without waiting for workers to end by themselves.
func (p *Pool) Kill(cause string) {
	p.post(func() {
		for _, m := range p.state.members {
			if m.up != nil {
				p.kill(m, cause)
			}
		}
	})
}

// The effects of the state. All are called by the loop.

var _ effects = (*Pool)(nil)

func (p *Pool) now() time.Time { return time.Now() }

// call runs one of the pool's own calls of a worker in the background, but none
// any more once the state is closed, so that Close can wait for all.
func (p *Pool) call(f func(ctx context.Context)) {
	if p.state.closing {
		return
	}
	p.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(p.ctx, p.opts.CallTimeout)
		defer cancel()
		f(ctx)
	})
}

func (p *Pool) swap(m *member, target Target) {
	gen, r := m.gen, m.up
	p.call(func(ctx context.Context) {
		err := r.Apply(ctx, target.Parts)
		p.post(func() { p.state.swapped(m, gen, err) })
	})
}

func (p *Pool) erase(l *Lease, slots []int) {
	p.call(func(ctx context.Context) {
		var err error
		for _, slot := range slots {
			if err = l.Worker.Erase(ctx, slot); err != nil {
				break
			}
		}
		p.post(func() { p.state.erased(l, err) })
	})
}

// settleInterval is how often a worker is asked whether it has stopped working
// on a request whose client left.
const settleInterval = 50 * time.Millisecond

func (p *Pool) settle(l *Lease, early bool) {
	p.call(func(ctx context.Context) {
		err := awaitIdle(ctx, l, settling{seen: !early, since: p.now()})
		p.post(func() {
			if err != nil {
				p.state.unsettled(l, err)
				return
			}
			p.state.settled(l)
		})
	})
}

// awaitIdle blocks until the lease's slots have settled, its process has ended
// or ctx ends, which is the only error.
func awaitIdle(ctx context.Context, l *Lease, s settling) error {
	ticker := time.NewTicker(settleInterval)
	defer ticker.Stop()
	for {
		busy, err := l.Worker.Busy(ctx)
		if err == nil && s.settled(anyOf(busy, l.slots), time.Now()) {
			return nil
		}
		select {
		case <-ticker.C:
		case <-l.Worker.Exited():
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// settling judges whether llama-server has done with a cancelled request. A
// request that it has read but not yet queued leaves its slot idle for a moment;
// it notices that a client is gone about once a second.
type settling struct {
	seen  bool // it was at work on the request
	since time.Time
}

// settleGrace is how long slots must have been idle if no work was ever seen:
// twice the time in which llama-server looks for its client.
const settleGrace = 2 * time.Second

func (s *settling) settled(busy bool, now time.Time) bool {
	if busy {
		s.seen = true
		return false
	}
	return s.seen || now.Sub(s.since) >= settleGrace
}

func anyOf(busy []bool, slots []int) bool {
	for _, slot := range slots {
		if busy[slot] {
			return true
		}
	}
	return false
}

func (p *Pool) probe(m *member) {
	gen, r := m.gen, m.up
	p.call(func(ctx context.Context) {
		_, err := r.Busy(ctx)
		p.post(func() { p.state.probed(m, gen, err) })
	})
}

func (p *Pool) kill(m *member, cause string) { m.up.Kill(cause) }
