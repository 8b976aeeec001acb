package sched

import "github.com/loragate/loragate/internal/sched/task"

// run is one that was placed and has not finished.
type run struct {
	flow     *flow
	lane     *lane
	worker   *worker
	slots    []int
	started  task.Time
	expected float64 // what its lane was charged with

	swap             swapped
	beside           int     // requests that ran on the worker when it began
	warm             bool    // its slot was to hold some of its prompt
	alone            bool    // it asked to be alone, and its slot is known
	load, deviceLoad float64 // the worker's and the device's integrals at its start
}

// swapped says how a request stands to a change of adapter on its worker.
type swapped int

const (
	swapNone swapped = iota
	swapOwn          // it was made for it, or for one that was placed with it
	swapNear         // it was made so shortly before that its first token may have waited, too
)

// swapOf returns how a request that is placed now stands to the worker's last change.
func (w *worker) swapOf(now task.Time) swapped {
	switch since := now - w.changed; {
	case w.changed == task.Never: // it has not been changed
		return swapNone
	case since == 0:
		return swapOwn
	case since < 2*(w.device.costs.Swap()+w.device.costs.First()):
		return swapNear
	}
	return swapNone
}
