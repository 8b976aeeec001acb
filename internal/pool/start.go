package pool

import (
	"context"
	"time"

	"github.com/loragate/loragate/internal/sched"
)

// New starts a pool and returns at once; the workers come up in the background
// (see Started) and load what they can of the stock. Close must be called.
func New(opts Options, stock []Stock) *Pool {
	ctx, cancel := context.WithCancel(context.Background())
	p := &Pool{
		opts: opts, ctx: ctx, cancel: cancel, done: make(chan struct{}),
		started: make(chan error, mostWorkers), tested: make(chan struct{}), sized: make(chan struct{}),
	}
	p.state = newState(calls{p}, opts.Devices, sched.Options{
		Quantum: opts.Quantum, ScaleOutAfter: opts.ScaleOutAfter, Queue: opts.Queue, Aging: opts.Aging,
		Adjacent: opts.Adjacent, Together: opts.Together,
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
		p.tasks.Go((&supervisor{Pool: p, member: m}).run)
	}
}
