package pool

import (
	"context"
	"errors"
	"time"

	"github.com/loragate/loragate/internal/upstream"
	"github.com/loragate/loragate/internal/worker"
)

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
func (p calls) settle(l *Lease, early bool) {
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
func (p calls) awaitIdle(l *Lease, s settling) error {
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
