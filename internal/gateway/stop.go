package gateway

import (
	"context"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/loragate/loragate/internal/config"
	"github.com/loragate/loragate/internal/proxy/failure"
)

const (
	// longestLinger bounds how long the port stays open by itself for those who poll
	// /ready, and do not come again.
	longestLinger = 5 * time.Second
	// lingerInterval is how often it is looked whether they have come.
	lingerInterval = 10 * time.Millisecond
	// farewell is how long requests have for their last words once they were told to
	// end: an error, before which a worker is asked for up to a second what it has done.
	farewell = 3 * time.Second
)

// stop ends everything in order, after a signal. What reaches the port is refused, first
// with the port open and then until it is empty; running requests end; those that do not
// in time are told so; then the workers end. A second signal ends the waiting.
func (g *gateway) stop(s os.Signal, signals <-chan os.Signal, cut context.CancelCauseFunc) {
	g.tellSystemd(daemon.SdNotifyStopping)
	g.refuse() // before it is said
	g.log.Info("stopping, running requests may end", "signal", s.String(), "limit", g.cfg.Limits.Drain)
	g.drain(signals, cut, g.linger)
}

// drain lets running requests end, for up to limits.drain or until the next signal, once
// first has returned, and closes everything.
func (g *gateway) drain(signals <-chan os.Signal, cut context.CancelCauseFunc, first func(hurry context.Context)) {
	hurry, stop := g.secondSignal(signals)
	defer stop()
	limit, cancel := context.WithTimeout(hurry, g.cfg.Limits.Drain)
	defer cancel()
	defer context.AfterFunc(limit, func() { cut(failure.ErrStopped) })()
	first(hurry)
	g.shut(limit)
	if hurry.Err() != nil && g.pool != nil {
		g.pool.Kill("stopped at once")
	}
	g.close()
}

// refuse turns new requests away from now on.
func (g *gateway) refuse() {
	if g.proxy != nil {
		g.proxy.Drain()
	}
	for _, e := range g.entrances() {
		e.starting.Stop()
		e.front.End()
	}
}

// linger blocks while the port is to stay open, or until ctx ends.
func (g *gateway) linger(ctx context.Context) {
	limit, auto := time.Duration(g.cfg.Limits.Linger), g.cfg.Limits.Linger == config.Auto
	if auto {
		limit = longestLinger
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(lingerInterval)
	defer tick.Stop()
	for !auto || g.proxy != nil && g.proxy.Awaited() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// shut closes the ports, and returns when all requests have ended, or had time for
// their last words after limit.
func (g *gateway) shut(limit context.Context) {
	end, cancel := later(limit, farewell)
	defer cancel()
	if err := g.clients.shut(end); err != nil || limit.Err() != nil {
		g.log.Warn("requests were cut short", "error", limit.Err())
	}
	if g.admin == nil {
		return
	}
	end, cancel = context.WithTimeout(context.Background(), farewell)
	defer cancel()
	_ = g.admin.shut(end) // whoever is not served by now asked for something that takes long
}

// later returns a context that ends so long after another one.
func later(ctx context.Context, after time.Duration) (context.Context, context.CancelFunc) {
	end, cancel := context.WithCancel(context.Background())
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(after, cancel)
		context.AfterFunc(end, func() { timer.Stop() })
	})
	return end, func() { stop(); cancel() }
}

// fail is stop after a failure: nothing can be waited for, but who waits is told.
func (g *gateway) fail(cut context.CancelCauseFunc) {
	g.refuse()
	cut(failure.ErrStopped)
	limit, cancel := context.WithCancel(context.Background())
	cancel()
	g.shut(limit)
	g.close()
}

// secondSignal returns a context that ends with the next signal. Its stop function must
// be called.
func (g *gateway) secondSignal(signals <-chan os.Signal) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		select {
		case s := <-signals:
			g.log.Warn("stopping at once", "signal", s.String())
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}
