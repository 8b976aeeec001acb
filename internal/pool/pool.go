// Package pool keeps a number of workers running and lends them out: one
// adapter at a time on a worker, no slot's KV cache ever used under another.
//
// The state (state.go) decides nothing by itself: the scheduler does. Everything
// that blocks (starting, swapping, erasing) runs in goroutines of its own and
// reports back.
package pool

import (
	"context"
	"sync"
	"time"
)

// Pool lends workers out. Its methods are safe for concurrent use.
type Pool struct {
	opts   Options
	ctx    context.Context // ends when the workers are to stop
	cancel context.CancelFunc
	done   chan struct{}  // closed when the pool is
	tasks  sync.WaitGroup // supervisors and effects

	started chan error    // how the start of each worker ended, spares left out
	tested  chan struct{} // closed when the self-test has passed
	sized   chan struct{} // closed when count is known
	count   int           // workers, spares left out; written before sized is closed

	// mu guards everything below. It is held for moments only: whoever has it never
	// waits for anything. A lock rather than a goroutine that owns the state,
	// because a request would wait for that to be woken, twice.
	mu     sync.Mutex
	state  *state
	closed bool
	ended  func(device string) // see Dwindle
	timer  *time.Timer         // calls schedule
}

// withLock runs an event, which must not block, as the owner of the state. It
// reports false, and does nothing, when the pool is closed.
func (p *Pool) withLock(event func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	event()
	return true
}

// Started blocks until every worker has come up once and returns nil, or returns
// the first reason why one did not: then the configuration does not work, and
// trying again would not help.
func (p *Pool) Started(ctx context.Context) error {
	if err := p.nextStarted(ctx); err != nil {
		return err
	}
	select {
	case <-p.sized:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	for range p.count - 1 {
		if err := p.nextStarted(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (p *Pool) nextStarted(ctx context.Context) error {
	select {
	case err := <-p.started:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Serves blocks until the first worker has come up and returns nil, or returns why it did
// not. It is for those who do not call Started.
func (p *Pool) Serves(ctx context.Context) error { return p.nextStarted(ctx) }

// Close turns away what waits, stops the workers and returns when they are
// gone. Leases that are still out lose their worker: let requests end first.
func (p *Pool) Close() {
	p.withLock(func() { p.state.close() })
	p.cancel()
	p.tasks.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.closed = true
		p.timer.Stop()
		close(p.done)
	}
}

func (p *Pool) now() time.Time { return time.Now() }
