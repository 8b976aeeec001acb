// Package sched decides which waiting request runs on which worker, in which
// slot, and which worker is cleared for whom. It is pure: no goroutines, no
// clock, no processes. Whoever owns a Scheduler tells it what happened (Arrive,
// Leave, Finish, Up, Down, ...) and asks Decide what to do; the pool does so for
// real workers, the simulator for modelled ones.
//
// docs/scheduling.md says what it promises and why.
package sched

import (
	"cmp"
	"time"

	"github.com/loragate/loragate/internal/lru"
	"github.com/loragate/loragate/internal/residency"
)

// Identity says what must be in force on a worker to serve a request: the
// plain base, one adapter at a scale, or a sum of adapters. Equal identities
// give equal answers; it is opaque here.
type Identity string

// Base is the identity of the base model with no adapter.
const Base Identity = ""

// Ticket numbers a request; it is unique and never 0.
type Ticket uint64

// Time is a moment, counted from a start that the owner chose. It never runs
// backwards.
type Time = time.Duration

// Request is one request that asks for a place.
type Request struct {
	Ticket   Ticket
	Identity Identity
	// Files must be loaded on the worker that serves it; equal identities need
	// equal files.
	Files []File
	// Scope says whose the KV is that it leaves: requests of different scopes share
	// none, though they run as one batch. Scopes that wait for one identity take
	// turns.
	Scope string
	// ScopeWeight is the scope's share against others of the same identity, and with
	// Weight the identity's; 1 if 0.
	ScopeWeight float64
	// Priority orders requests, higher ones first: one step counts as
	// Options.HeadStart that it has waited longer.
	Priority int
	// Turn, if not "", is whose turns the identity takes: all identities of one Turn
	// together count as one that waits. It is for identities that clients make up.
	Turn string
	// Whole asks for a worker with nothing else on it, for requests whose slots
	// llama-server picks by itself.
	Whole bool
	// Alone asks for a worker on which nothing else runs until Prove: for a request that
	// may end its worker.
	Alone bool
	// Chain tells conversations apart; none is a request that continues nothing.
	Chain Chain
	// Weight is the identity's share against others, 1 if 0.
	Weight float64
	// MaxConcurrency bounds how many of the identity's requests run at once; 0 is
	// no bound.
	MaxConcurrency int
	// Since is when the request arrived. One that runs a second time keeps the
	// time of the first, and its place before those that came after it.
	Since Time
	// Again admits it though the queue is full: it was admitted once already.
	Again bool
}

// Options sets a Scheduler's knobs.
type Options struct {
	// Quantum is how long an identity of weight 1 keeps a worker for which others
	// wait: a positive time, or Auto.
	Quantum time.Duration
	// Spread is how long requests wait for a slot of their identity's worker
	// before a second worker on the same device is taken for it, or Auto. A worker on
	// another device is taken at once.
	Spread time.Duration
	// Together says that a device's workers run at the same time, not in turns: with
	// that Auto begins, before it has measured.
	Together bool
	// Adjacent keeps the requests that run on a worker in slots whose numbers follow
	// each other, for workers that batch only those.
	Adjacent bool
	// Queue is how many requests may wait.
	Queue int
	// HeadStart is what a step of priority is worth, in time waited.
	HeadStart time.Duration
	// MaxLoaded is how many files a worker may have loaded, and Memory how many
	// bytes in sum; 0 is no bound.
	MaxLoaded int
	Memory    int64
	// ReloadInterval is the least time between the end of one reload and the
	// beginning of the next; it is never less than the last one took.
	ReloadInterval time.Duration
	// Spares are members without a process, numbered from Workers on. With one, the
	// process that replaces another is ready before that one goes.
	Workers, Spares int
}

// Kind names what to do.
type Kind int

const (
	// Serve runs the request on a worker where its identity is applied.
	Serve Kind = iota
	// Swap applies the request's identity on an idle worker and runs it there.
	Swap
	// Reload ends a worker's process, on which nothing runs, and starts it again
	// with what Plan says.
	Reload
	// Start starts a member that has no process, with what Plan says.
	Start
	// Retire ends a worker's process, on which nothing runs: another has taken its
	// place. The member has no process until a Start.
	Retire
)

// NoSlot is the slot of a request that has its worker whole.
const NoSlot = -1

// Action places one request, or changes a worker's process; then only Kind,
// Worker and InPlaceOf count.
type Action struct {
	Kind   Kind
	Ticket Ticket
	Worker int
	Slot   int   // to run it in, or NoSlot
	Slots  []int // that it has: this one, or all
	Erase  []int // slots whose KV must be dropped before
	// Warm is how many bytes of the request's prompt the slot already holds.
	Warm int
	// InPlaceOf is, for Start, the worker whose place the member takes.
	InPlaceOf int
	// Missed says that nobody had the request's files loaded when it came.
	Missed bool
}

// Usage is what a finished request took, in tokens, and how long llama-server worked
// on it, 0 where it did not tell.
type Usage struct {
	Prompt, Cached, Completion int
	// Reading is from the first look at the prompt to the first token, Generating from
	// that to the last.
	Reading, Generating time.Duration
}

// promptCost is what a prompt's token costs against one that is generated. A
// prompt is read in big batches: on GPUs and CPUs alike an order of magnitude
// faster (docs/benchmarks.md).
const promptCost = 0.1

// cost is the currency of fairness.
func (u Usage) cost() float64 {
	return float64(u.Completion) + promptCost*float64(max(0, u.Prompt-u.Cached))
}

// Scheduler holds the queue and what it knows of the workers, indexed, so that
// a decision costs little however many identities and workers there are. It is
// not safe for concurrent use: one owner has it.
type Scheduler struct {
	opts Options

	flows   map[flowKey]*flow
	swept   int // flows that were left after the last sweep
	workers map[int]*worker
	list    []*worker            // the same, by number
	applied *lru.Set[int, *flow] // workers by last use; busy ones are pinned
	devices map[string]*device

	turns   map[string]Time // when one of a Turn was last given a worker
	waiting map[Ticket]*request
	running map[Ticket]*run

	lines   []*line                  // who waits for a worker, by what is loaded
	lineOf  map[*residency.Set]*line // the same
	missing heap[*flow]              // flows that wait and whose files no worker has, first the one whose turn it is
	longest heap[*flow]              // flows that have waiting requests, first the one with most
	// priorities has how many requests of each wait.
	priorities map[int]int
	dirty      []*flow // flows that may have become servable since the last decision

	rate       float64       // tokens a second of a worker's turn, smoothed
	usualDrain time.Duration // how long a closed flow's requests take to end, smoothed
	usualCost  float64       // of a request, smoothed
	finished   finishRate
	counts     Counts

	residency *residency.Planner
}

// Counts are totals since the start.
type Counts struct {
	Swaps      uint64
	WarmHits   uint64 // requests that continued a conversation in the slot that holds it
	WarmMisses uint64 // requests that had a chain and found nothing of it
	KVKept     uint64 // tokens of prompts that came out of slots
	KVLost     uint64 // tokens in slots that were given to somebody else
	// WarmGone are those of WarmHits whose slot turned out to be empty: llama-server
	// had let its KV go, by itself. They were read anew.
	WarmGone uint64
	Hits     uint64 // requests whose files were loaded somewhere when they came
	Misses   uint64 // requests whose files were not
	Reloads  uint64 // processes that were ended to load something else
}

// request is one that waits. It is a node of its flow's queue.
type request struct {
	Request
	flow       *flow
	lane       *lane
	missed     bool
	prev, next *request // of the flow, by arrival
}

// run is one that was placed and has not finished.
type run struct {
	flow     *flow
	lane     *lane
	worker   *worker
	slots    []int
	started  Time
	expected float64 // what its lane was charged with

	swap             swapped
	beside           int     // requests that ran on the worker when it began
	warm             bool    // its slot was to hold some of its prompt
	alone            bool    // it asked to be alone, and its slot is known
	load, deviceLoad float64 // the worker's and the device's integrals at its start
}

// New returns a scheduler without workers.
func New(opts Options) *Scheduler {
	s := &Scheduler{
		opts:    opts,
		flows:   make(map[flowKey]*flow),
		workers: make(map[int]*worker),
		applied: lru.New[int, *flow](maxWorkers),
		devices: make(map[string]*device),
		turns:   make(map[string]Time),
		waiting: make(map[Ticket]*request),
		running: make(map[Ticket]*run),

		priorities: make(map[int]int), usualCost: 1,
		lineOf: make(map[*residency.Set]*line),
	}
	s.residency = newResidency(s)
	s.missing = heap[*flow]{less: (*flow).before, index: func(f *flow) *int { return &f.missingIndex }}
	s.longest = heap[*flow]{less: (*flow).longer, index: func(f *flow) *int { return &f.longestIndex }}
	return s
}

// maxWorkers is more than a configuration can have.
const maxWorkers = 1 << 16

// Arrive queues a request. It reports false when the queue is full. When it is
// full of lower priorities, or of a flow or a scope that takes more than its share
// of it, the newest request of these makes room instead: it is forgotten, and
// evicted is its ticket.
func (s *Scheduler) Arrive(r Request, now Time) (evicted Ticket, admitted bool) {
	f := s.flowOf(r, now)
	if len(s.waiting) >= s.opts.Queue && !r.Again {
		victim := s.pushOut(f, r, now)
		if victim == 0 {
			s.forget(f, now)
			return 0, false
		}
		evicted = victim
		f = s.flowOf(r, now) // its only request may have been the one that went
	}
	if f.waiting == 0 {
		f.since = now
	}
	missed := len(f.files) > 0 && len(f.spots) == 0
	if missed {
		s.counts.Misses++
	} else {
		s.counts.Hits++
	}
	s.enqueue(&request{Request: r, flow: f, missed: missed}, now)
	return evicted, true
}

// pushOut forgets a request so that r, which is f's, has room, and returns its
// ticket, or 0.
func (s *Scheduler) pushOut(f *flow, r Request, now Time) Ticket {
	victim := s.lowest(r.Priority)
	if victim == nil {
		victim = s.greediest(f, r)
	}
	if victim == nil {
		return 0
	}
	ticket := victim.newest()
	s.Leave(ticket, now)
	return ticket
}

// leastPriority is the lowest one that waits, 0 if none does.
func (s *Scheduler) leastPriority() int {
	least, any := 0, false
	for p := range s.priorities {
		if !any || p < least {
			least, any = p, true
		}
	}
	return least
}

// lowest returns a lane of the lowest priority, if that is lower than the given
// one. It looks at every flow that waits, in a queue that is full.
func (s *Scheduler) lowest(priority int) *lane {
	least := s.leastPriority()
	if len(s.priorities) == 0 || least >= priority {
		return nil
	}
	var longest *lane
	for _, f := range s.longest.items {
		if l := f.lanes.longestLane(); l.priority == least && (longest == nil ||
			cmp.Or(cmp.Compare(l.share(), longest.share()), cmp.Compare(l.newest(), longest.newest())) > 0) {
			longest = l
		}
	}
	return longest
}

// greediest returns the longest lane of the flow with the longest queue, if that
// is longer than f's would be with r; in f itself, if it is longer than r's lane
// would be.
func (s *Scheduler) greediest(f *flow, r Request) *lane {
	most, ok := s.longest.first()
	if !ok {
		return nil
	}
	l := most.lanes.longestLane()
	theirs, ours := most.share(), float64(f.waiting+1)/f.weight
	if r.Turn != "" {
		ours += s.turnShare(r.Turn, f)
	}
	if crowd, share := s.crowdedTurn(); share > theirs && crowd.head.Turn != r.Turn {
		l, theirs = crowd.lanes.longestLane(), share
	} else if most == f {
		own := 1.0
		if l := f.lanes.byKey[laneKey{r.Scope, r.Priority}]; l != nil {
			own += float64(len(l.queue))
		}
		theirs, ours = l.share(), own/orOne(r.ScopeWeight)
	}
	if l.priority > r.Priority || ours >= theirs {
		return nil
	}
	return l
}

// Leave forgets a request that waits. One that does not wait is ignored.
func (s *Scheduler) Leave(t Ticket, now Time) {
	if r, ok := s.waiting[t]; ok {
		s.dequeue(r)
		s.forget(r.flow, now)
	}
}

// Finish takes back what a placed request had: its client and llama-server are
// done with it.
func (s *Scheduler) Finish(t Ticket, u Usage, now Time) {
	r, ok := s.running[t]
	if !ok {
		return
	}
	delete(s.running, t)
	f, w := r.flow, r.worker
	s.charge(r, u, now)
	for _, slot := range r.slots {
		w.release(slot, u)
	}
	if r.warm && u.Prompt > 0 && u.Cached == 0 {
		s.counts.WarmGone++ // the slot holds the conversation now, so that is all
	}
	f.running--
	s.unload(w, now)
	s.finished.count(now)
	s.touch(f)
	if w.flow != f {
		s.touch(w.flow) // a request that had its worker for itself gave it back
	}
	s.forget(f, now)
}

// Prove says that a placed request did no harm: others may run beside it from now on,
// though it asked to be alone.
func (s *Scheduler) Prove(t Ticket, now Time) {
	r, ok := s.running[t]
	if !ok || !r.alone || !r.worker.whole {
		return
	}
	r.worker.whole = false
	s.reopen(r.worker, now)
}

// Taint says that nobody knows what a placed request leaves in its slots.
func (s *Scheduler) Taint(t Ticket) {
	if r, ok := s.running[t]; ok {
		for _, slot := range r.slots {
			r.worker.slots[slot].taint()
		}
	}
}

// InFlight returns how many requests run on a worker, 0 if it is not up.
func (s *Scheduler) InFlight(worker int) int {
	if w, up := s.workers[worker]; up {
		return w.inFlight
	}
	return 0
}

// Waiting returns how many requests wait.
func (s *Scheduler) Waiting() int { return len(s.waiting) }

// Counts returns the totals so far.
func (s *Scheduler) Counts() Counts { return s.counts }

// RetryAfter estimates how long a request that came last would wait now: the
// queue's length over the rate at which requests finished of late.
func (s *Scheduler) RetryAfter(now Time) time.Duration {
	rate := s.finished.perSecond(now)
	if rate <= 0 {
		return s.longestQuantum()
	}
	return time.Duration(float64(len(s.waiting)) / rate * float64(time.Second))
}

// WorkerView is what a worker looks like at one moment.
type WorkerView struct {
	ID        int
	Applied   Identity
	InFlight  int
	Closing   bool   // it drains for others
	Reloading bool   // it drains to load something else
	Drained   bool   // it takes nothing, because an operator said so
	Loaded    []File // sorted; not to be changed
	Slots     []SlotView
}

// SlotView is one slot of a WorkerView.
type SlotView struct {
	Busy   bool
	Owned  bool     // its KV is Owner's
	Owner  Identity // if Owned
	Tokens int      // in its KV, after the last request that finished
}

// Workers returns a view of every worker that is up, by number.
func (s *Scheduler) Workers() []WorkerView {
	views := make([]WorkerView, len(s.list))
	for i, w := range s.list {
		v := WorkerView{ID: w.id, Applied: w.flow.key.identity, InFlight: w.inFlight,
			Closing: w.closing, Reloading: w.reloading, Drained: w.drained, Loaded: w.line.set.Files()}
		for j := range w.slots {
			sl := &w.slots[j]
			view := SlotView{Busy: sl.busy, Tokens: sl.tokens}
			if sl.owner != nil {
				view.Owned, view.Owner = true, sl.owner.key.identity
			}
			v.Slots = append(v.Slots, view)
		}
		views[i] = v
	}
	return views
}

// Queues returns how many requests wait, by identity, and when the oldest of
// them arrived; that is meaningless when none waits.
func (s *Scheduler) Queues() (waiting map[Identity]int, oldest Time) {
	waiting = make(map[Identity]int)
	oldest = Never
	for _, f := range s.longest.items {
		waiting[f.key.identity] += f.waiting
		oldest = min(oldest, f.head.Since)
	}
	return waiting, oldest
}
