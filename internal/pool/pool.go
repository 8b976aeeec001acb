// Package pool keeps a number of workers running and lends them out: one
// adapter at a time on a worker, no slot's KV cache ever used under another.
//
// The state (state.go) decides nothing by itself: the scheduler does. Everything
// that blocks (starting, swapping, erasing) runs in goroutines of its own and
// reports back.
package pool

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/loragate/loragate/internal/sched"
	"github.com/loragate/loragate/internal/upstream"
	"github.com/loragate/loragate/internal/worker"
)

// Options says what a pool consists of. All fields without a word on it are
// required.
type Options struct {
	Count int // workers
	// Place says on which device each worker is to be, the first one's first, and so how
	// many there are, once the first has come up and has passed the self-test: instead
	// of Count and Devices. The others start after that. It may block, until ctx ends.
	// Nil is Count at once.
	Place func(ctx context.Context) (devices []string)
	// Enter blocks until a worker may have its first process, or ctx ends, and returns the
	// device that it is to be on. It is not asked for spares. Nil lets all start at once, on
	// the devices that Devices says.
	Enter         func(ctx context.Context, id int) (device string, err error)
	Slots         int           // of each worker
	Devices       []string      // what the workers run on, given to them in turn; none is one that all share
	Queue         int           // requests that may wait
	MaxWait       time.Duration // how long each may
	Quantum       time.Duration // how long a target keeps a worker for which others wait, or Auto
	ScaleOutAfter time.Duration // how long requests wait before a target gets a second worker of a device, or Auto

	Aging time.Duration // what a step of priority is worth, in time waited

	// Adjacent says that workers batch only requests in slots whose numbers follow
	// each other.
	Adjacent bool
	// Together says that the workers of a device run at the same time, not in turns.
	Together bool

	// SharedFate says that a worker's crash may take the others of its device along.
	SharedFate bool

	// What workers have loaded, as in sched.Options.
	MaxLoaded      int
	Memory         int64
	Spares         int
	First          int
	ReloadInterval time.Duration

	// Start starts a worker's process and blocks until it is ready. It is called
	// again for every restart.
	Start func(ctx context.Context, s Start) (Runner, error)
	// SelfTest judges the first start of worker 0, which has loaded the files, before
	// any request runs; it must leave all slots empty and the base in force. Nil is
	// no test.
	SelfTest func(ctx context.Context, r Runner, files []File) error
	// Loaded is told what a process that came up has loaded, and Quarantined of files
	// that will not be loaded any more, and why. They must not block; they may not
	// call the pool. Nil is nobody.
	Loaded      func(files []File)
	Quarantined func(file File, reason string)
	// CallTimeout bounds each of the pool's own calls of a worker; one that does
	// not answer in time is replaced.
	CallTimeout time.Duration
	// StallTimeout is how long a worker may go without telling of its slots before
	// nobody else is sent to it, until it does; 0 is no bound.
	StallTimeout time.Duration
	// WatchInterval is how often a worker is asked for a sign of life; 0 never.
	WatchInterval time.Duration
	// Ended is told of every process that served and ended though nobody asked for it; it
	// must not block. Nil is nobody.
	Ended func(End)
	// Swapped is told of every swap; it must not block. Nil is nobody.
	Swapped func(worker int, took time.Duration)

	Log *slog.Logger
}

// Start says which process to start.
type Start struct {
	ID     int    // the member's number
	Device string // as in Options.Devices; "" leaves it to llama-server
	Files  []File // to load
}

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

// New starts a pool and returns at once; the workers come up in the background
// (see Started) and load what they can of the stock. Close must be called.
func New(opts Options, stock []Stock) *Pool {
	ctx, cancel := context.WithCancel(context.Background())
	p := &Pool{
		opts: opts, ctx: ctx, cancel: cancel, done: make(chan struct{}),
		started: make(chan error, mostWorkers), tested: make(chan struct{}), sized: make(chan struct{}),
	}
	p.state = newState(p, opts.Devices, sched.Options{
		Quantum: opts.Quantum, ScaleOutAfter: opts.ScaleOutAfter, Queue: opts.Queue, Aging: opts.Aging, Adjacent: opts.Adjacent, Together: opts.Together,
		MaxLoaded: opts.MaxLoaded, Memory: opts.Memory, First: opts.First, ReloadInterval: opts.ReloadInterval,
	})
	p.state.shared = opts.SharedFate
	p.state.sched.SetStock(stock, p.state.now())
	p.timer = time.AfterFunc(time.Hour, func() { p.withLock(p.state.schedule) })
	if opts.Place == nil {
		p.grow(opts.Count, opts.Devices)
	} else {
		p.withLock(func() { p.state.grow(1, 0) })
		p.superviseAll(p.state.members)
	}
	return p
}

// mostWorkers is more than any machine runs.
const mostWorkers = 1 << 10

// grow settles how many workers there are, and starts those that are new.
func (p *Pool) grow(count int, devices []string) {
	p.count = min(max(count, 1), mostWorkers)
	var added []*member
	p.withLock(func() {
		had := len(p.state.members)
		p.state.devices = devices
		p.state.grow(p.count, p.opts.Spares)
		added = p.state.members[had:]
		for _, m := range added {
			if p.opts.Enter != nil && !p.state.sched.Vacant(m.id) {
				p.state.sched.Excuse(m.id)
			}
		}
	})
	close(p.sized)
	p.superviseAll(added)
}

func (p *Pool) superviseAll(members []*member) {
	for _, m := range members {
		p.tasks.Go(func() { p.supervise(m) })
	}
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
		r.lease.pool = p
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

// SetStock says which files there are now. Workers are restarted, one at a time,
// when what they have loaded should be something else; see docs/scheduling.md.
func (p *Pool) SetStock(stock []Stock) {
	p.withLock(func() {
		p.state.sched.SetStock(stock, p.state.now())
		p.state.rejectRoomless()
		p.state.schedule()
	})
}

// Loaded reports whether a worker that is up has the file loaded.
func (p *Pool) Loaded(file File) (loaded bool) {
	p.withLock(func() { loaded = p.state.sched.Loaded(file) })
	return loaded
}

// Opens reports whether a worker's process may yet open the file, because it is in stock,
// is being loaded, or a request needs it.
func (p *Pool) Opens(file File) (opens bool) {
	p.withLock(func() { opens = p.state.sched.Opens(file) })
	return opens
}

// Any returns a worker that is up, for calls that use no slot and leave what is
// applied alone; it may end meanwhile. The error is a *BusyError or ErrStopping.
func (p *Pool) Any() (r Runner, err error) {
	if !p.withLock(func() { r, err = p.state.any() }) {
		return nil, ErrStopping
	}
	return r, err
}

// Facts returns what the workers tell of their model; nothing until one has been
// up.
func (p *Pool) Facts() (f Facts) {
	p.withLock(func() { f = p.state.facts })
	return f
}

// Drain keeps new requests from a worker, until it is called with false, through
// its restarts. It reports false if there is no worker of that number.
func (p *Pool) Drain(id int, drained bool) (exists bool) {
	p.withLock(func() {
		if exists = id >= 0 && id < len(p.state.members); exists {
			p.state.sched.Drain(id, drained, p.state.now())
			p.state.schedule()
		}
	})
	return exists
}

// Restart lets a worker's requests end and replaces its process. It reports false
// if there is no worker of that number that is up.
func (p *Pool) Restart(id int) (up bool) {
	p.withLock(func() {
		if up = id >= 0 && id < len(p.state.members) && p.state.members[id].up != nil; up {
			p.state.sched.Restart(id)
			p.state.schedule()
		}
	})
	return up
}

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

// Kill ends every worker that is up at once; only useful when the pool is to be
// closed without waiting for workers to end by themselves.
func (p *Pool) Kill(cause string) {
	p.withLock(func() {
		for _, m := range p.state.members {
			if m.up != nil {
				p.kill(m, cause)
			}
		}
	})
}

// The effects of the state. All are called by its owner.

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

// wake may leave a call of an earlier time behind, which does no harm.
func (p *Pool) wake(after time.Duration) { p.timer.Reset(after) }

func (p *Pool) swap(m *member, target Target) {
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

func (p *Pool) erase(l *Lease, slots []int) {
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

const (
	// settleInterval is how often a worker is asked whether it has stopped working
	// on a request whose client left.
	settleInterval = 50 * time.Millisecond
	// settlePatience is for how long; what goes on longer is no stream, and
	// llama-server looks for its client only after a second without any result. The
	// answer to a question is one, so it is asked every settleRarely from then on.
	settlePatience = time.Second
	settleRarely   = 1500 * time.Millisecond
)

// settle has no bound: a request that nobody can stop goes on as long as it likes
// while its worker gives signs of life.
func (p *Pool) settle(l *Lease, early bool) {
	if p.state.closing {
		return
	}
	p.tasks.Go(func() {
		err := p.awaitIdle(l, settling{seen: !early, since: p.now()})
		p.withLock(func() {
			switch {
			case p.ctx.Err() != nil: // the worker ends anyway
			case err != nil:
				p.state.unsettled(l, err)
			default:
				p.state.settled(l)
			}
		})
	})
}

// awaitIdle blocks until the lease's slots have settled, its process has ended or
// the pool is closed. The error says that the worker has not told of its slots for
// the call timeout.
func (p *Pool) awaitIdle(l *Lease, s settling) error {
	heard := p.now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-l.Worker.Exited():
			return nil
		case <-p.ctx.Done():
			return nil
		}
		ctx, cancel := context.WithDeadline(p.ctx, heard.Add(p.opts.CallTimeout))
		work, err := l.Worker.Slots(ctx)
		cancel()
		now := p.now()
		switch {
		case err == nil && s.settled(anyBusy(work, l.slots), now):
			return nil
		case err == nil, errors.Is(err, upstream.ErrStarved): // which says nothing about the worker
			heard = now
		case now.Sub(heard) >= p.opts.CallTimeout:
			return err
		}
		timer.Reset(s.pause(now))
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

// pause is how long to wait before the worker is asked again.
func (s *settling) pause(now time.Time) time.Duration {
	if now.Sub(s.since) < settlePatience {
		return settleInterval
	}
	return settleRarely
}

func anyBusy(work []worker.Work, slots []int) bool {
	for _, slot := range slots {
		if work[slot].Busy {
			return true
		}
	}
	return false
}

func (p *Pool) probe(m *member) {
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

func (p *Pool) kill(m *member, cause string) { m.up.Kill(cause) }

func (p *Pool) end(m *member) { close(m.ended) }

// begin may find the signal of an earlier time, which serves as well.
func (p *Pool) begin(m *member) {
	select {
	case m.begin <- struct{}{}:
	default:
	}
}
