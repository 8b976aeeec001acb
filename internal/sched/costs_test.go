package sched

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/sched/cost"
)

// engine is a device in virtual time on which steps take as long as a formula says, for
// clients that ask again as soon as they have an answer.
type engine struct {
	w       *checked
	step    func(n, m int) float64 // seconds, by requests of a worker and busy workers
	swap    float64                // seconds until the first token after a change
	first   float64                // seconds until the first token without
	tokens  int
	next    func() Identity
	active  map[*job]*generation
	done    int           // answers
	waited  time.Duration // the longest, until a request was placed
	workers map[int]bool  // that ran something since it was cleared
	changed map[int]Time  // by worker, until when no token comes
}

// generation is how far a job of an engine is.
type generation struct {
	reading float64 // seconds left until its first token
	placed  Time
	left    float64 // tokens
	begun   Time    // its generating
}

func newEngine(t *testing.T, opts Options, workers, slots int, step func(n, m int) float64,
	next func() Identity) *engine {
	e := &engine{w: newWorld(t, opts), step: step, swap: 0.04, first: 0.01, tokens: 64, next: next,
		active: map[*job]*generation{}, workers: map[int]bool{}, changed: map[int]Time{}}
	for id := range workers {
		e.w.Up(id, slots, "gpu")
	}
	return e
}

// begin takes in what was placed since the last call.
func (e *engine) begin() {
	for _, j := range e.w.Placed {
		if e.active[j] != nil {
			continue
		}
		if j.Kind == Swap {
			e.changed[j.Worker] = e.w.Now() + cost.Seconds(e.swap)
		}
		e.active[j] = &generation{reading: e.first, left: float64(e.tokens), placed: e.w.Now()}
		e.workers[j.Worker] = true
		e.waited = max(e.waited, j.Started-j.Arrived)
	}
	for j, g := range e.active { // what was placed with a change waits for it as well
		if g.placed == e.w.Now() {
			g.reading = e.first + max(0, e.changed[j.Worker]-e.w.Now()).Seconds()
		}
	}
}

// busy returns the running requests by worker.
func (e *engine) busy() map[int]int {
	n := map[int]int{}
	for j := range e.active {
		n[j.Worker]++
	}
	return n
}

// run lets that many clients ask for so long.
func (e *engine) run(clients int, d time.Duration) {
	for range clients {
		e.w.do(Request{Identity: e.next()})
	}
	for until := e.w.Now() + d; e.w.Now() < until; {
		e.begin()
		n := e.busy()
		soon := 0.05
		for j, g := range e.active {
			if g.reading > 0 {
				soon = min(soon, g.reading)
			} else {
				soon = min(soon, g.left*e.step(n[j.Worker], len(n)))
			}
		}
		e.advance(max(soon, 1e-6), n)
	}
}

// advance lets time go by in which nothing begins or ends.
func (e *engine) advance(by float64, n map[int]int) {
	e.w.Pass(cost.Seconds(by))
	for j, g := range e.active {
		switch {
		case g.reading > 0:
			if g.reading -= by; g.reading <= 1e-9 {
				g.reading, g.begun = 0, e.w.Now()
			}
		default:
			g.left -= by / e.step(n[j.Worker], len(n))
		}
	}
	for j, g := range e.active {
		if g.reading > 0 || g.left > 1e-6 {
			continue
		}
		delete(e.active, j)
		e.done++
		e.w.finish(j, Usage{Prompt: 10, Completion: e.tokens, Reading: g.begun - g.placed, Generating: e.w.Now() - g.begun})
		e.w.do(Request{Identity: e.next()})
	}
}

var (
	auto = Options{Quantum: Auto, ScaleOutAfter: Auto, Queue: 1000}
	mps  = Options{Quantum: Auto, ScaleOutAfter: Auto, Queue: 1000, Together: true}
	// atOnce is a GPU on which processes run at the same time, and inTurns one on which
	// they do not.
	atOnce  = func(n, m int) float64 { return 0.0025 + 0.00036*float64(n) + 0.0002*float64(m-1) }
	inTurns = func(n, m int) float64 { return (0.0025 + 0.00036*float64(n)) * float64(m) }
)

func one() Identity { return "a" }

func zipf(seed uint64, n uint64) func() Identity {
	z := rand.NewZipf(rand.New(rand.NewPCG(1, seed)), 1.2, 1, n-1)
	return func() Identity { return Identity(fmt.Sprint("z", z.Uint64())) }
}

func TestCostsAreLearnt(t *testing.T) {
	e := newEngine(t, mps, 4, 8, atOnce, zipf(1, 12))
	for _, clients := range []int{2, 6, 10} { // the load changes, as it does
		e.run(clients, 20*time.Second)
	}
	c := &e.w.s.fleet.devices["gpu"].costs
	if !c.Known() {
		t.Fatal("nothing was learnt")
	}
	near := func(what string, got, want float64) {
		if math.Abs(got-want) > 0.25*want {
			t.Errorf("%s: %.2f ms, it is %.2f ms", what, 1e3*got, 1e3*want)
		}
	}
	near("a change of adapter", c.Swap().Seconds(), e.swap)
	for _, n := range []int{1, 4, 8} {
		near(fmt.Sprintf("a step of %d", n), c.Step(float64(n), 3), atOnce(n, 3))
	}
	run := 0.01 + 64*atOnce(3, 3)
	if q := e.w.s.fleet.quantum(e.w.s.fleet.devices["gpu"]).Seconds(); q < 3*run || q > 6*run {
		t.Errorf("a turn of %.2f s, where a request takes %.2f s", q, run)
	}
}

// TestALoneHotAdapterTakesTheWorkersThatHelp: all of a device on which they run at the
// same time, as few as its requests need where they take turns.
func TestALoneHotAdapterTakesTheWorkersThatHelp(t *testing.T) {
	together := newEngine(t, mps, 8, 8, atOnce, one)
	together.run(32, 10*time.Second)
	clear(together.workers)
	together.done = 0
	together.run(0, 10*time.Second)
	if len(together.workers) < 5 { // five do 95 % of what eight would
		t.Errorf("%d of 8 workers were used, though each makes tokens of its own", len(together.workers))
	}

	turns := newEngine(t, auto, 2, 32, inTurns, one)
	turns.run(16, 10*time.Second)
	if len(turns.workers) > 1 {
		t.Error("a second worker was used, though it only takes turns with the first")
	}
}

// TestManyAdaptersKeepTheirShareUnderAuto: further workers of hot adapters do not keep
// others from theirs.
func TestManyAdaptersKeepTheirShareUnderAuto(t *testing.T) {
	for name, step := range map[string]func(n, m int) float64{"at once": atOnce, "in turns": inTurns} {
		e := newEngine(t, auto, 8, 8, step, zipf(2, 16))
		e.run(32, 60*time.Second)
		if e.waited > 5*time.Second {
			t.Errorf("%s: a request waited for %s", name, e.waited)
		}
		t.Logf("%s: %.0f tokens/s, longest wait %s", name, float64(e.done*e.tokens)/e.w.Now().Seconds(), e.waited)
	}
}
