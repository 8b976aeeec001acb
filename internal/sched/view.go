package sched

import (
	"github.com/loragate/loragate/internal/residency/stock"
	"github.com/loragate/loragate/internal/sched/task"
)

// WorkerView is what a worker looks like at one moment.
type WorkerView struct {
	ID        int
	Applied   task.Identity
	InFlight  int
	Preempted bool         // it drains for others
	Reloading bool         // it drains to load something else
	Drained   bool         // it takes nothing, because an operator said so
	Loaded    []stock.File // sorted; not to be changed
	Slots     []SlotView
}

// SlotView is one slot of a WorkerView.
type SlotView struct {
	Busy   bool
	Owned  bool          // its KV is Owner's
	Owner  task.Identity // if Owned
	Tokens int           // in its KV, after the last request that finished
}

// Workers returns a view of every worker that is up, by number.
func (s *Scheduler) Workers() []WorkerView {
	views := make([]WorkerView, len(s.fleet.list))
	for i, w := range s.fleet.list {
		v := WorkerView{ID: w.id, Applied: w.flow.key.identity, InFlight: w.inFlight,
			Preempted: w.preempted, Reloading: w.reloading, Drained: w.drained, Loaded: w.line.set.Files()}
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
func (s *Scheduler) Queues() (waiting map[task.Identity]int, oldest task.Time) {
	waiting = make(map[task.Identity]int)
	oldest = task.Never
	for _, f := range s.queue.longest.Items() {
		waiting[f.key.identity] += f.waiting
		oldest = min(oldest, f.head.Since)
	}
	return waiting, oldest
}
