package sched

import (
	"github.com/loragate/loragate/internal/residency"
	"github.com/loragate/loragate/internal/sched/task"
)

// Scheduler puts together who waits, where they may run, and what that takes, indexed, so
// that a decision costs little however many identities and workers there are. It is
// not safe for concurrent use: one owner has it.
type Scheduler struct {
	opts      *task.Options
	queue     *queue
	fleet     *fleet
	pace      *pace
	residency *residency.Planner
	running   map[task.Ticket]*run
	counts    *task.Counts
}
