package proxy

import (
	"context"
	"sync"
	"time"

	"github.com/loragate/loragate/internal/pool"
)

// generation is a worker's work on one request. It is cut off when the client leaves
// or the answer takes too long: ending ctx cancels it in llama-server. What had been
// done by then nobody would know of an answer that is not had as a stream, so
// llama-server is asked right before.
type generation struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	r      *request
	lease  *pool.Lease
	begun  *pool.Usage // the worker's meter before, for a request that has it whole

	client func() bool // each of them keeps a cut from coming, and tells whether it did
	timer  func() bool

	once sync.Once
	over chan struct{} // closed when a cut has been made
	done *pool.Usage   // by then; nil is not known
}

// generate begins one; end must be called. For a request that has the worker whole
// it waits for the worker's meter.
func (p *Proxy) generate(client context.Context, r *request, l *pool.Lease) *generation {
	g := &generation{r: r, lease: l, over: make(chan struct{}), timer: func() bool { return true }}
	g.ctx, g.cancel = context.WithCancelCause(context.WithoutCancel(client))
	g.client = context.AfterFunc(client, func() { g.cut(context.Cause(client)) })
	if p.opts.Generation > 0 {
		g.timer = time.AfterFunc(p.opts.Generation, func() { g.cut(errTooLong) }).Stop
	}
	g.begun = r.meter(g.ctx, l)
	return g
}

// stockTimeout bounds how long a cut waits for llama-server to tell what it has done.
const stockTimeout = time.Second

func (g *generation) cut(cause error) {
	g.once.Do(func() {
		if !g.r.streams() { // events tell
			ctx, cancel := context.WithTimeout(g.ctx, stockTimeout)
			g.done = g.takeStock(ctx)
			cancel()
		}
		g.cancel(cause)
		close(g.over)
	})
}

// takeStock asks llama-server what it has done, nil if it does not tell. Of a whole
// worker those slots count that still work, and the meter has the others.
func (g *generation) takeStock(ctx context.Context) *pool.Usage {
	slots, err := g.lease.Worker.Slots(ctx)
	if err != nil {
		return nil
	}
	var u pool.Usage
	for number, work := range slots {
		if work.Busy && (number == g.lease.Slot || g.lease.Slot == pool.NoSlot) {
			u.Prompt, u.Cached = max(u.Prompt, work.Prompt), max(u.Cached, work.Cached) // choices have it in common
			u.Completion += work.Completion
		}
	}
	if g.begun != nil {
		if now, err := meter(ctx, g.lease.Worker); err == nil {
			ended := since(*g.begun, now)
			u.Prompt, u.Cached, u.Completion = max(u.Prompt, ended.Prompt), max(u.Cached, ended.Cached), u.Completion+ended.Completion
		}
	}
	return &u
}

// end frees what the generation had; a cut that has begun ends before. What was done
// until a cut goes into the tally.
func (g *generation) end(t *tally) {
	inTime, left := g.timer(), g.client()
	if !inTime || !left {
		<-g.over
		if g.done != nil && !t.known() {
			t.cut(*g.done)
		}
	}
	g.cancel(nil)
}
