package pool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/sched"
	"github.com/loragate/loragate/internal/upstream"
	"github.com/loragate/loragate/internal/worker"
)

// fakeEffects records what a state asks for; the test answers.
type fakeEffects struct {
	log   []string
	clock time.Time
	alarm time.Time // when the state wants to be asked again
}

func (e *fakeEffects) note(format string, args ...any) {
	e.log = append(e.log, fmt.Sprintf(format, args...))
}
func (e *fakeEffects) swap(m *member, t Target)    { e.note("swap %d to %q", m.id, t.Identity) }
func (e *fakeEffects) erase(l *Lease, slots []int) { e.note("erase %d %v", l.Member, slots) }
func (e *fakeEffects) settle(l *Lease, early bool) {
	e.note("settle %d %v early=%v", l.Member, l.slots, early)
}
func (e *fakeEffects) probe(m *member)              { e.note("probe %d", m.id) }
func (e *fakeEffects) kill(m *member, cause string) { e.note("kill %d", m.id) }
func (e *fakeEffects) end(m *member)                { e.note("end %d", m.id) }
func (e *fakeEffects) begin(m *member)              { e.note("begin %d", m.id) }
func (e *fakeEffects) wake(after time.Duration)     { e.alarm = e.clock.Add(after) }
func (e *fakeEffects) now() time.Time               { return e.clock }
func (e *fakeEffects) take() (log []string)         { log, e.log = e.log, nil; return log }

// stubRunner stands for a process; a state never calls it.
type stubRunner struct{}

func (stubRunner) PID() int                                     { return 42 }
func (stubRunner) Facts() Facts                                 { return Facts{} }
func (stubRunner) Apply(context.Context, []worker.Part) error   { panic("not called") }
func (stubRunner) LoRA([]worker.Part) ([]byte, error)           { panic("not called") }
func (stubRunner) Erase(context.Context, int) error             { panic("not called") }
func (stubRunner) Slots(context.Context) ([]worker.Work, error) { panic("not called") }
func (stubRunner) Metrics(context.Context) ([]byte, error)      { panic("not called") }
func (stubRunner) Exited() <-chan struct{}                      { panic("not called") }
func (stubRunner) Err() error                                   { panic("not called") }
func (stubRunner) Kill(string)                                  { panic("not called") }
func (stubRunner) Stop()                                        { panic("not called") }
func (stubRunner) Complete(context.Context, worker.Probe) ([]worker.Token, error) {
	panic("not called")
}
func (stubRunner) Forward(context.Context, string, []byte) (*upstream.Response, error) {
	panic("not called")
}

// bench is a state under test.
type bench struct {
	*state
	t  *testing.T
	fx *fakeEffects
}

// quantum is the tests' quantum.
const quantum = 2 * time.Second

// newBench returns a state with workers up that have two slots each, and room
// for four waiting requests.
func newBench(t *testing.T, workers int) *bench {
	fx := &fakeEffects{clock: time.Unix(1000, 0)}
	b := &bench{state: newState(fx, nil, sched.Options{Quantum: quantum, ScaleOutAfter: quantum / 10, Queue: 4,
		Workers: workers}), t: t, fx: fx}
	for _, m := range b.members {
		b.upWith(m, stubRunner{}, 2)
	}
	return b
}

func (b *bench) ask(id sched.Identity, whole ...bool) *ticket {
	b.t.Helper()
	t := b.ticket(id, whole...)
	if err := b.admit(t); err != nil {
		b.t.Fatalf("admit: %v", err)
	}
	return t
}

func (b *bench) ticket(id sched.Identity, whole ...bool) *ticket {
	b.fx.clock = b.fx.clock.Add(time.Millisecond)
	return &ticket{
		request: Request{Target: Target{Identity: id}, Exclusive: len(whole) > 0},
		since:   b.fx.clock, result: make(chan result, 1),
	}
}

// later lets time pass, and wakes the state if it asked for that.
func (b *bench) later(d time.Duration) {
	b.t.Helper()
	b.fx.clock = b.fx.clock.Add(d)
	if b.fx.alarm.IsZero() || b.fx.alarm.After(b.fx.clock) {
		b.t.Fatalf("the state does not want to be woken within %s", d)
	}
	b.schedule()
}

// stat returns how a worker looks from outside.
func (b *bench) stat(worker int) WorkerStats {
	st := Stats{Workers: make([]WorkerStats, len(b.members))}
	b.fill(&st)
	return st.Workers[worker]
}

func (b *bench) inFlight(worker int) int { return b.stat(worker).InFlight }

func (w WorkerStats) closing() bool { return w.Health == Draining }

// granted returns the ticket's lease, or nil while it waits.
func granted(t *ticket) *Lease {
	select {
	case r := <-t.result:
		t.result <- r
		return r.lease
	default:
		return nil
	}
}

func refused(t *ticket) error {
	select {
	case r := <-t.result:
		t.result <- r
		return r.err
	default:
		return nil
	}
}

// mustGrant asks for id on a single worker and plays every effect well.
func (b *bench) mustGrant(id sched.Identity, whole ...bool) *Lease {
	b.t.Helper()
	t := b.ask(id, whole...)
	if t.lease == nil {
		b.t.Fatalf("request for %q was not placed", id)
	}
	m := t.lease.member
	if m.swapping {
		b.swapped(m, m.gen, nil)
	}
	if granted(t) == nil {
		b.erased(t.lease, nil)
	}
	if granted(t) == nil {
		b.t.Fatalf("request for %q was not granted", id)
	}
	return t.lease
}

func (b *bench) expect(want ...string) {
	b.t.Helper()
	if got := b.fx.take(); !slices.Equal(got, want) {
		b.t.Errorf("effects %q, want %q", got, want)
	}
}

func TestGrantComesAfterTheSwap(t *testing.T) {
	b := newBench(t, 1)
	first, second := b.ask("a"), b.ask("a")
	b.expect(`swap 0 to "a"`)
	if granted(first) != nil || granted(second) != nil {
		t.Fatal("granted before the adapter was in force")
	}
	b.swapped(b.members[0], b.members[0].gen, nil)
	for _, tk := range []*ticket{first, second} {
		if l := granted(tk); l == nil || l.State != StateSwap {
			t.Errorf("lease %+v, want one after a swap", l)
		}
	}
	if first.lease.Slot == second.lease.Slot {
		t.Error("two leases share a slot")
	}
	b.expect()
}

func TestSlotThatChangesScopeIsErasedFirst(t *testing.T) {
	b := newBench(t, 1)
	for range 2 { // both slots hold KV of a
		x, y := b.mustGrant("a"), b.mustGrant("a")
		b.release(x, Done, Usage{})
		b.release(y, Done, Usage{})
	}
	b.fx.take()

	tk := b.ask("b")
	b.expect(`swap 0 to "b"`)
	b.swapped(b.members[0], b.members[0].gen, nil)
	if granted(tk) != nil {
		t.Fatal("granted before the slot was erased")
	}
	b.expect(fmt.Sprintf("erase 0 [%d]", tk.lease.Slot))
	b.erased(tk.lease, nil)
	if granted(tk) == nil {
		t.Fatal("not granted after the slot was erased")
	}
	b.release(tk.lease, Done, Usage{})

	// b's slot is b's now, and a still has the other: nobody erases.
	slotOfA := 1 - tk.lease.Slot
	for _, id := range []sched.Identity{"a", "b", "a"} {
		l := b.mustGrant(id)
		if want := map[sched.Identity]int{"a": slotOfA, "b": tk.lease.Slot}[id]; l.Slot != want {
			t.Errorf("%s ran in slot %d, its KV is in %d", id, l.Slot, want)
		}
		b.release(l, Done, Usage{})
	}
	b.expect(`swap 0 to "a"`, `swap 0 to "b"`, `swap 0 to "a"`)
}

func TestBaseAndAdaptersNeverShareASlot(t *testing.T) {
	b := newBench(t, 1)
	b.release(b.mustGrant(sched.Base), Done, Usage{})
	b.release(b.mustGrant("a"), Done, Usage{})
	b.fx.take()
	l := b.mustGrant(sched.Base)
	b.expect(`swap 0 to ""`)
	if l.Slot != 0 {
		t.Errorf("the base ran in slot %d, its KV is in 0", l.Slot)
	}
}

func TestWholeRequestGetsCleanSlotsAndLeavesThemUnknown(t *testing.T) {
	b := newBench(t, 1)
	b.release(b.mustGrant("a"), Done, Usage{})
	b.fx.take()
	w := b.mustGrant("a", true)
	b.expect("erase 0 [0]")
	if w.Slot != NoSlot {
		t.Errorf("slot %d, want none", w.Slot)
	}
	waiting := b.ask("a")
	if waiting.lease != nil {
		t.Fatal("a request joined a worker that was lent whole")
	}
	b.release(w, Done, Usage{})
	b.expect(fmt.Sprintf("erase 0 [%d]", waiting.lease.Slot)) // whatever llama-server left there
}

func TestCutReleaseWaitsForTheSlot(t *testing.T) {
	b := newBench(t, 1)
	l := b.mustGrant("a")
	other := b.ask("b")
	b.fx.take()
	b.release(l, Cut, Usage{})
	b.expect("settle 0 [0] early=false")
	if other.lease != nil {
		t.Fatal("swapped while the cut request may still be decoding")
	}
	b.settled(l)
	b.expect(`swap 0 to "b"`)
}

func TestFailedWorkerGetsNothingUntilItIsAlive(t *testing.T) {
	b := newBench(t, 1)
	l := b.mustGrant("a")
	b.fx.take()
	b.release(l, Failed, Usage{})
	b.expect("probe 0", "settle 0 [0] early=true")
	again := b.ask("a")
	if again.lease != nil {
		t.Fatal("the request met the worker that just failed")
	}
	b.probed(b.members[0], b.members[0].gen, nil)
	if granted(again) == nil {
		t.Error("the worker is alive and gets nothing")
	}
	b.release(again.lease, Failed, Usage{})
	b.fx.take()
	b.probed(b.members[0], b.members[0].gen, errors.New("no answer"))
	b.expect("kill 0")
}

// TestEarlyCutLeavesTheSlotUnknown: llama-server may still write into it.
func TestEarlyCutLeavesTheSlotUnknown(t *testing.T) {
	b := newBench(t, 1)
	l, other := b.mustGrant("a"), b.mustGrant("a")
	b.fx.take()
	b.release(l, CutEarly, Usage{})
	b.expect("settle 0 [0] early=true")
	b.settled(l)
	next := b.ask("a") // slot 1 is taken
	b.expect("erase 0 [0]")
	b.erased(next.lease, nil)
	b.release(other, Done, Usage{})
	b.release(next.lease, Cut, Usage{})
	b.fx.take()
	b.unsettled(next.lease, errors.New("still busy"))
	b.expect("kill 0")
}

func TestSettling(t *testing.T) {
	at := func(ms int) time.Time { return time.UnixMilli(int64(ms)) }
	late := settling{seen: true, since: at(0)}
	if late.settled(true, at(1)) || !late.settled(false, at(2)) {
		t.Error("cut in the middle: idle is idle")
	}
	early := settling{since: at(0)}
	if early.settled(false, at(5)) {
		t.Error("cut early: idle at once proves nothing")
	}
	if early.settled(true, at(10)) || !early.settled(false, at(15)) {
		t.Error("cut early: busy and then idle is done")
	}
	never := settling{since: at(0)}
	if !never.settled(false, at(int(settleGrace.Milliseconds()))) {
		t.Error("cut early: idle all the time is done after the grace")
	}
}

func TestReleaseTwiceIsHarmless(t *testing.T) {
	b := newBench(t, 1)
	l := b.mustGrant("a")
	b.release(l, Done, Usage{})
	b.release(l, Done, Usage{})
	if n := b.inFlight(0); n != 0 {
		t.Errorf("in flight %d", n)
	}
}

func TestCancelWhileQueuedFreesThePlace(t *testing.T) {
	b := newBench(t, 1)
	l := b.mustGrant("a")
	waiting := b.ask("b")
	b.later(quantum)
	if !b.stat(0).closing() {
		t.Fatal("the worker does not drain for b")
	}
	b.cancel(waiting)
	if again := b.ask("a"); granted(again) == nil {
		t.Error("the worker still drains for a request that left")
	}
	b.release(l, Done, Usage{})
	if n := b.sched.Waiting() + len(b.waiting); n != 0 {
		t.Errorf("%d wait", n)
	}
}

func TestCancelWhileBeingMadeReady(t *testing.T) {
	b := newBench(t, 1)
	tk := b.ask("a")
	b.cancel(tk)
	b.swapped(b.members[0], b.members[0].gen, nil)
	if n := b.inFlight(0); n != 0 || granted(tk) != nil {
		t.Errorf("in flight %d after the client left", n)
	}
}

func TestCancelInTheMomentOfTheGrant(t *testing.T) {
	b := newBench(t, 1)
	l := b.mustGrant("a")
	b.cancel(l.ticket)
	if b.inFlight(0) != 0 {
		t.Error("a lease that nobody has is still out")
	}
}

func TestFullQueue(t *testing.T) {
	b := newBench(t, 1)
	b.mustGrant("a")
	for range 4 {
		b.ask("b")
	}
	extra := b.ticket("b")
	var busy *BusyError
	if err := b.admit(extra); !errors.As(err, &busy) || busy.Reason != ReasonQueueFull || busy.RetryAfter < time.Second {
		t.Errorf("admit into a full queue: %v", err)
	}
	extra.request.Again = b.fx.clock
	if err := b.admit(extra); err != nil {
		t.Errorf("a request that runs again is refused: %v", err)
	}
}

func TestDeathWhileBeingMadeReadyRunsElsewhere(t *testing.T) {
	b := newBench(t, 2)
	tk := b.ask("a")
	first := b.members[tk.lease.Member]
	b.fx.take()
	b.down(first, b.fx.clock, errors.New("died"))
	second := b.members[1-first.id]
	b.expect(fmt.Sprintf("swap %d to \"a\"", second.id))
	b.swapped(first, 1, nil) // late news of the dead process
	if granted(tk) != nil {
		t.Fatal("granted by a dead process")
	}
	b.down(second, b.fx.clock, errors.New("died, too"))
	var failed *WorkerError
	if err := refused(tk); !errors.As(err, &failed) {
		t.Errorf("after two deaths: %v, want a WorkerError", err)
	}
}

func TestLeaseOfADeadProcessDoesNotTouchTheNext(t *testing.T) {
	b := newBench(t, 1)
	l := b.mustGrant("a")
	m := b.members[0]
	b.down(m, b.fx.clock, errors.New("died"))
	b.upWith(m, stubRunner{}, 2)
	b.release(l, Done, Usage{})
	if n := b.inFlight(0); n != 0 {
		t.Errorf("in flight %d", n)
	}
	if next := b.mustGrant("a"); next.State != StateSwap {
		t.Error("the new process is taken to have the adapter in force")
	}
}

// TestRequestsWaitForARestart has a worker die again and again: it is waited for as long
// as it is started again soon.
func TestRequestsWaitForARestart(t *testing.T) {
	b := newBench(t, 1)
	m := b.members[0]
	for range 5 {
		b.down(m, b.fx.clock.Add(near), errors.New("died"))
		waiting := b.ask("a")
		b.upWith(m, stubRunner{}, 2)
		b.fx.take()
		b.swapped(m, m.gen, nil)
		if granted(waiting) == nil {
			t.Fatal("nothing is granted after the restart")
		}
	}
	b.down(m, b.fx.clock.Add(near+time.Second), errors.New("died"))
	var busy *BusyError
	if err := b.admit(b.ticket("a")); !errors.As(err, &busy) || busy.RetryAfter < near {
		t.Errorf("with the next start far away: %v, want no_worker until then", err)
	}
}

func TestRequestsDoNotWaitForAWorkerThatDoesNotStart(t *testing.T) {
	b := newBench(t, 1)
	m := b.members[0]
	b.down(m, b.fx.clock, errors.New("died"))
	waiting := b.ask("b")
	b.down(m, b.fx.clock, errors.New("did not start"))
	if err := refused(waiting); err != nil {
		t.Fatalf("after one start that failed: %v", err)
	}
	b.down(m, b.fx.clock, errors.New("did not start again"))
	var busy *BusyError
	if err := refused(waiting); !errors.As(err, &busy) || busy.Reason != ReasonNoWorker {
		t.Errorf("waiting request: %v, want no_worker", err)
	}
	if err := b.admit(b.ticket("a")); !errors.As(err, &busy) || busy.Reason != ReasonNoWorker {
		t.Errorf("new request: %v, want no_worker", err)
	}
	b.upWith(m, stubRunner{}, 2)
	b.mustGrant("a")
}

func TestFailedSwapOrEraseKillsTheWorker(t *testing.T) {
	b := newBench(t, 1)
	tk := b.ask("a")
	b.fx.take()
	b.swapped(b.members[0], b.members[0].gen, errors.New("refused"))
	b.expect("kill 0")
	if granted(tk) != nil {
		t.Error("granted after a failed swap")
	}
	if next := b.ask("a"); next.lease != nil {
		t.Error("placed on a worker that is being killed")
	}
}

func TestCloseTurnsAwayWhatWaits(t *testing.T) {
	b := newBench(t, 1)
	b.mustGrant("a")
	waiting := b.ask("b")
	b.close()
	if err := refused(waiting); !errors.Is(err, ErrStopping) {
		t.Errorf("waiting: %v", err)
	}
	if err := b.admit(b.ticket("a")); !errors.Is(err, ErrStopping) {
		t.Errorf("new: %v", err)
	}
}
