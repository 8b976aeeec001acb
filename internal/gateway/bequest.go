package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/loragate/loragate/internal/pool"
	"github.com/loragate/loragate/internal/state"
	"github.com/loragate/loragate/internal/usage"
)

const (
	// tellInterval is how often an heir is told what was used. It bounds what is lost of
	// the account with a gateway that is killed, as the recorder's own interval does.
	tellInterval = time.Second
	// deaf is how long an heir may take no message before it counts as gone.
	deaf = 30 * time.Second
	// slowest bounds the wait at the end for an heir to have the state: with a great many
	// adapters it looks at for long. What it has been told it keeps in any case.
	slowest = 10 * time.Minute
)

// errHeirEnded is why a gateway fails whose ports nobody has any more.
var errHeirEnded = errors.New("the gateway that was to take over ended before this one, and nobody has the ports: " +
	"start one")

// bequest is what a gateway leaves to its heir while it ends.
type bequest struct {
	g    *gateway
	heir heir

	// mu guards what follows. It is held while something is told, so that nothing is told
	// twice, and all of it in order.
	mu      sync.Mutex
	lines   *json.Encoder
	orphan  bool // the heir is gone: nobody can be told
	isKnown bool // the service manager takes the heir for this service
	told    []batch
	number  int // of the last batch

	heard chan struct{} // filled when told or orphan has changed
}

// batch is usage that was told, and that the heir has not taken yet.
type batch struct {
	number  int
	records []usage.Record
}

// handOver has an heir serve, which has the ports, and returns when this gateway has ended.
// The error says that the heir did before.
func (g *gateway) handOver(h heir, signals <-chan os.Signal, cut context.CancelCauseFunc) error {
	defer h.conn.Close()
	g.log.Info("another gateway takes over, running requests may end", "pid", h.pid, "limit", g.cfg.Limits.Drain)
	b := &bequest{g: g, heir: h, lines: json.NewEncoder(h.conn), heard: make(chan struct{}, 1)}
	g.proxy.Leave()
	for _, e := range g.entrances() {
		e.front.Leave()
	}
	go b.hear()
	stop := make(chan struct{})
	var telling sync.WaitGroup
	g.drain(signals, cut, func(context.Context) {
		g.giveStateAway()
		b.tellNews(Notice{Crew: g.crew()})
		telling.Go(func() { b.keepTelling(stop) })
		g.pool.Dwindle(func(device string) { b.tellNews(Notice{Freed: &device}) })
	})
	close(stop)
	telling.Wait()
	return b.end(signals)
}

// giveStateAway has nothing of this gateway touch the state from its return on.
func (g *gateway) giveStateAway() {
	if g.admin != nil {
		g.admin.starting.Stop() // what answers from now on
	}
	idle := g.operators.end()
	g.ingest.Close() // which ends what operators wait for
	select {
	case <-idle:
	case <-time.After(farewell):
		g.log.Warn("calls of the admin API were cut short")
	}
	g.usage.Leave()
	if err := g.state.Close(); err != nil {
		g.log.Error("closing the state", "error", err)
	}
	g.gaveAway = true
}

// pids are the processes of all workers.
func (g *gateway) pids() (pids []int) {
	for _, p := range append([]*pool.Pool{g.pool}, g.embedders...) {
		pids = append(pids, p.PIDs()...)
	}
	return pids
}

// tellNews tells something with all that has been used since the last time.
func (b *bequest) tellNews(m Notice) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.orphan {
		return // usage is kept, for the end
	}
	m.Limits, m.Usage, m.PIDs = b.g.auth.News(), b.g.usage.Take(), b.g.pids()
	if len(m.Usage) > 0 {
		b.number++
		m.Number = b.number
		b.told = append(b.told, batch{m.Number, m.Usage})
	}
	b.write(m)
}

// forget lets go of usage that the heir has taken. The caller holds the lock.
func (b *bequest) forget(number int) {
	b.told = slices.DeleteFunc(b.told, func(sent batch) bool { return sent.number == number })
}

// write sends a message, if there is somebody to be told. It blocks while the heir takes
// nothing, but not for long. The caller holds the lock.
func (b *bequest) write(m Notice) {
	if b.orphan {
		return
	}
	_ = b.heir.conn.SetWriteDeadline(time.Now().Add(deaf))
	if err := b.lines.Encode(m); err != nil {
		b.lose(err)
	}
}

// lose notes that the heir is gone. The caller holds the lock.
func (b *bequest) lose(cause error) {
	if !b.orphan {
		b.orphan = true
		b.g.log.Error("the gateway that takes over has ended: running requests may end here", "pid", b.heir.pid, "error",
			cause)
	}
}

func (b *bequest) keepTelling(stop <-chan struct{}) {
	tick := time.NewTicker(tellInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-b.g.finished: // who is at a tenant's limit waits for it
		case <-stop:
			return
		}
		b.tellNews(Notice{})
	}
}

// hear listens to the heir until one of the two ends.
func (b *bequest) hear() {
	for {
		var p progress
		err := b.heir.lines.Decode(&p)
		b.mu.Lock()
		switch {
		case errors.Is(err, net.ErrClosed): // by this gateway's end
		case err != nil:
			b.lose(err)
		case p.Ready && b.makeKnown():
			b.write(Notice{Main: true})
		}
		b.forget(p.Took)
		b.mu.Unlock()
		select {
		case b.heard <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

// makeKnown has the service manager take the heir for this service, and reports whether
// that is new. The caller holds the lock.
func (b *bequest) makeKnown() bool {
	if b.isKnown {
		return false
	}
	b.isKnown = true
	b.g.tellSystemd(fmt.Sprintf("MAINPID=%d", b.heir.pid))
	return true
}

// end tells what is left, once everything has ended, and returns when the heir has taken
// all usage, or a signal ends the waiting.
func (b *bequest) end(signals <-chan os.Signal) error {
	b.mu.Lock()
	if !b.orphan {
		b.makeKnown() // or the service would end with this gateway
	}
	b.mu.Unlock()
	b.tellNews(Notice{Main: true, End: true})
	limit := time.NewTimer(slowest)
	defer limit.Stop()
	for b.waits() {
		select {
		case <-b.heard:
			continue
		case <-limit.C:
		case <-signals:
		}
		b.g.log.Error("the gateway that takes over has not said that it has all usage: what it was told is lost if it ends " +
			"now")
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.orphan {
		return nil
	}
	for _, sent := range b.told {
		for _, rec := range sent.records {
			b.g.usage.Add(rec)
		}
	}
	b.g.settle()
	return errHeirEnded
}

// waits reports whether the heir has yet to take usage.
func (b *bequest) waits() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.orphan && len(b.told) > 0
}

// settle writes usage that no heir took.
func (g *gateway) settle() {
	db, err := state.Open(g.cfg.State.Dir)
	if err == nil {
		err = errors.Join(g.usage.Settle(db), db.Close())
	}
	if err != nil {
		g.log.Error("usage could not be written at the end", "error", err)
	}
}
