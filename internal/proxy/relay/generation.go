package relay

import (
	"context"
	"sync"
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
	silent  bool        // no events tell what is done
	before  *pool.Usage // the worker's meter, for a silent request that has it whole

	stay func() bool // each of them keeps a cut from coming, and tells whether it did
	stop func() bool

	once sync.Once
	over chan struct{} // closed when a cut has been made
	done *pool.Usage   // by then; nil is not known
}

// generate begins one; end must be called. For a silent request that has the worker whole
// it waits for the worker's meter: if that cannot be had because the worker is gone, the
// request itself will find out.
func (g *generation) generate(client context.Context, limit time.Duration, l *pool.Lease, silent, exclusive bool) {
	g.worker, g.slot, g.silent = l.Worker, l.Slot, silent
	g.over, g.stop = make(chan struct{}), func() bool { return true }
	g.working, g.cancel = context.WithCancelCause(context.WithoutCancel(client))
	g.stay = context.AfterFunc(client, func() { g.cut(context.Cause(client)) })
	if limit > 0 {
		g.stop = time.AfterFunc(limit, func() { g.cut(failure.ErrTooLong) }).Stop
	}
	if silent && exclusive {
		if u, err := tally.Meter(g.working, l.Worker); err == nil {
			g.before = &u
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
	if g.before != nil {
		if now, err := tally.Meter(ctx, g.worker); err == nil {
			ended := tally.Since(*g.before, now)
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
	if g.before == nil {
		return text
	}
	now, err := tally.Meter(g.working, g.worker)
	if err != nil {
		return text
	}
	t.Settle(tally.Since(*g.before, now))
	return tally.WithUsage(text, t.Usage())
}

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
