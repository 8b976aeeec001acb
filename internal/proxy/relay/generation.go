package relay

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/loragate/loragate/internal/pool"
	"github.com/loragate/loragate/internal/proxy/failure"
	"github.com/loragate/loragate/internal/proxy/tally"
)

// generation is a worker's work on one request. It is cut off when the client leaves
// or the answer takes too long: ending its context cancels it in llama-server. What had been
// done by then nobody would know of an answer that is not had as a stream, so
// llama-server is asked right before.
type generation struct {
	working context.Context // ends when the work is cut off
	cancel  context.CancelCauseFunc
	worker  pool.Runner
	slot    int
	silent  bool // no events tell what is done

	// before is the worker's meter as it was, for a request that has it whole and needs that.
	before atomic.Pointer[pool.Usage]

	stay func() bool // each of them keeps a cut from coming, and tells whether it did
	stop func() bool

	once sync.Once
	over chan struct{} // closed when a cut has been made
	done *pool.Usage   // by then; nil is not known
}

// generate begins one; end must be called. A request with metered has the worker whole: for that
// it waits for the worker's meter. If that cannot be had because the worker is gone, the request
// itself will find out.
func (g *generation) generate(client context.Context, limit time.Duration, l *pool.Lease, silent, metered bool) {
	g.worker, g.slot, g.silent = l.Worker, l.Slot, silent
	g.over, g.stop = make(chan struct{}), func() bool { return true }
	g.working, g.cancel = context.WithCancelCause(context.WithoutCancel(client))
	g.stay = context.AfterFunc(client, func() { g.cut(context.Cause(client)) })
	if limit > 0 {
		g.stop = time.AfterFunc(limit, func() { g.cut(failure.ErrTooLong) }).Stop
	}
	if metered {
		if u, err := tally.Meter(g.working, l.Worker); err == nil {
			g.before.Store(&u)
		}
	}
}

// tooLong reports whether the answer took longer than it may.
func (g *generation) tooLong() bool { return context.Cause(g.working) == failure.ErrTooLong }

// stockTimeout bounds how long a cut waits for llama-server to tell what it has done.
const stockTimeout = time.Second

func (g *generation) cut(cause error) {
	g.once.Do(func() {
		if g.silent {
			ctx, cancel := context.WithTimeout(g.working, stockTimeout)
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
	slots, err := g.worker.Slots(ctx)
	if err != nil {
		return nil
	}
	var u pool.Usage
	for number, work := range slots {
		if work.Busy && (number == g.slot || g.slot == pool.NoSlot) {
			u.Prompt, u.Cached = max(u.Prompt, work.Prompt), max(u.Cached, work.Cached) // choices have it in common
			u.Completion += work.Completion
		}
	}
	if before := g.before.Load(); before != nil {
		if now, err := tally.Meter(ctx, g.worker); err == nil {
			ended := tally.Since(*before, now)
			u.Prompt, u.Cached, u.Completion = max(u.Prompt, ended.Prompt), max(u.Cached, ended.Cached),
				u.Completion+ended.Completion
		}
	}
	return &u
}

// recount puts right what llama-server tells of an answer with several choices that
// is not had as a stream: its usage is that of one. It returns the answer with the usage of
// all; if it cannot count, it leaves it as it is.
func (g *generation) recount(t *tally.Tally, text []byte) []byte {
	before := g.before.Load()
	if before == nil {
		return text
	}
	now, err := tally.Meter(g.working, g.worker)
	if err != nil {
		return text
	}
	t.Settle(tally.Since(*before, now))
	return tally.WithUsage(text, t.Usage())
}

// restart counts what a run took that came to nothing, and that has the worker whole; nil is that
// it cannot be counted.
func (g *generation) restart() *pool.Usage {
	before := g.before.Swap(nil)
	if before == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(g.working, stockTimeout)
	defer cancel()
	if g.awaitRest(ctx) != nil {
		return nil
	}
	now, err := tally.Meter(ctx, g.worker)
	if err != nil {
		return nil
	}
	took := tally.Since(*before, now)
	g.before.Store(&now)
	return &took
}

// awaitRest blocks until no slot of the worker works: the meter has the others.
func (g *generation) awaitRest(ctx context.Context) error {
	for {
		slots, err := g.worker.Slots(ctx)
		busy := false
		for _, work := range slots {
			busy = busy || work.Busy
		}
		if err != nil || !busy {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(restInterval):
		}
	}
}

// restInterval is how often a worker is asked whether it has done with a run.
const restInterval = 10 * time.Millisecond

// end frees what the generation had; a cut that has begun ends before. What was done
// until a cut goes into the tally.
func (g *generation) end(t *tally.Tally) {
	inTime, left := g.stop(), g.stay()
	if !inTime || !left {
		<-g.over
		if g.done != nil && !t.Known() {
			t.Cut(*g.done)
		}
	}
	g.cancel(nil)
}
