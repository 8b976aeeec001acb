package pool_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/loragate/loragate/internal/pool"
)

// TestBadFileIsFoundAmongNewOnes adds several adapters of which one ends the
// processes that load it: it is found, and whoever waits for it learns why; the
// others are served.
func TestBadFileIsFoundAmongNewOnes(t *testing.T) {
	for _, spares := range []int{0, 1} {
		t.Run(fmt.Sprint(spares), func(t *testing.T) {
			r := newRig(t, 2)
			r.opts.Spares = spares
			old := r.file("a")
			r.open(old)
			files := []pool.File{old}
			for i := range 5 {
				files = append(files, r.file(fmt.Sprint("new", i)))
			}
			bad := r.poison("poison")
			r.SetStock(stockOf(append(slices.Clone(files), bad)...))
			waits := []*asked{r.ask(bad), r.ask(files[1], bad)}
			var others []*asked
			for _, file := range files {
				others = append(others, r.brief(file))
			}
			for _, a := range waits {
				a.spoiledBy(bad, "told to end by")
			}
			for _, a := range others {
				a.served()
			}
			r.expectReason(bad, "told to end by")
			r.ask(bad).spoiledBy(bad, "")
			r.await("every worker has the good ones", func(s pool.Stats) bool {
				n := 0
				for _, w := range s.Workers {
					if fmt.Sprint(w.Loaded) == fmt.Sprint(files) {
						n++
					}
				}
				return n == 2
			})
		})
	}
}

// TestBadFileAtTheStart begins with one: the pool starts without it.
func TestBadFileAtTheStart(t *testing.T) {
	r := newRig(t, 2)
	a, bad, c := r.file("a"), r.poison("b"), r.file("c")
	r.open(a, bad, c)
	r.ask(a).done()
	r.ask(c).done()
	r.ask(bad).spoiledBy(bad, "")
	r.expectReason(bad, "told to end by")
	r.awaitLoaded(a, c)
	// Another file of that name is another matter once the stock has gone without.
	r.SetStock(stockOf(a, c))
	good := r.file("b")
	r.SetStock(stockOf(a, c, good))
	r.ask(good).done()
}

// TestFilesThatVanish are missed before llama-server ends because of them.
func TestFilesThatVanish(t *testing.T) {
	r := newRig(t, 1)
	a, b, gone := r.file("a"), r.file("b"), pool.File(r.dir+"/gone.gguf")
	r.open(a, b, gone)
	r.ask(a).done()
	r.ask(gone).spoiledBy(gone, "")
	r.expectReason(gone, "no such file")
	// One that was loaded goes while others use it.
	stream := r.stream(b)
	if err := os.Remove(string(b)); err != nil {
		t.Fatal(err)
	}
	if !r.Restart(0) {
		t.Fatal("no worker to restart")
	}
	late := r.ask(a, b)
	r.awaitWaiting(1)
	stream.end()
	late.spoiledBy(b, "no such file")
	r.ask(a).done()
	if n := r.startsOf(0); n != 2 {
		t.Errorf("%d starts: the process was started with a file that is not there", n)
	}
}

// TestOthersGoOnWhileOneReloads has a stream on both of two workers, which hold
// one adapter each, and asks for a third.
func TestOthersGoOnWhileOneReloads(t *testing.T) {
	r := newRig(t, 2)
	r.opts.MaxLoaded = 1
	a, b, c := r.file("a"), r.file("b"), r.file("c")
	r.open(a, b, c)
	r.ask(a).done()
	r.ask(b).done()
	leaves, stays, stay := r.stream(a), r.stream(b), b
	newcomer := r.ask(c)
	r.await("one is given up", func(s pool.Stats) bool {
		return s.Workers[0].Health == pool.Reloading || s.Workers[1].Health == pool.Reloading
	})
	if r.Stats().Workers[stays.lease.Member].Health == pool.Reloading {
		leaves, stays, stay = stays, leaves, a
	}
	open := r.shut(gate{member: leaves.lease.Member})
	for range 3 {
		if l := r.ask(stay).done(); l.Member != stays.lease.Member || l.State != pool.StateWarm {
			t.Errorf("%s was served by worker %d, %s", stay, l.Member, l.State)
		}
	}
	leaves.end()
	r.awaitHealth(leaves.lease.Member, pool.Down)
	r.ask(stay).done() // while the other starts
	open()
	if l := newcomer.done(); l.State != pool.StateReload || l.Member != leaves.lease.Member {
		t.Errorf("the newcomer was served by worker %d, %s", l.Member, l.State)
	}
	r.ask(stay).done()
	stays.end()
}

// TestNewcomersShareARestart lets several requests wait while the worker drains.
func TestNewcomersShareARestart(t *testing.T) {
	r := newRig(t, 1)
	r.opts.MaxLoaded = 4
	var files []pool.File
	for i := range 8 {
		files = append(files, r.file(fmt.Sprint(i)))
	}
	r.open(files...)
	busy := r.stream(r.Stats().Workers[0].Loaded[0])
	r.watch()
	var newcomers []*asked
	for _, file := range files {
		if !r.Loaded(file) && len(newcomers) < 3 {
			newcomers = append(newcomers, r.brief(file))
		}
	}
	r.awaitWaiting(3)
	busy.end()
	for _, a := range newcomers {
		if l := a.served(); l.State != pool.StateReload {
			t.Errorf("%v: %s", a.files, l.State)
		}
	}
	if n := r.startsOf(0); n != 1 {
		t.Errorf("%d starts for three newcomers", n)
	}
}

// TestNoRoom turns those away that no worker will ever have room for, also when
// that becomes so while they wait.
func TestNoRoom(t *testing.T) {
	r := newRig(t, 1)
	r.opts.MaxLoaded = 2
	a, b, c := r.file("a"), r.file("b"), r.file("c")
	r.open(a, b, c)
	var room *pool.NoRoomError
	if err := r.ask(a, b, c).refused(); !errors.As(err, &room) || room.Files != 3 {
		t.Errorf("three files where two fit: %v", err)
	}
	r.ask(a, c).done()
	r.ask(a, b).done()
	busy := r.stream(a)
	sum, single := r.ask(a, c), r.ask(c)
	r.awaitWaiting(2)
	stock := stockOf(a, b, c)
	stock[1].Pin = true
	r.SetStock(stock)
	if err := sum.refused(); !errors.As(err, &room) {
		t.Errorf("two files beside a pinned one: %v", err)
	}
	busy.end()
	single.done()
}

// TestStockChangesUnderRequests replaces, adds and removes adapters while some of
// them are in use or waited for.
func TestStockChangesUnderRequests(t *testing.T) {
	r := newRig(t, 2)
	old, other, fresh, more := r.file("old"), r.file("other"), r.file("fresh"), r.file("more")
	r.open(old, other)
	one, two := r.stream(old), r.stream(old)
	if one.lease.Member != two.lease.Member {
		t.Fatal("requests for one adapter are not together")
	}
	waits := r.ask(other) // on the other worker, perhaps
	waits.done()
	r.SetStock(stockOf(fresh, more, other)) // old is gone
	if l := r.ask(fresh).done(); l.Member == one.lease.Member {
		t.Error("the worker with the streams was restarted")
	}
	// Those that have it still go on, and who came before gets it.
	late := r.ask(old)
	one.end()
	two.end()
	late.done()
	r.ask(more).done()
	r.awaitLoaded(fresh, more, other)
	if r.Opens(old) || r.Loaded(old) {
		t.Error("what is gone is still used")
	}
}

func TestDrainAndResume(t *testing.T) {
	r := newRig(t, 2)
	a, b := r.file("a"), r.file("b")
	r.open(a, b)
	stream := r.stream(a)
	id := stream.lease.Member
	if !r.Drain(id, true) || r.Drain(7, true) || r.Drain(-1, true) || r.Restart(7) {
		t.Error("workers are not told apart by number")
	}
	for range 3 {
		if l := r.ask(a).done(); l.Member == id {
			t.Error("a drained worker took a request")
		}
	}
	if h := r.Stats().Workers[id]; h.Health != pool.Drained || !h.Drained || h.InFlight != 1 {
		t.Errorf("while it drains it is %+v", h)
	}
	if !r.Restart(id) {
		t.Error("a drained worker cannot be restarted")
	}
	before := r.startsOf(id)
	stream.end()
	r.await("it is up again, and drained", func(s pool.Stats) bool {
		return s.Workers[id].Health == pool.Drained && r.startsOf(id) == before+1 && s.Workers[id].InFlight == 0
	})
	r.Drain(1-id, true)
	waits := r.ask(b)
	r.awaitWaiting(1)
	r.Drain(id, false)
	if l := waits.done(); l.Member != id {
		t.Errorf("served by worker %d, which is drained", l.Member)
	}
	if n := r.Stats().Workers[id].Restarts; n != 0 {
		t.Errorf("%d deaths counted", n)
	}
}
