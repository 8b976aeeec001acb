package sched

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func (w *world) expect(want ...string) {
	w.t.Helper()
	if got := w.running(); !slices.Equal(got, want) {
		w.t.Errorf("running %q, want %q", got, want)
	}
}

func TestRequestsOfOneIdentityRunAsABatch(t *testing.T) {
	w := withWorkers(t, 2, 3)
	for range 3 {
		w.ask("a")
	}
	w.expect("0/0 a", "0/1 a", "0/2 a")
	if w.log[0].Kind != Swap || w.log[1].Kind != Serve || w.log[2].Kind != Serve {
		t.Errorf("actions %+v", w.log)
	}
}

func TestBaseIsAnIdentityLikeOthers(t *testing.T) {
	w := withWorkers(t, 1, 2)
	if w.ask(Base); w.log[0].Kind != Serve {
		t.Errorf("the base is in force at the start: %+v", w.log)
	}
}

func TestLeastRecentlyUsedWorkerIsSwapped(t *testing.T) {
	w := withWorkers(t, 2, 4)
	a := w.ask("a")
	b := w.ask("b")
	w.finish(b, Usage{})
	w.finish(a, Usage{})
	c := w.ask("c")
	if c.worker != b.worker {
		t.Errorf("c swapped worker %d, which was used last", c.worker)
	}
}

func TestNewcomersWaitForTheQuantumAndTheDrain(t *testing.T) {
	w := withWorkers(t, 1, 2)
	a1, a2 := w.ask("a"), w.ask("a")
	b := w.ask("b")
	w.pass(time.Second)
	w.finish(a1, Usage{})
	a3 := w.ask("a") // the quantum is not over
	if a3.worker != 0 {
		t.Fatal("a's own request does not run in a's turn")
	}
	w.pass(time.Second)
	w.finish(a2, Usage{})
	a4 := w.ask("a") // the quantum is over and b waits
	if a4.worker >= 0 {
		t.Fatal("a request joined a worker that is closing")
	}
	w.finish(a3, Usage{})
	if b.worker != 0 || a4.worker >= 0 {
		t.Fatalf("after the drain b is on %d, a on %d", b.worker, a4.worker)
	}
	w.pass(3 * time.Second)
	w.finish(b, Usage{})
	if a4.worker != 0 {
		t.Error("a does not get its next turn")
	}
}

func TestNobodyIsClosedForWhenNobodyWaits(t *testing.T) {
	w := withWorkers(t, 1, 2)
	w.ask("a")
	w.pass(time.Hour)
	if j := w.ask("a"); j.worker != 0 {
		t.Error("a lone adapter lost its worker after its quantum")
	}
}

func TestAWorkerIsOpenedAgainWhenNobodyWaitsAnyMore(t *testing.T) {
	w := withWorkers(t, 1, 2)
	w.ask("a")
	b := w.ask("b")
	w.pass(3 * time.Second)
	if !w.s.fleet.workers[0].preempted {
		t.Fatal("not closed")
	}
	w.leave(b)
	if j := w.ask("a"); j.worker != 0 {
		t.Error("the worker still drains for a request that left")
	}
}

func TestOldestWaitingIdentityFirst(t *testing.T) {
	w := withWorkers(t, 1, 1)
	running := w.ask("a")
	var line []*job
	for i := range 5 {
		w.pass(100 * time.Millisecond)
		line = append(line, w.ask(Identity(fmt.Sprint("b", i))))
		w.ask("a")
	}
	w.pass(3 * time.Second)
	for i, next := range line {
		w.finish(running, Usage{})
		if next.worker != 0 {
			t.Fatalf("%s is not the next, running %q", next.Identity, w.running())
		}
		running = next
		w.pass(3 * time.Second)
		_ = i
	}
}

func TestSpreadOverDevicesAtOnce(t *testing.T) {
	w := newWorld(t, quick)
	w.up(0, 2, "gpu0")
	w.up(1, 2, "gpu0")
	w.up(2, 2, "gpu1")
	for range 3 {
		w.ask("a")
	}
	w.expect("0/0 a", "0/1 a", "2/0 a")
}

func TestSpreadOnOneDeviceOnlyAfterAWhile(t *testing.T) {
	w := withWorkers(t, 2, 2)
	for range 3 {
		w.ask("a")
	}
	w.expect("0/0 a", "0/1 a")
	w.pass(quick.ScaleOutAfter)
	w.expect("0/0 a", "0/1 a", "1/0 a")
	// Taken back: the fuller worker is filled first, the other becomes idle.
	w.finish(w.oldest(0), Usage{})
	w.ask("a")
	w.expect("0/0 a", "0/1 a", "1/0 a")
}

func TestASpreadFlowGivesAWorkerToOneWithFewer(t *testing.T) {
	w := withWorkers(t, 3, 1)
	for range 9 {
		w.ask("a")
		w.pass(quick.ScaleOutAfter)
	}
	w.expect("0/0 a", "1/0 a", "2/0 a")
	for range 3 {
		w.ask("b")
	}
	w.pass(quick.Quantum)
	w.finish(w.oldest(0), Usage{})
	w.finish(w.oldest(1), Usage{})
	w.finish(w.oldest(2), Usage{})
	count := map[Identity]int{}
	for _, j := range w.placed {
		count[j.Identity]++
	}
	if count["a"] != 2 || count["b"] != 1 {
		t.Fatalf("running %v: b has a right to one worker, and to no more than a", count)
	}
}

func TestMaxConcurrency(t *testing.T) {
	w := withWorkers(t, 2, 4)
	limited := Request{Identity: "a", MaxConcurrency: 2}
	first := w.do(limited)
	w.do(limited)
	third := w.do(limited)
	if third.worker >= 0 {
		t.Fatal("a third runs")
	}
	w.pass(time.Minute)
	if b := w.ask("b"); b.worker < 0 {
		t.Error("b does not run beside them")
	}
	w.finish(first, Usage{})
	if third.worker < 0 {
		t.Error("the third does not run after the first")
	}
}

func TestWholeRequests(t *testing.T) {
	w := withWorkers(t, 1, 2)
	a := w.ask("a")
	exclusive := w.do(Request{Identity: "a", Exclusive: true})
	if exclusive.worker >= 0 {
		t.Fatal("runs beside another")
	}
	w.pass(quick.Quantum)
	w.finish(a, Usage{})
	if exclusive.worker != 0 || exclusive.kind != Serve {
		t.Fatalf("%+v: should run without a swap", exclusive)
	}
	beside := w.ask("a")
	if beside.worker >= 0 {
		t.Fatal("joined a worker that is lent whole")
	}
	w.finish(exclusive, Usage{})
	if beside.worker != 0 {
		t.Error("does not run after it")
	}
	if last := w.log[len(w.log)-1]; !slices.Equal(last.Erase, []int{last.Slot}) {
		t.Errorf("%+v: nobody knows what the whole request left in the slot", last)
	}
}

func TestWeightsStretchTurns(t *testing.T) {
	w := withWorkers(t, 1, 4)
	w.do(Request{Identity: "heavy", Weight: 3})
	w.ask("b")
	w.pass(3 * quick.Quantum / 2)
	if w.s.fleet.workers[0].preempted {
		t.Error("closed after one quantum and a half, its weight is 3")
	}
	w.pass(3 * quick.Quantum / 2)
	if !w.s.fleet.workers[0].preempted {
		t.Error("not closed after three quanta")
	}
}

// TestTokensAreTheCurrency: after a turn whose drain gave an identity far more
// than its share, others get longer than a quantum to catch up.
func TestTokensAreTheCurrency(t *testing.T) {
	w := withWorkers(t, 1, 2)
	long := w.ask("long")
	w.ask("long")
	short := w.ask("short")
	w.pass(30 * time.Second) // its quantum, and 28 seconds of drain
	w.finish(long, Usage{Completion: 1000})
	w.ask("long")
	w.finish(w.oldest(0), Usage{Completion: 1000})
	if short.worker != 0 {
		t.Fatal("short does not run")
	}
	w.pass(5 * quick.Quantum)
	if w.s.fleet.workers[0].preempted {
		t.Error("short's worker is closed: long has not paid")
	}
	w.pass(28*time.Second - 5*quick.Quantum)
	if !w.s.fleet.workers[0].preempted {
		t.Error("long stands back for longer than its drain took")
	}
}

func TestFullQueuePushesTheLongestFlowOut(t *testing.T) {
	w := newWorld(t, Options{Quantum: time.Second, Queue: 3})
	flood := []*job{w.arrive(Request{Identity: "a"}), w.arrive(Request{Identity: "a"}), w.arrive(Request{Identity: "a"})}
	if w.arrive(Request{Identity: "a"}) != nil {
		t.Error("a fourth request of the flood is admitted")
	}
	if w.arrive(Request{Identity: "b"}) == nil {
		t.Fatal("b is refused because of a's flood")
	}
	if w.queued[flood[2].Ticket] != nil || w.queued[flood[0].Ticket] == nil {
		t.Error("not the newest of the flood made room")
	}
	w.arrive(Request{Identity: "c"})
	if w.arrive(Request{Identity: "d"}) != nil {
		t.Error("d is admitted though nobody has more than one")
	}
	if w.arrive(Request{Identity: "b", Again: true}) == nil {
		t.Error("a request that runs again is refused")
	}
}

func TestRequestThatRunsAgainKeepsItsPlace(t *testing.T) {
	w := withWorkers(t, 1, 1)
	a := w.ask("a")
	w.ask("a")
	early := Request{Identity: "a", Ticket: 99, Since: -1, Again: true}
	w.s.Arrive(early, w.now)
	w.queued[99] = &job{Request: early, worker: -1}
	w.finish(a, Usage{})
	if w.oldest(0).Ticket != 99 {
		t.Error("a newer request went first")
	}
}

func TestSuspendedWorkerGetsNothing(t *testing.T) {
	w := withWorkers(t, 1, 2)
	w.s.Suspend(0, w.now)
	j := w.ask(Base)
	if j.worker >= 0 {
		t.Fatal("placed on a suspended worker")
	}
	w.s.Resume(0, w.now)
	w.decide()
	if j.worker != 0 {
		t.Error("not placed after Resume")
	}
}

func TestWorkerDownForgetsWhatRan(t *testing.T) {
	w := withWorkers(t, 2, 1)
	a := w.ask("a")
	b := w.ask("a")
	w.pass(quick.ScaleOutAfter)
	w.down(a.worker)
	w.s.Finish(a.Ticket, Usage{}, w.now) // late: ignored
	w.decide()
	if b.worker != 1 || w.s.queue.flows[flowKey{identity: "a"}].running != 1 {
		t.Errorf("b on %d, %d running", b.worker, w.s.queue.flows[flowKey{identity: "a"}].running)
	}
}

func TestRetryAfterReflectsTheQueue(t *testing.T) {
	w := withWorkers(t, 1, 1)
	for range 21 {
		w.ask("a")
	}
	for range 10 { // two a second
		w.pass(500 * time.Millisecond)
		w.finish(w.oldest(0), Usage{})
	}
	// Eleven wait; the rate is smoothed over 10 s, of which 5 have passed.
	if got := w.s.RetryAfter(w.now); got < 5*time.Second || got > 15*time.Second {
		t.Errorf("retry after %s, want about 5 to 15 s", got)
	}
}

func TestIdleFlowsAreForgotten(t *testing.T) {
	w := withWorkers(t, 1, 1)
	for i := range 1000 {
		w.finish(w.ask(Identity(fmt.Sprint(i))), Usage{Completion: 1})
	}
	if n := len(w.s.queue.flows); n > 100 {
		t.Errorf("%d flows are kept, one is applied and has the slot", n)
	}
}

func TestRequestsThatAskToBeAlone(t *testing.T) {
	w := withWorkers(t, 1, 2)
	a := w.ask("a")
	alone := w.do(Request{Identity: "a", Alone: true})
	if alone.worker >= 0 {
		t.Fatal("runs beside another")
	}
	w.pass(quick.Quantum)
	w.finish(a, Usage{})
	if alone.worker != 0 || alone.slot == NoSlot {
		t.Fatalf("%+v: should run in a slot", alone)
	}
	beside := w.ask("a")
	if beside.worker >= 0 {
		t.Fatal("joined one that asked to be alone")
	}
	w.s.Prove(alone.Ticket, w.now)
	w.decide()
	if beside.worker != 0 {
		t.Error("does not join one that did no harm")
	}
}
