package pool_test

import (
	"errors"
	"testing"

	"github.com/loragate/loragate/internal/pool"
)

// withSpare returns a rig with one worker, a spare, and room for one adapter.
func withSpare(t *testing.T) (r *rig, a, b pool.File) {
	r = newRig(t, 1)
	r.opts.MaxLoaded, r.opts.Spares = 1, 1
	a, b = r.file("a"), r.file("b")
	r.open(a, b)
	if r.Loaded(b) {
		a, b = b, a
	}
	r.watch()
	return r, a, b
}

// TestSpareIsUpBeforeTheOldOneGoes asks for an adapter that the only worker does
// not have, while a stream runs there.
func TestSpareIsUpBeforeTheOldOneGoes(t *testing.T) {
	r, a, b := withSpare(t)
	if h := r.Stats().Workers[1].Health; h != pool.Spare {
		t.Errorf("at first the spare is %s", h)
	}
	stream := r.stream(a)
	r.ask(a).done()
	if l := r.ask(b).done(); l.Member != 1 || l.State != pool.StateReload {
		t.Errorf("the newcomer was served by worker %d, %s", l.Member, l.State)
	}
	r.awaitHealth(0, pool.Reloading)
	stream.end()
	r.awaitHealth(0, pool.Spare)
	if l := r.ask(a).done(); l.Member != 0 { // back again
		t.Errorf("served by worker %d, want the one that is the spare now", l.Member)
	}
	r.awaitHealth(1, pool.Spare)
	if n := r.fewestUp(); n != 1 {
		t.Errorf("%d processes at a time", n)
	}
}

// TestSpareThatCannotStart: the worker restarts in place.
func TestSpareThatCannotStart(t *testing.T) {
	r, a, b := withSpare(t)
	r.ask(a).done()
	r.ask(b).done() // both are known to be good now, and worker 1 is up
	r.awaitHealth(0, pool.Spare)
	r.fail(0, errors.New("no memory"))
	for _, file := range []pool.File{a, b, a} {
		if l := r.ask(file).done(); l.Member != 1 {
			t.Errorf("served by worker %d", l.Member)
		}
	}
	if n := r.startsOf(0); n != 1 {
		t.Errorf("the spare was tried %d times", n)
	}
	if h := r.Stats().Workers[0].Health; h != pool.Spare {
		t.Errorf("the spare is %s", h)
	}
}

// TestSpareIsNeededAgainBeforeItEnded gives a worker a process again whose last
// one has not ended yet, twice.
func TestSpareIsNeededAgainBeforeItEnded(t *testing.T) {
	r, a, b := withSpare(t)
	for round := range 3 {
		open := r.shut(gate{stop: true, member: 0})
		r.ask(b).done() // by worker 1
		r.awaitHealth(0, pool.Spare)
		back := r.ask(a) // by worker 0, once it has ended
		r.await("worker 0 is to start", func(s pool.Stats) bool { return s.Workers[0].Health == pool.Down })
		open()
		if l := back.done(); l.Member != 0 {
			t.Errorf("round %d: served by worker %d", round, l.Member)
		}
		r.awaitHealth(1, pool.Spare)
	}
}

// phases are the moments at which TestCloseInEveryPhase closes a pool; each returns
// the request that waits then, if there is one.
var phases = []struct {
	name   string
	spares int
	until  func(r *rig, a, b pool.File) (waits *asked)
}{
	{"starting", 0, func(r *rig, a, _ pool.File) *asked {
		r.shut(gate{member: 0})
		r.begin(a)
		return r.waits(a)
	}},
	{"failing", 0, func(r *rig, a, _ pool.File) *asked {
		r.fail(0, errors.New("no memory"))
		r.begin()
		if err := r.Started(r.t.Context()); err == nil {
			r.t.Error("it has started")
		}
		return nil
	}},
	{"draining", 0, func(r *rig, a, b pool.File) *asked {
		r.busy(a, b)
		waits := r.ask(b)
		r.awaitHealth(0, pool.Reloading)
		return waits
	}},
	{"ending", 0, func(r *rig, a, b pool.File) *asked {
		r.open(a, b)
		open := r.shut(gate{stop: true, member: 0})
		waits := r.ask(other(r, a, b))
		r.awaitHealth(0, pool.Down)
		go open() // or nothing could end
		return waits
	}},
	{"restarting", 0, func(r *rig, a, b pool.File) *asked {
		r.open(a, b)
		r.shut(gate{member: 0})
		waits := r.ask(other(r, a, b))
		r.awaitHealth(0, pool.Down)
		return waits
	}},
	{"spare starting", 1, func(r *rig, a, b pool.File) *asked {
		r.busy(a, b)
		r.shut(gate{member: 1})
		waits := r.ask(b)
		r.awaitHealth(1, pool.Down)
		return waits
	}},
	{"retiring", 1, func(r *rig, a, b pool.File) *asked {
		r.busy(a, b)
		r.ask(b).done()
		r.awaitHealth(0, pool.Reloading)
		return r.waits(a)
	}},
	{"retired", 1, func(r *rig, a, b pool.File) *asked {
		r.open(a, b)
		r.ask(other(r, a, b)).done()
		r.awaitHealth(0, pool.Spare)
		return nil
	}},
}

// TestCloseInEveryPhase closes the pool wherever a reload may be; nothing hangs or
// is left, and whoever waits is told.
func TestCloseInEveryPhase(t *testing.T) {
	for _, c := range phases {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, 1)
			r.opts.MaxLoaded, r.opts.Spares = 1, c.spares
			waits := c.until(r, r.file("a"), r.file("b"))
			r.Close()
			if waits != nil {
				if err := waits.refused(); !errors.Is(err, pool.ErrStopping) {
					t.Errorf("who waits gets %v", err)
				}
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			if n := r.running(); n != 0 {
				t.Errorf("%d processes are left", n)
			}
		})
	}
}

// waits asks for an adapter and returns when the request waits.
func (r *rig) waits(file pool.File) *asked {
	r.t.Helper()
	a := r.ask(file)
	r.awaitWaiting(1)
	return a
}

// busy starts the pool with a stream for a, which is all that is loaded; the
// stream is lost with the pool.
func (r *rig) busy(a, b pool.File) {
	r.t.Helper()
	r.open(a, b)
	r.ask(a).done()
	s := r.stream(a)
	lost := make(chan struct{})
	go func() {
		defer close(lost)
		s.lose()
	}()
	r.t.Cleanup(func() { <-lost })
}

// other returns the adapter that is not loaded.
func other(r *rig, a, b pool.File) pool.File {
	if r.Loaded(a) {
		return b
	}
	return a
}
