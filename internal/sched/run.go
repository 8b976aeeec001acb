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
