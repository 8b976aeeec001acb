package sched

import (
	"fmt"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/residency"
)

// These tests make one thing at a time that could keep a request, or a wish of the
// stock, from ever being loaded.

// end finishes a job that runs.
func (sh *shop) end(j *job) {
	sh.t.Helper()
	if sh.Placed[j.Ticket] == nil {
		sh.t.Fatalf("%v does not run", j.Files)
	}
	sh.Finish(j, Usage{Completion: 10})
}

// wait lets so much time pass, and what happens by itself happen, and ends what
// runs at once.
func (sh *shop) wait(d time.Duration) {
	sh.t.Helper()
	for until := sh.Now() + d; ; {
		switch actions := sh.Decide(); {
		case len(sh.Placed) > 0:
			sh.finishAll()
		case len(actions) > 0:
		case sh.Next() > until:
			sh.Pass(until - sh.Now())
			return
		default:
			sh.Step()
		}
	}
}

func (sh *shop) has(worker int, files ...File) bool {
	w, up := sh.s.fleet.workers[worker]
	return up && w.line.set.Holds(files)
}

// TestFloodsDoNotKeepOthersFromBeingLoaded lets two identities with long queues
// meet a third that came after all of their requests, where two fit.
func TestFloodsDoNotKeepOthersFromBeingLoaded(t *testing.T) {
	sh := open(t, bounded(1, 2), stockOf(3)...)
	for range 200 {
		sh.wants("f00")
		sh.wants("f01")
	}
	sh.length, sh.ended = func(*job) time.Duration { return time.Second }, sh.end
	sh.Decide()
	begun := sh.Now()
	late := sh.wants("f02")
	for sh.Placed[late.Ticket] == nil {
		sh.step()
	}
	// A turn of each of those before it, and the reload.
	if took, limit := sh.Now()-begun, 2*(quick.Quantum+time.Second)+time.Second+2*startTime; took > limit {
		t.Errorf("the newcomer waited for %s, more than %s; %d others still wait", took, limit, len(sh.Queued))
	}
}

func TestAlternatingFilesAreServedAtTheIntervalsPace(t *testing.T) {
	sh := open(t, bounded(1, 1), stockOf(2)...)
	begun, reloads := sh.Now(), sh.s.Counts().Reloads
	for i := range 20 {
		sh.done(sh.wants(File(fmt.Sprintf("f%02d", i%2))))
	}
	n := Time(sh.s.Counts().Reloads - reloads)
	if n != 19 && n != 20 {
		t.Errorf("%d reloads for 20 requests in turn", n)
	}
	if took := sh.Now() - begun; took < (n-1)*time.Second || took > n*(time.Second+startTime) {
		t.Errorf("20 requests took %s and %d reloads", took, n)
	}
}

// TestPreloadedFilesMakeRoom fills all workers with what is preloaded: a request
// for another file is served, and what made room for it comes back when that has
// not been used for a while.
func TestPreloadedFilesMakeRoom(t *testing.T) {
	list := stockOf(4)
	list[0].Preload, list[1].Preload = true, true
	sh := open(t, bounded(1, 2), list...)
	sh.done(sh.wants("f02"))
	if sh.has(0, "f00", "f01") {
		t.Fatal("it was served by nobody")
	}
	reloads := sh.s.Counts().Reloads
	sh.wait(inUse - 5*time.Second)
	if n := sh.s.Counts().Reloads - reloads; n != 0 {
		t.Errorf("%d reloads for what made room, at once", n)
	}
	sh.wait(time.Minute)
	if !sh.has(0, "f00", "f01") {
		t.Errorf("loaded %v, want what is preloaded back", sh.loaded())
	}
}

// TestPreloadedFilesMakeRoomOnlyIfTheyMust has a second worker with room.
func TestPreloadedFilesMakeRoomOnlyIfTheyMust(t *testing.T) {
	list := stockOf(8)
	for i := range 3 {
		list[i].Preload = true
	}
	sh := open(t, bounded(2, 3), list...)
	for i := 3; i < 8; i++ {
		sh.done(sh.wants(list[i].File))
		for _, f := range []File{"f00", "f01", "f02"} {
			if !sh.s.Loaded(f) {
				t.Fatalf("%s had to go: %v", f, sh.loaded())
			}
		}
	}
}

// TestTooManyPreloadedFilesDoNotTakeTurns preloads more than fits.
func TestTooManyPreloadedFilesDoNotTakeTurns(t *testing.T) {
	list := stockOf(6)
	for i := range list {
		list[i].Preload = true
	}
	sh := open(t, bounded(2, 2), list...)
	reloads := sh.s.Counts().Reloads
	sh.wait(10 * time.Minute)
	if n := sh.s.Counts().Reloads - reloads; n != 0 {
		t.Errorf("%d reloads though nobody asked for anything", n)
	}
	sh.done(sh.wants("f05"))
}

// TestStockComesUnderAScan lets every reload be wanted by newcomers, and adds a
// pinned and a preloaded file: they get where they should be.
func TestStockComesUnderAScan(t *testing.T) {
	list := stockOf(90)
	sh := open(t, bounded(2, 2), list...)
	busy := sh.wants(sh.loaded()[0][0]) // so that the other one is always chosen
	sh.run(sh.served(busy))
	n := 10
	scan := func() {
		for len(sh.Queued) < 6 {
			sh.wants(list[n].File)
			n = 10 + (n+1)%80
		}
		for _, j := range sh.Placed {
			if j != busy {
				sh.end(j)
			}
		}
	}
	for range 20 {
		scan()
		sh.step()
	}
	list[7].Pin, list[8].Preload = true, true
	sh.s.SetStock(list, sh.Now())
	begun := sh.Now()
	sh.run(func() bool {
		scan()
		if sh.Placed[busy.Ticket] != nil && sh.s.fleet.workers[busy.Worker].reloading {
			sh.end(busy)
		}
		return sh.has(0, "f07") && sh.has(1, "f07") && sh.s.Loaded("f08")
	})
	if took := sh.Now() - begun; took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
}

// TestDrainedWorkersDoNotCount has the only copy on a worker that an operator
// drains.
func TestDrainedWorkersDoNotCount(t *testing.T) {
	sh := open(t, bounded(2, 2), stockOf(4)...)
	only := sh.loaded()[0][0]
	sh.s.Drain(0, true, sh.Now())
	if sh.s.Loaded(only) {
		t.Error("what is on a drained worker counts as loaded")
	}
	if !sh.s.residency.Used()[only] {
		t.Error("it is not used, though a process has it")
	}
	j := sh.wants(only)
	sh.done(j)
	if j.Worker != 1 || !j.Missed {
		t.Errorf("served by worker %d, missed %v", j.Worker, j.Missed)
	}
	// It is back as it was, and what came meanwhile is loaded.
	list := stockOf(4)
	list[3].Pin = true
	sh.s.SetStock(list, sh.Now())
	sh.wait(time.Minute)
	if sh.has(0, "f03") || !sh.has(1, "f03") {
		t.Fatalf("loaded %v", sh.loaded())
	}
	sh.s.Drain(0, false, sh.Now())
	sh.wait(time.Minute)
	if !sh.has(0, "f03") {
		t.Errorf("loaded %v: the worker that is back lacks what is pinned", sh.loaded())
	}
}

// TestDrainedVictim drains the worker that is being given up.
func TestDrainedVictim(t *testing.T) {
	sh := open(t, bounded(2, 1), stockOf(3)...)
	runs := []*job{sh.wants("f00"), sh.wants("f01")}
	for _, j := range runs {
		sh.run(sh.served(j))
	}
	j := sh.wants("f02")
	sh.Decide()
	if sh.s.status().Phase != residency.Draining {
		t.Fatalf("phase %d", sh.s.status().Phase)
	}
	sh.s.Drain(sh.s.status().Victim, true, sh.Now())
	for _, r := range runs {
		sh.end(r)
	}
	sh.done(j)
	if sh.s.status().Members[j.Worker].Drained {
		t.Error("a drained worker took it")
	}
}

// TestIdleWorkerIsGivenUpInPlaceOfABusyOne lets a worker become idle while another
// drains, which may take long.
func TestIdleWorkerIsGivenUpInPlaceOfABusyOne(t *testing.T) {
	sh := open(t, bounded(2, 1), stockOf(4)...)
	a, b := sh.wants("f00"), sh.wants("f01")
	sh.run(sh.served(a))
	sh.run(sh.served(b))
	j := sh.wants("f02")
	sh.Decide()
	v := sh.s.status().Victim
	if sh.s.status().Phase != residency.Draining {
		t.Fatalf("phase %d", sh.s.status().Phase)
	}
	stays, goes := a, b
	if b.Worker == v {
		stays, goes = b, a
	}
	sh.Pass(futility)
	sh.end(goes)
	sh.done(j)
	if j.Worker == v {
		t.Error("the worker with the long request was restarted")
	}
	again := sh.wants(stays.Files[0])
	sh.done(again)
	if again.Worker != v || again.Missed {
		t.Errorf("the other one does not take requests again: %d, missed %v", again.Worker, again.Missed)
	}
	sh.end(stays)
}

// TestLongRequestsDoNotKeepOthersFromBeingLoaded has one worker with a long
// request, and an idle one with what is used all the time: it is the busy one that
// drains, but not for long.
func TestLongRequestsDoNotKeepOthersFromBeingLoaded(t *testing.T) {
	sh := open(t, bounded(2, 1), stockOf(4)...)
	long := sh.wants("f01")
	sh.run(sh.served(long))
	for range 5 {
		sh.done(sh.wants("f00"))
		sh.Pass(time.Second)
	}
	j := sh.wants("f02")
	sh.Decide()
	if sh.s.status().Phase != residency.Draining || sh.s.status().Victim != long.Worker {
		t.Fatalf("phase %d for worker %d", sh.s.status().Phase, sh.s.status().Victim)
	}
	begun := sh.Now()
	sh.run(sh.served(j))
	if took := sh.Now() - begun; j.Worker == long.Worker || took > quick.Quantum+2*startTime {
		t.Errorf("served by worker %d after %s", j.Worker, took)
	}
	sh.end(long)
}

// TestIdleWorkersTakeOverAtOnce restarts a worker whose slots are all taken while
// another is idle: who waits runs there, with no other event.
func TestIdleWorkersTakeOverAtOnce(t *testing.T) {
	sh := open(t, bounded(2, 0), stockOf(1)...)
	jobs := []*job{sh.wants("f00"), sh.wants("f00"), sh.wants("f00")}
	sh.Decide()
	if sh.Placed[jobs[2].Ticket] != nil {
		t.Fatal("a worker with two slots runs three requests, or it was spread at once")
	}
	sh.s.Restart(jobs[0].Worker)
	sh.Decide()
	sh.check()
	if sh.Placed[jobs[2].Ticket] == nil {
		t.Error("it waits though a worker is idle")
	}
}

// TestOperatorsRestartIsNotReconsidered: it is that worker which is meant.
func TestOperatorsRestartIsNotReconsidered(t *testing.T) {
	sh := open(t, bounded(2, 1), stockOf(4)...)
	a := sh.wants("f00")
	sh.run(sh.served(a))
	sh.s.Restart(a.Worker)
	sh.wants("f02")
	sh.Decide()
	sh.Pass(time.Second)
	if sh.s.status().Phase != residency.Draining || sh.s.status().Victim != a.Worker {
		t.Errorf("phase %d for worker %d", sh.s.status().Phase, sh.s.status().Victim)
	}
	sh.end(a)
}

// TestRestartOfAWorkerThatRestartsAnyway asks for it while the worker drains.
func TestRestartOfAWorkerThatRestartsAnyway(t *testing.T) {
	sh := open(t, bounded(1, 1), stockOf(2)...)
	a := sh.wants(sh.loaded()[0][0])
	sh.run(sh.served(a))
	other := map[File]File{"f00": "f01", "f01": "f00"}[a.Files[0]]
	j := sh.wants(other)
	sh.Decide()
	sh.s.Restart(0)
	sh.end(a)
	sh.done(j)
	if n := sh.s.Counts().Reloads; n != 1 {
		t.Errorf("%d reloads", n)
	}
}

// TestOthersGoOnWhenARestartFails lets a worker that was given up not come up
// again, with files that are proven: nobody else is given up for a while.
func TestOthersGoOnWhenARestartFails(t *testing.T) {
	sh := open(t, bounded(2, 1), stockOf(4)...)
	for _, f := range []File{"f02", "f03", "f00", "f01"} { // all are proven now
		sh.done(sh.wants(f))
	}
	sh.wait(10 * time.Second)
	j := sh.wants("f02")
	sh.run(func() bool { return len(sh.Starting) == 1 })
	victim := sh.s.status().Next
	sh.Abort(victim)
	if sh.s.Failed(victim, sh.Now()) {
		t.Fatal("proven files are suspected")
	}
	sh.wants("f03")
	sh.wait(trouble - time.Second)
	if len(sh.s.fleet.list) != 1 || sh.s.status().Phase != residency.None {
		t.Fatalf("the last worker was given up, too: %s", sh)
	}
	sh.Begin(victim) // it works again
	sh.done(j)
	sh.wait(time.Minute)
	if len(sh.Queued) != 0 {
		t.Errorf("%d wait", len(sh.Queued))
	}
}

// TestAllIsServedByThoseThatAreLeft: a worker that does not come back after its
// death does not keep the others from reloading for ever.
func TestAllIsServedByThoseThatAreLeft(t *testing.T) {
	sh := open(t, bounded(2, 1), stockOf(4)...)
	sh.Down(0)
	died := sh.Now()
	for _, f := range []File{"f03", "f02"} {
		j := sh.wants(f)
		sh.done(j)
		if sh.Now()-died < patience {
			t.Errorf("the last worker was given up after %s", sh.Now()-died)
		}
	}
}
