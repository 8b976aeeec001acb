package sched

import (
	"slices"

	"github.com/loragate/loragate/internal/lru"
	"github.com/loragate/loragate/internal/sched/cost"
	"github.com/loragate/loragate/internal/sched/task"
)

// device is what workers share the speed of: a GPU, or the host's processors.
type device struct {
	name     string
	workers  []*worker
	inFlight int
	busy     int           // workers on which something runs
	load     cost.Integral // of busy
	costs    cost.Model
}

// worker is one worker that is up.
type worker struct {
	id     int
	device *device
	line   *line // of those that wait for what it has loaded
	flow   *flow // whose identity is applied, or about to be; never an exclusive one

	slots    []slot
	adjacent bool                    // see Options.Adjacent
	unused   *lru.Set[int, struct{}] // the slots by last use; busy ones are pinned
	inFlight int

	// A worker is open when it takes requests of its flow. It is not while one
	// request has it to itself, while it is kept from requests (suspended by the owner,
	// drained by an operator, reloading), and while it is preempted: others wait and
	// its flow has had its turn.
	isOpen    bool
	exclusive bool
	suspended bool
	drained   bool
	reloading bool // it ends once it is idle, to load something else
	preempted bool
	handover  bool // it drains for a flow that has fewer workers than its own

	turnStart  task.Time
	turnTokens float64
	changed    task.Time     // when its identity was changed last; Never if it was not
	load       cost.Integral // of inFlight
}

func (w *worker) free() int { return w.unused.IdleLen() }

func (w *worker) idle() bool { return w.inFlight == 0 && !w.kept() }

// count notes that a request begins on the worker, or with -1 that one has ended.
func (w *worker) count(more int, now task.Time) {
	d := w.device
	w.load.At(now, w.inFlight)
	d.load.At(now, d.busy)
	if w.inFlight == 0 {
		d.busy++
	}
	w.inFlight, d.inFlight = w.inFlight+more, d.inFlight+more
	if w.inFlight == 0 {
		d.busy--
	}
}

// lose forgets a worker of the device, with what runs on it.
func (d *device) lose(w *worker, now task.Time) {
	d.load.At(now, d.busy)
	d.inFlight -= w.inFlight
	if w.inFlight > 0 {
		d.busy--
	}
	d.workers = slices.DeleteFunc(d.workers, func(x *worker) bool { return x == w })
}

// kept reports whether the worker is kept from new requests.
func (w *worker) kept() bool { return w.suspended || w.drained || w.reloading }

// shares reports whether two conversations begin alike.
func shares(a, b task.PrefixHashes) bool { return len(a) > 0 && len(b) > 0 && a[0].Hash == b[0].Hash }

// release ends the use of a slot.
func (w *worker) release(n int, u task.Usage) {
	sl := &w.slots[n]
	sl.busy = false
	w.unused.Unpin(n)
	if sl.owner != nil {
		sl.tokens = u.Prompt + u.Completion
	}
}
