package sched

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/sched/heap"
)

// world drives a scheduler in virtual time and checks after every decision that
// what it did is allowed. A test decides what arrives and how long things take.
type world struct {
	t   testing.TB
	s   *Scheduler
	now Time

	slots   map[int]int // by worker that is up
	placed  map[Ticket]*job
	queued  map[Ticket]*job
	last    Ticket
	wake    Time
	log     []Action
	applied map[int]Identity
	checks  int
}

// job is one request in a world.
type job struct {
	Request
	worker, slot int
	arrived      Time
	started      Time
	kind         Kind
}

func newWorld(t testing.TB, opts Options) *world {
	return &world{
		t: t, s: New(opts), slots: map[int]int{}, wake: Never,
		placed: map[Ticket]*job{}, queued: map[Ticket]*job{}, applied: map[int]Identity{},
	}
}

// quick are options for tests with round numbers.
var quick = Options{Quantum: 2 * time.Second, ScaleOutAfter: 200 * time.Millisecond, Queue: 1000}

// withWorkers returns a world with n workers that have so many slots, all on one
// device.
func withWorkers(t testing.TB, n, slots int) *world {
	w := newWorld(t, quick)
	for id := range n {
		w.up(id, slots, "gpu")
	}
	return w
}

func (w *world) up(id, slots int, device string) {
	w.down(id)
	w.slots[id], w.applied[id] = slots, Base
	w.s.Up(id, slots, device, w.now)
}

func (w *world) down(id int) {
	w.s.Down(id, w.now)
	delete(w.slots, id)
	for t, j := range w.placed {
		if j.worker == id {
			delete(w.placed, t)
		}
	}
}

// arrive queues a request without deciding.
func (w *world) arrive(r Request) *job {
	w.last++
	r.Ticket, r.Since = w.last, w.now
	evicted, admitted := w.s.Arrive(r, w.now)
	if evicted != 0 {
		if w.queued[evicted] == nil {
			w.t.Fatalf("evicted %d, which does not wait", evicted)
		}
		delete(w.queued, evicted)
	}
	if !admitted {
		return nil
	}
	j := &job{Request: r, arrived: w.now, worker: -1}
	w.queued[r.Ticket] = j
	return j
}

// ask queues a plain request for id and decides.
func (w *world) ask(id Identity) *job { return w.do(Request{Identity: id}) }

func (w *world) do(r Request) *job {
	j := w.arrive(r)
	w.decide()
	return j
}

func (w *world) finish(j *job, u Usage) {
	delete(w.placed, j.Ticket)
	w.s.Finish(j.Ticket, u, w.now)
	w.decide()
}

func (w *world) leave(j *job) {
	delete(w.queued, j.Ticket)
	w.s.Leave(j.Ticket, w.now)
	w.decide()
}

// pass lets time go by and decides whenever the scheduler asked for it.
func (w *world) pass(d time.Duration) {
	until := w.now + d
	for w.wake <= until {
		w.now = w.wake
		w.decide()
	}
	w.now = until
}

// decide asks the scheduler, carries its actions out, and checks them.
func (w *world) decide() []Action {
	w.t.Helper()
	actions, wake := w.s.Decide(w.now)
	if wake <= w.now {
		w.t.Fatalf("asked to be woken at %s, it is %s", wake, w.now)
	}
	w.wake = wake
	for _, a := range actions {
		w.carryOut(a)
	}
	w.log = append(w.log, actions...)
	w.check()
	return actions
}

func (w *world) carryOut(a Action) {
	w.t.Helper()
	j := w.queued[a.Ticket]
	if j == nil {
		w.t.Fatalf("%+v: nobody waits with that ticket", a)
	}
	if w.slots[a.Worker] == 0 {
		w.t.Fatalf("%+v: the worker is not up", a)
	}
	beside := w.on(a.Worker)
	if (a.Kind == Swap) != (w.applied[a.Worker] != j.Identity) {
		w.t.Fatalf("%+v for %q where %q is applied", a, j.Identity, w.applied[a.Worker])
	}
	if a.Kind == Swap && len(beside) > 0 {
		w.t.Fatalf("%+v: swapped under %d running requests", a, len(beside))
	}
	for _, other := range beside {
		if other.Exclusive || j.Exclusive || other.slot == a.Slot {
			w.t.Fatalf("%+v beside %+v", a, other)
		}
	}
	if (a.Slot == NoSlot) != j.Exclusive || a.Slot >= w.slots[a.Worker] {
		w.t.Fatalf("%+v: slot of a request with exclusive=%v", a, j.Exclusive)
	}
	delete(w.queued, a.Ticket)
	j.worker, j.slot, j.started, j.kind = a.Worker, a.Slot, w.now, a.Kind
	w.placed[a.Ticket], w.applied[a.Worker] = j, j.Identity
}

// on returns what runs on a worker.
func (w *world) on(worker int) []*job {
	var list []*job
	for _, j := range w.placed {
		if j.worker == worker {
			list = append(list, j)
		}
	}
	return list
}

// check compares the scheduler's indexes with what is true.
func (w *world) check() {
	w.t.Helper()
	if w.s.Waiting() != len(w.queued) || len(w.s.running) != len(w.placed) {
		w.t.Fatalf("%d wait and %d run, the scheduler has %d and %d", len(w.queued), len(w.placed), w.s.Waiting(), len(w.s.running))
	}
	w.checks++
	known := 0
	for _, f := range w.s.queue.flows {
		known += f.waiting
	}
	if known != len(w.queued) {
		w.t.Fatalf("%d wait, %d of them in flows that are known", len(w.queued), known)
	}
	running := map[Identity]int{}
	for _, j := range w.placed {
		if running[j.Identity]++; !j.Exclusive && j.MaxConcurrency > 0 && running[j.Identity] > j.MaxConcurrency {
			w.t.Fatalf("more than %d of %q run", j.MaxConcurrency, j.Identity)
		}
	}
	for _, f := range w.s.queue.flows {
		if w.checks%16 == 0 { // long queues take long to walk
			f.checkLanes(w.t)
		}
		inLine := f.waiting > 0 && len(f.open) == 0 && !f.capped()
		for _, p := range f.spots {
			if inLine != (p.index != 0) {
				w.t.Fatalf("flow %q: waiting %d, open on %d, in the line at %d", f.key.identity, f.waiting, len(f.open), p.index)
			}
		}
		missing := inLine && len(f.spots) == 0
		if missing != (f.missingIndex != 0) || (f.waiting > 0) != (f.longestIndex != 0) {
			w.t.Fatalf("flow %q: waiting %d, missing %v, in the heaps at %d and %d",
				f.key.identity, f.waiting, missing, f.missingIndex, f.longestIndex)
		}
		for _, x := range w.s.fleet.list {
			if inLine && x.idle() && x.holds(f) {
				w.t.Fatalf("flow %q waits though worker %d is idle", f.key.identity, x.id)
			}
		}
	}
	for _, l := range w.s.queue.lines {
		checkHeap(w.t, &l.spots)
	}
	checkHeap(w.t, &w.s.queue.missing)
	checkHeap(w.t, &w.s.queue.longest)
}

func checkHeap[T any](t testing.TB, h *heap.Heap[T]) {
	t.Helper()
	if !h.Check() {
		t.Fatalf("heap broken: %v", h.Items())
	}
}

// running lists what runs, as "worker/slot identity", for comparison.
func (w *world) running() []string {
	var list []string
	for _, j := range w.placed {
		list = append(list, fmt.Sprintf("%d/%d %s", j.worker, j.slot, j.Identity))
	}
	slices.Sort(list)
	return list
}

// oldest returns the job on a worker that began first.
func (w *world) oldest(worker int) *job {
	list := w.on(worker)
	slices.SortFunc(list, func(a, b *job) int { return cmp.Compare(a.Ticket, b.Ticket) })
	if len(list) == 0 {
		w.t.Fatalf("nothing runs on worker %d", worker)
	}
	return list[0]
}

func seeds(n int) []*rand.Rand {
	list := make([]*rand.Rand, n)
	for i := range list {
		list[i] = rand.New(rand.NewPCG(2026, uint64(i)))
	}
	return list
}
