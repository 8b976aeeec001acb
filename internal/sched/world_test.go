package sched

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/sched/heap"
	"github.com/loragate/loragate/internal/sched/world"
)

// checked is a world that compares the scheduler's indexes with what is true after every
// decision. A test decides what arrives and how long things take.
type checked struct {
	*world.World
	t      testing.TB
	s      *Scheduler
	log    []Action // that placed a request
	checks int
	length func(*job) time.Duration // after which a request ends by itself; the test ends it if nil
	ended  func(*job)
}

type job = world.Job

func newWorld(t testing.TB, opts Options) *checked {
	s := New(opts)
	w := &checked{World: world.New(s, t.Fatalf), t: t, s: s}
	w.OnSettled = w.check
	w.OnPlace = func(j *job, a Action) {
		w.log = append(w.log, a)
		if w.length != nil {
			j.End = w.At(w.Now()+w.length(j), func() { w.ended(j) })
		}
	}
	return w
}

// quick are options for tests with round numbers.
var quick = Options{Quantum: 2 * time.Second, ScaleOutAfter: 200 * time.Millisecond, Queue: 1000}

// withWorkers returns a world with n workers that have so many slots, all on one
// device.
func withWorkers(t testing.TB, n, slots int) *checked {
	w := newWorld(t, quick)
	for id := range n {
		w.Up(id, slots, "gpu")
	}
	return w
}

// arrive queues a request without deciding.
func (w *checked) arrive(r Request) *job {
	j, _ := w.Arrive(r)
	return j
}

// ask queues a plain request for id and decides.
func (w *checked) ask(id Identity) *job { return w.do(Request{Identity: id}) }

func (w *checked) do(r Request) *job {
	j := w.arrive(r)
	w.Decide()
	return j
}

func (w *checked) finish(j *job, u Usage) {
	w.Finish(j, u)
	w.Decide()
}

func (w *checked) leave(j *job) {
	w.Leave(j)
	w.Decide()
}

// on returns what runs on a worker, in the order in which it was placed.
func (w *checked) on(worker int) []*job {
	if x := w.Workers[worker]; x != nil {
		return slices.Clone(x.Jobs)
	}
	return nil
}

// check compares the scheduler's indexes with what is true. It and what it calls are run so
// often that marking them as helpers would take a third of the tests' time.
func (w *checked) check() {
	if w.s.Waiting() != len(w.Queued) || len(w.s.running) != len(w.Placed) {
		w.t.Fatalf("%d wait and %d run, the scheduler has %d and %d", len(w.Queued), len(w.Placed), w.s.Waiting(),
			len(w.s.running))
	}
	w.checks++
	known := 0
	for _, f := range w.s.queue.flows {
		known += f.waiting
	}
	if known != len(w.Queued) {
		w.t.Fatalf("%d wait, %d of them in flows that are known", len(w.Queued), known)
	}
	running := map[Identity]int{}
	for _, j := range w.Placed {
		if running[j.Identity]++; !j.Exclusive && j.MaxConcurrency > 0 && running[j.Identity] > j.MaxConcurrency {
			w.t.Fatalf("more than %d of %q run", j.MaxConcurrency, j.Identity)
		}
	}
	for _, f := range w.s.queue.flows {
		if w.checks%16 == 0 { // long queues take long to walk
			f.checkLanes(w.t)
		}
		w.checkFlow(f)
	}
	for _, l := range w.s.queue.lines {
		checkHeap(w.t, &l.spots)
	}
	checkHeap(w.t, &w.s.queue.missing)
	checkHeap(w.t, &w.s.queue.longest)
}

// checkFlow checks that a flow is in line where it should be, and waits for a reason.
func (w *checked) checkFlow(f *flow) {
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

func checkHeap[T any](t testing.TB, h *heap.Heap[T]) {
	if !h.Check() {
		t.Fatalf("heap broken: %v", h.Items())
	}
}

// running lists what runs, as "worker/slot identity", for comparison.
func (w *checked) running() []string {
	var list []string
	for _, j := range w.Placed {
		list = append(list, fmt.Sprintf("%d/%d %s", j.Worker, j.Slot, j.Identity))
	}
	slices.Sort(list)
	return list
}

// oldest returns the job on a worker that began first.
func (w *checked) oldest(worker int) *job {
	list := w.on(worker)
	if len(list) == 0 {
		w.t.Fatalf("nothing runs on worker %d", worker)
	}
	return slices.MinFunc(list, func(a, b *job) int { return cmp.Compare(a.Ticket, b.Ticket) })
}

// seeds returns generators of random numbers: as many as asked for, or a quarter of them with
// -short.
func seeds(n int) []*rand.Rand {
	if testing.Short() {
		n = (n + 3) / 4
	}
	list := make([]*rand.Rand, n)
	for i := range list {
		list[i] = rand.New(rand.NewPCG(2026, uint64(i)))
	}
	return list
}
