package residency

import (
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/lru"
	"github.com/loragate/loragate/internal/residency/stock"
)

// queue is a Demand as a test wants it.
type queue struct {
	waiting []Waiter
	running map[int]int // by worker that is up
	wanted  map[int]bool
}

func (q *queue) Pressure() Pressure {
	p := Pressure{Waiting: len(q.waiting), Longest: stock.Never}
	for _, w := range q.waiting {
		if w.Missing {
			p.Missing++
			p.Longest = min(p.Longest, w.Since)
		}
	}
	for _, n := range q.running {
		if n == 0 {
			p.Idle++
		}
	}
	return p
}

func (q *queue) Waiting() []Waiter { return q.waiting }

func (q *queue) Missing(int) []Waiter {
	return slices.DeleteFunc(slices.Clone(q.waiting), func(w Waiter) bool { return !w.Missing })
}

func (q *queue) Candidates() (list []Candidate) {
	for id := range 16 {
		if n, up := q.running[id]; up {
			list = append(list, Candidate{Worker: id, InFlight: n, Wanted: q.wanted[id]})
		}
	}
	return list
}

func (q *queue) Running(worker int) (int, bool) {
	n, up := q.running[worker]
	return n, up
}

func (q *queue) Needed() iter.Seq[[]stock.File] {
	return func(yield func([]stock.File) bool) {
		for _, w := range q.waiting {
			if !yield(w.Files) {
				return
			}
		}
	}
}

// missing is an identity that has waited for files, which nobody has, since some moment.
func missing(since stock.Time, files ...stock.File) Waiter {
	return Waiter{Files: files, Requests: 1, Since: since, Ticket: uint64(since), Missing: true}
}

// rig is a planner with its demand, at one moment.
type rig struct {
	*Planner
	*queue
	t   *testing.T
	now stock.Time
}

const interval = time.Second

// newRig returns workers that have nothing loaded yet, and room for so many files.
func newRig(t *testing.T, workers, room int, files ...stock.Entry) *rig {
	q := &queue{running: map[int]int{}, wanted: map[int]bool{}}
	r := &rig{queue: q, t: t, now: time.Hour}
	r.Planner = New(Options{Limits: lru.Limits{Entries: room}, Interval: interval, Turn: time.Second, Workers: workers}, q)
	r.SetStock(files, r.now)
	return r
}

// entries are files named a, b, c, ...
func entries(n int) []stock.Entry {
	list := make([]stock.Entry, n)
	for i := range list {
		list[i] = stock.Entry{File: stock.File(rune('a' + i)), Bytes: 10}
	}
	return list
}

// load makes a worker have these files, whatever a plan would say.
func (r *rig) load(id int, files ...stock.File) {
	r.members.start(r.members.get(id), files)
	r.up(id)
}

func (r *rig) up(id int) {
	r.Up(id, r.now)
	r.running[id] = 0
}

// restart ends a worker's process and starts it again; it returns what that loads.
func (r *rig) restart(id int) string {
	r.t.Helper()
	r.Down(id, r.now)
	delete(r.running, id)
	files, ok := r.Plan(id, r.now)
	if !ok {
		r.t.Fatalf("worker %d is to have no process", id)
	}
	return names(files)
}

func names(files []stock.File) string {
	s := ""
	for _, f := range files {
		s += string(f)
	}
	return s
}

func (r *rig) expect(what, got, want string) {
	r.t.Helper()
	if got != want {
		r.t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func TestPinnedFilesComeFirst(t *testing.T) {
	list := entries(5)
	list[3].Pin, list[4].Pin = true, true
	r := newRig(t, 1, 3, list...)
	files, _ := r.Plan(0, r.now)
	r.expect("the pinned ones and one more", names(files), "dea")
}

func TestPinnedFilesThatDoNotFitAreLeftOut(t *testing.T) {
	list := entries(3)
	for i := range list {
		list[i].Pin = true
	}
	r := newRig(t, 1, 2, list...)
	files, _ := r.Plan(0, r.now)
	r.expect("in the order of the stock", names(files), "ab")
}

func TestWhatWaitsLongestMakesRoom(t *testing.T) {
	r := newRig(t, 1, 2, entries(4)...)
	r.load(0, "a", "b")
	r.Use([]stock.File{"a", "b"}, r.now)
	r.waiting = []Waiter{missing(5, "d"), missing(3, "c")}
	if got := r.restart(0); got[0] != 'c' {
		t.Errorf("loads %s, c has waited longest", got)
	}
}

func TestPreloadedFilesStayBesideWhatWaits(t *testing.T) {
	list := entries(4)
	list[0].Preload = true
	r := newRig(t, 1, 2, list...)
	r.load(0, "a", "b")
	r.waiting = []Waiter{missing(3, "c")}
	r.expect("what waits, and what is preloaded", r.restart(0), "ca")
}

// TestNewcomersGetHalfOfTheRoom lets eight wait where two files are in use.
func TestNewcomersGetHalfOfTheRoom(t *testing.T) {
	r := newRig(t, 1, 4, entries(12)...)
	r.load(0, "a", "b", "c", "d")
	r.Use([]stock.File{"a", "b", "c", "d"}, r.now)
	for i := range 8 {
		r.waiting = append(r.waiting, missing(stock.Time(i), stock.File(rune('e'+i))))
	}
	r.expect("half of it is for what is in use, last use first", r.restart(0), "efdc")
}

func TestWhatIsNotInUseMakesRoomForWhatWaits(t *testing.T) {
	r := newRig(t, 1, 4, entries(12)...)
	r.load(0, "a", "b", "c", "d")
	r.Use([]stock.File{"a"}, r.now-2*stock.InUse)
	r.Use([]stock.File{"d"}, r.now)
	for i := range 8 {
		r.waiting = append(r.waiting, missing(stock.Time(i), stock.File(rune('e'+i))))
	}
	r.expect("only d is in use", r.restart(0), "efdg")
}

// TestWhatOthersHaveIsLoadedLast has two workers.
func TestWhatOthersHaveIsLoadedLast(t *testing.T) {
	r := newRig(t, 2, 2, entries(4)...)
	r.load(0, "a", "b")
	r.load(1, "a", "c")
	r.expect("a is on the other one", r.restart(1), "cd")
}

// TestWhatWasUsedAgainStaysBeforeWhatWasUsedLast: a scan does not drive it out.
func TestWhatWasUsedAgainStaysBeforeWhatWasUsedLast(t *testing.T) {
	r := newRig(t, 1, 3, entries(4)...)
	r.load(0, "a", "b", "c")
	r.Use([]stock.File{"a"}, r.now-10*time.Second)
	r.Use([]stock.File{"a"}, r.now-5*time.Second)
	r.Use([]stock.File{"b"}, r.now-time.Second)
	r.Use([]stock.File{"c"}, r.now)
	r.waiting = []Waiter{missing(1, "d")}
	r.expect("b goes", r.restart(0), "dac")
}

// TestAPlanEvictsTheLeastWorthKeeping: what is claimed is pinned in the worker's set.
func TestAPlanEvictsTheLeastWorthKeeping(t *testing.T) {
	r := newRig(t, 1, 3, entries(5)...)
	p := newPlan(r.stock, r.stock.Limits(), false)
	p.startWith([]*stock.Item{r.stock.Item("a"), r.stock.Item("b"), r.stock.Item("c")})
	if !p.claim("a", "d") || p.set.Len() != 3 {
		t.Fatal("no room for two of three")
	}
	if _, there := p.set.Peek(r.stock.Item("c")); there {
		t.Error("c is the least worth keeping, and stays")
	}
	if p.claim("b", "e") || !p.has("a") || p.has("e") {
		t.Error("claimed for four, or lost what was claimed")
	}
	if !p.claim("e") || !p.full() {
		t.Error("the third is not let in, or there is more room")
	}
}

func TestTheWorkerOnWhichLeastDependsIsGivenUp(t *testing.T) {
	r := newRig(t, 2, 1, entries(3)...)
	r.load(0, "a")
	r.load(1, "b")
	r.now += time.Minute
	r.waiting = []Waiter{missing(1, "c"), {Files: []stock.File{"a"}, Requests: 3, Since: stock.Never, Loaded: true,
		Only: r.members.get(0).set}}
	orders, changed := r.Step(r.now)
	if got := fmt.Sprint(orders, changed); got != "[{0 1 0} {2 1 0}] false" {
		t.Errorf("%s, want worker 1 held and reloaded", got)
	}
}

func TestNobodyIsGivenUpForWhatIsInQuarantine(t *testing.T) {
	r := newRig(t, 1, 1, entries(2)...)
	r.load(0, "a")
	r.now += time.Minute
	if orders, _ := r.Step(r.now); len(orders) > 0 {
		t.Fatalf("%v though nothing is wanted", orders)
	}
	r.Quarantine("b")
	r.waiting = []Waiter{missing(1, "b")}
	if orders, _ := r.Step(r.now); len(orders) > 0 {
		t.Errorf("%v for a file that cannot be loaded", orders)
	}
}

// TestABusyVictimIsReleasedForAnIdleWorker: another one does as well.
func TestABusyVictimIsReleasedForAnIdleWorker(t *testing.T) {
	r := newRig(t, 2, 1, entries(3)...)
	r.load(0, "a")
	r.load(1, "b")
	r.running[0], r.running[1] = 1, 2
	r.now += time.Minute
	r.waiting = []Waiter{missing(1, "c")}
	orders, changed := r.Step(r.now)
	if got := fmt.Sprint(orders, changed); got != "[{0 0 0}] true" {
		t.Fatalf("%s, want worker 0 held", got)
	}
	r.running[1], r.now = 0, r.now+futility
	orders, changed = r.Step(r.now)
	if got := fmt.Sprint(orders, changed); got != "[{1 0 0} {0 1 0} {2 1 0}] true" {
		t.Errorf("%s, want worker 0 released and worker 1 reloaded", got)
	}
}

// TestFilesThatEndProcessesAreFound: two unproven ones are tried in halves.
func TestFilesThatEndProcessesAreFound(t *testing.T) {
	r := newRig(t, 1, 0, entries(2)...)
	tries := 0
	for r.running[0] = 0; len(r.NewlyQuarantined()) == 0; tries++ {
		if tries > 20 {
			t.Fatal("b is never found")
		}
		files, _ := r.Plan(0, r.now)
		if slices.Contains(files, "b") {
			if !r.Failed(0, r.now) {
				t.Fatal("nothing is suspected")
			}
			continue
		}
		r.up(0)
		if !r.Quarantined("b") {
			r.Down(0, r.now)
		}
	}
	if r.Quarantined("a") || !r.Quarantined("b") {
		t.Error("the wrong one is in quarantine")
	}
}

func TestMemoryThatRunsOutLowersTheLimit(t *testing.T) {
	r := newRig(t, 1, 0, entries(4)...)
	r.load(0, "a", "b")
	r.Down(0, r.now)
	r.Plan(0, r.now)
	if bound, learned := r.TooMuch(0); !learned || bound != 30 {
		t.Errorf("bound %d, want halfway from the 20 bytes that fitted to the 40 that did not", bound)
	}
	if files, _ := r.Plan(0, r.now); len(files) != 3 {
		t.Errorf("loads %v within 30 bytes", files)
	}
}
