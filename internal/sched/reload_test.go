package sched

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/residency"
)

// shop is a world whose workers load adapters: processes start and end as the
// scheduler says, and take their time.
type shop struct {
	*checked
	breaks map[File]bool
	takes  time.Duration // to start a process
	memory int64         // of each worker, in bytes of files; 0 is no end
}

const startTime = 400 * time.Millisecond

// newShop returns a shop whose workers are starting.
func newShop(t testing.TB, opts Options, stock ...Stock) *shop {
	sh := &shop{checked: newWorld(t, opts), breaks: map[File]bool{}}
	sh.takes = startTime
	sh.OnStart, sh.OnCome = func(int, []File) time.Duration { return sh.takes }, sh.come
	sh.s.SetStock(stock, 0)
	for id := range opts.Workers {
		sh.Begin(id)
	}
	return sh
}

// open returns a shop whose workers are up with what they load first.
func open(t testing.TB, opts Options, stock ...Stock) *shop {
	sh := newShop(t, opts, stock...)
	sh.run(func() bool { return len(sh.Starting) == 0 })
	return sh
}

func (sh *shop) come(id int) {
	files := sh.s.status().Members[id].Planned
	if sh.memory > 0 && sh.s.bytesOf(files) > sh.memory {
		if _, learned := sh.s.TooMuch(id); !learned && !sh.s.Failed(id, sh.Now()) {
			sh.t.Fatalf("%v do not fit, and will be tried again", files)
		}
		for _, j := range sh.Queued { // as the pool does
			if !sh.s.Room(j.Files) {
				sh.Leave(j)
			}
		}
		sh.Begin(id)
		return
	}
	if slices.ContainsFunc(files, func(f File) bool { return sh.breaks[f] }) {
		if !sh.s.Failed(id, sh.Now()) {
			sh.t.Fatalf("nothing is suspected though %v breaks", files)
		}
		sh.Begin(id)
		return
	}
	sh.Up(id, 2, "gpu")
}

// step decides, then goes to the next thing that happens by itself.
func (sh *shop) step() {
	sh.Decide()
	if sh.Next() == Never && len(sh.Placed) == 0 { // what runs the test finishes
		sh.t.Fatalf("nothing happens any more: %s", sh)
	}
	sh.Step()
}

// run lets things happen until done.
func (sh *shop) run(done func() bool) {
	sh.t.Helper()
	for range 10000 {
		sh.Decide()
		if done() {
			return
		}
		if len(sh.Decide()) == 0 { // of what done did, before time goes on
			sh.step()
		}
	}
	sh.t.Fatalf("it does not end: %s", sh)
}

// String is the whole state, for failures.
func (sh *shop) String() string {
	s := sh.s
	var waiting []string
	for _, j := range sh.Queued {
		waiting = append(waiting, fmt.Sprint(j.Files))
	}
	st := s.status()
	var odd []string
	for _, it := range s.residency.Items() {
		if it.Quarantined || !it.Proven || it.Pin || it.Preload {
			odd = append(odd, fmt.Sprintf("%+v", it))
		}
	}
	return fmt.Sprintf("at %s wait %v, missing %d, phase %d (%d for %d), %d starting, forced %v, members %+v, "+
		"lacking %t, loaded %v\n%s",
		sh.Now(), waiting, s.queue.missing.Len(), st.Phase, st.Next, st.Victim, len(sh.Starting), st.Forced,
		st.Members, st.Lacking, sh.loaded(), strings.Join(odd, "\n"))
}

// loaded returns what every worker that is up has loaded.
func (sh *shop) loaded() map[int][]File {
	m := map[int][]File{}
	for _, v := range sh.s.Workers() {
		m[v.ID] = v.Loaded
	}
	return m
}

// wants queues a request for an adapter of that file.
func (sh *shop) wants(files ...File) *job {
	return sh.arrive(Request{Identity: Identity(fmt.Sprint(files)), Files: files})
}

func (sh *shop) served(j *job) func() bool { return func() bool { return sh.Placed[j.Ticket] != nil } }

func (sh *shop) done(j *job) {
	sh.t.Helper()
	sh.run(sh.served(j))
	sh.Finish(j, Usage{Completion: 10})
}

func stockOf(n int) (list []Stock) {
	for i := range n {
		list = append(list, Stock{File: File(fmt.Sprintf("f%02d", i)), Bytes: 10})
	}
	return list
}

func bounded(workers, loaded int) Options {
	o := quick
	o.Workers, o.MaxLoaded, o.ReloadInterval = workers, loaded, time.Second
	return o
}

func TestAllIsLoadedWhereItFits(t *testing.T) {
	sh := open(t, bounded(2, 0), stockOf(5)...)
	for id, files := range sh.loaded() {
		if len(files) != 5 {
			t.Errorf("worker %d has %v", id, files)
		}
	}
	// A new file comes to all, one worker after the other, without anyone asking.
	sh.s.SetStock(stockOf(6), sh.Now())
	fewest := 2
	sh.run(func() bool {
		fewest = min(fewest, len(sh.s.fleet.list))
		return len(sh.s.fleet.list) == 2 && len(sh.s.queue.lines) == 1 && len(sh.s.queue.lines[0].set.Files()) == 6
	})
	if fewest != 1 {
		t.Errorf("down to %d workers at a time", fewest)
	}
	// One that is gone costs nothing.
	sh.s.SetStock(stockOf(5), sh.Now())
	reloads := sh.s.Counts().Reloads
	sh.Pass(time.Minute)
	if now := sh.s.Counts().Reloads; now != reloads {
		t.Errorf("%d reloads because a file went", now-reloads)
	}
}

func TestWorkersLoadDifferentFiles(t *testing.T) {
	sh := open(t, bounded(2, 3), stockOf(6)...)
	got := sh.loaded()
	if slices.ContainsFunc(got[0], func(f File) bool { return slices.Contains(got[1], f) }) ||
		len(got[0])+len(got[1]) != 6 {
		t.Errorf("loaded %v", got)
	}
}

func TestMissIsLoadedInPlaceOfTheLeastRecentlyUsed(t *testing.T) {
	sh := open(t, bounded(1, 3), stockOf(5)...)
	for _, f := range []File{"f00", "f02", "f01"} {
		sh.done(sh.wants(f))
	}
	j := sh.wants("f04")
	sh.run(sh.served(j))
	if got := fmt.Sprint(sh.loaded()[0]); got != "[f01 f02 f04]" {
		t.Errorf("loaded %s", got)
	}
	if c := sh.s.Counts(); !j.Missed || c.Misses != 1 || c.Hits != 3 {
		t.Errorf("missed %v, counts %+v", j.Missed, c)
	}
}

func TestNewcomersShareOneRestart(t *testing.T) {
	sh := open(t, bounded(1, 4), stockOf(8)...)
	sh.wants("f04")
	sh.wants("f05")
	sh.wants("f06", "f07")
	sh.run(func() bool {
		sh.finishAll()
		return len(sh.Queued)+len(sh.Placed) == 0
	})
	if n := sh.s.Counts().Reloads; n != 1 {
		t.Errorf("%d reloads", n)
	}
}

func TestPinnedAndPreloadedStay(t *testing.T) {
	list := stockOf(12)
	list[7].Pin, list[9].Preload = true, true
	sh := open(t, bounded(2, 3), list...)
	for i := range 12 {
		sh.done(sh.wants(list[i].File))
		preloaded := 0
		for id, files := range sh.loaded() {
			if !slices.Contains(files, "f07") {
				t.Fatalf("worker %d has %v: the pinned one is not there", id, files)
			}
			if slices.Contains(files, "f09") {
				preloaded++
			}
		}
		if preloaded == 0 && len(sh.s.fleet.list) == 2 {
			t.Fatalf("the preloaded one is nowhere: %v", sh.loaded())
		}
	}
}

func TestMemoryBoundsWhatIsLoaded(t *testing.T) {
	o := bounded(1, 0)
	o.Memory = 35
	sh := open(t, o, stockOf(6)...)
	if got := sh.loaded()[0]; len(got) != 3 {
		t.Errorf("%v of 10 bytes each in 35", got)
	}
	sh.done(sh.wants("f05"))
	if got := sh.loaded()[0]; len(got) != 3 || !slices.Contains(got, "f05") {
		t.Errorf("loaded %v", got)
	}
}

// TestReloadsAreRateLimited scans over many adapters while one is in use: it goes
// on, and the restarts leave at least half of the time.
func TestReloadsAreRateLimited(t *testing.T) {
	sh := open(t, bounded(1, 4), stockOf(100)...)
	sh.done(sh.wants("f00"))
	begun := sh.Now()
	for i := 10; i < 60; i++ {
		sh.wants(File(fmt.Sprintf("f%02d", i)))
	}
	hot, asked := 0, Time(-1)
	sh.run(func() bool {
		for _, j := range sh.Placed {
			sh.Finish(j, Usage{Completion: 1})
			if j.Files[0] == "f00" {
				hot++
			}
		}
		waits := slices.ContainsFunc(slices.Collect(maps.Values(sh.Queued)), func(j *job) bool { return j.Files[0] == "f00" })
		if !waits && asked != sh.Now() {
			sh.wants("f00")
			asked = sh.Now()
		}
		return len(sh.Queued) <= 1
	})
	reloads := int(sh.s.Counts().Reloads)
	if least := Time(reloads-1) * (time.Second + startTime); sh.Now()-begun < least {
		t.Errorf("%d reloads within %s", reloads, sh.Now()-begun)
	}
	if hot < reloads/2 {
		t.Errorf("the one in use was served %d times during %d reloads", hot, reloads)
	}
}

// TestLoadedOnesDoNotWaitForReloads keeps one adapter that two workers have busy
// while others miss.
func TestLoadedOnesDoNotWaitForReloads(t *testing.T) {
	list := stockOf(30)
	list[0].Pin = true
	sh := open(t, bounded(2, 3), list...)
	for i := 10; i < 20; i++ {
		miss := sh.wants(list[i].File)
		sh.run(func() bool {
			j := sh.wants("f00")
			sh.Decide()
			if sh.Placed[j.Ticket] == nil && len(sh.s.fleet.list) > 0 && !sh.s.fleet.workers[sh.s.fleet.list[0].id].reloading {
				t.Fatalf("waits though worker %d has it", sh.s.fleet.list[0].id)
			}
			if sh.Placed[j.Ticket] != nil {
				sh.Finish(j, Usage{Completion: 1})
			}
			return sh.served(miss)()
		})
		sh.Finish(miss, Usage{})
	}
}

func TestSpareComesBeforeTheOldOneGoes(t *testing.T) {
	o := bounded(2, 3)
	o.Spares = 1
	sh := open(t, o, stockOf(20)...)
	for i := 10; i < 16; i++ {
		j := sh.wants(stockOf(20)[i].File)
		sh.run(func() bool {
			serving := 0
			for _, w := range sh.s.fleet.list {
				if !w.reloading {
					serving++
				}
			}
			if serving < 2 {
				t.Fatalf("%d workers serve during a reload", serving)
			}
			return sh.served(j)()
		})
		sh.Finish(j, Usage{})
	}
	sh.run(func() bool { return len(sh.s.fleet.list) == 2 && sh.s.status().Phase == residency.None })
}

// TestBadFilesAreFound adds several files at once of which some end the process.
func TestBadFilesAreFound(t *testing.T) {
	for _, spares := range []int{0, 1} {
		o := bounded(2, 0)
		o.Spares = spares
		sh := open(t, o, stockOf(4)...)
		sh.breaks["f07"], sh.breaks["f13"] = true, true
		sh.s.SetStock(stockOf(20), sh.Now())
		var found []File
		sh.run(func() bool {
			found = append(found, sh.s.NewlyQuarantined()...)
			return len(sh.s.fleet.list) == 2 && len(sh.s.queue.lines) == 1 && len(sh.s.queue.lines[0].set.Files()) == 18
		})
		slices.Sort(found)
		if got := fmt.Sprint(found); got != "[f07 f13]" {
			t.Errorf("%d spares: found %s", spares, got)
		}
	}
}

func TestBadFileAtTheFirstStart(t *testing.T) {
	sh := newShop(t, bounded(2, 0), stockOf(6)...)
	sh.breaks["f02"] = true
	sh.run(func() bool {
		return len(sh.s.fleet.list) == 2 && len(sh.s.queue.lines[0].set.Files()) == 5 && len(sh.s.queue.lines) == 1
	})
	if got := fmt.Sprint(sh.s.NewlyQuarantined()); got != "[f02]" {
		t.Errorf("found %s", got)
	}
}

func TestForcedRestart(t *testing.T) {
	sh := open(t, bounded(2, 0), stockOf(2)...)
	j := sh.wants("f00")
	sh.run(sh.served(j))
	sh.s.Restart(j.Worker)
	sh.Decide()
	if sh.Workers[j.Worker] == nil {
		t.Fatal("restarted under a request")
	}
	sh.Finish(j, Usage{})
	sh.Decide()
	if sh.Workers[j.Worker] != nil {
		t.Error("still up")
	}
	sh.run(func() bool { return len(sh.s.fleet.list) == 2 })
}

func TestDrainedWorkerTakesNothing(t *testing.T) {
	sh := open(t, bounded(1, 0), stockOf(2)...)
	sh.s.Drain(0, true, sh.Now())
	sh.Up(0, 2, "gpu") // it stays so through a restart
	j := sh.wants("f00")
	sh.Decide()
	if sh.Placed[j.Ticket] != nil {
		t.Fatal("a drained worker took a request")
	}
	sh.s.Drain(0, false, sh.Now())
	sh.run(sh.served(j))
}

// TestReloadsLoseNothing lets random requests meet more files than fit, on
// workers that also die.
func TestReloadsLoseNothing(t *testing.T) {
	for i, rng := range seeds(40) {
		o := bounded(1+rng.IntN(3), 2+rng.IntN(4))
		o.Spares = rng.IntN(2)
		list := stockOf(4 + rng.IntN(30))
		sh := open(t, o, list...)
		for range 60 {
			files := []File{list[rng.IntN(len(list))].File}
			if rng.IntN(5) == 0 {
				files = append(files, list[rng.IntN(len(list))].File)
				slices.Sort(files)
				files = slices.Compact(files)
			}
			sh.wants(files...)
			for range rng.IntN(4) {
				sh.randomly(rng.IntN(40))
				sh.Decide()
				if len(sh.Starting) > 0 || len(sh.Placed) == 0 && len(sh.Queued) > 0 {
					sh.step()
				}
			}
		}
		sh.run(func() bool {
			sh.finishAll()
			return len(sh.Queued)+len(sh.Placed) == 0
		})
		if sh.s.queue.missing.Len() > 0 || sh.s.queue.anyWaits() || len(sh.s.running) > 0 {
			t.Fatalf("seed %d: something is left", i)
		}
	}
}

func (sh *shop) finishAll() {
	for _, j := range sh.Placed {
		sh.Finish(j, Usage{Completion: 5})
	}
}

// again lets what ran on a process that died run elsewhere.
func (sh *shop) again(lost []*job) {
	for _, j := range lost {
		r := j.Request
		if r.Again = true; !slices.ContainsFunc(r.Files, sh.s.Quarantined) {
			sh.arrive(r)
		}
	}
}

func (sh *shop) randomly(n int) {
	switch {
	case n < 10:
		sh.finishAll()
	case n == 10:
		for id := range sh.Workers {
			sh.again(sh.Down(id))
			sh.Begin(id)
			return
		}
	}
}

// TestFirstProcessLoadsFew: others wait for it. It has the rest once another can stand in
// for it, and a worker that is alone has all from the beginning.
func TestFirstProcessLoadsFew(t *testing.T) {
	stock := func() (list []Stock) {
		for i := range 9 {
			list = append(list, Stock{File: File(fmt.Sprint(i)), Bytes: 1, Pin: i > 6})
		}
		return list
	}
	sh := newShop(t, Options{Workers: 2, First: 3}, stock()...)
	if first, second := len(sh.s.status().Members[0].Planned), len(sh.s.status().Members[1].Planned); first != 3 ||
		second != 9 {
		t.Errorf("the first loads %d files, the second %d; want 3 and 9", first, second)
	}
	if !slices.Contains(sh.s.status().Members[0].Planned, "7") || !slices.Contains(sh.s.status().Members[0].Planned, "8") {
		t.Errorf("what is pinned is not among %v", sh.s.status().Members[0].Planned)
	}
	sh.run(func() bool { return len(sh.s.status().Members[0].Had) == 9 && len(sh.Starting) == 0 })
	if n := sh.s.counts.Reloads; n != 1 {
		t.Errorf("%d reloads, want one", n)
	}
	alone := newShop(t, Options{Workers: 1, First: 3}, stock()...)
	if n := len(alone.s.status().Members[0].Planned); n != 9 {
		t.Errorf("one that is alone loads %d files, want 9", n)
	}
}
