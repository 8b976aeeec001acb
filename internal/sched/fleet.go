package sched

import (
	"github.com/loragate/loragate/internal/lru"
	"github.com/loragate/loragate/internal/sched/task"
)

// fleet is the workers that are up, and the devices they are on.
type fleet struct {
	opts   *task.Options
	queue  *queue
	pace   *pace
	counts *task.Counts

	workers map[int]*worker
	list    []*worker            // the same, by number
	applied *lru.Set[int, *flow] // workers by last use; busy ones are pinned
	devices map[string]*device
}

// mostWorkers is more than a configuration can have.
const mostWorkers = 1 << 16

func newFleet(opts *task.Options, q *queue, p *pace, counts *task.Counts) *fleet {
	return &fleet{
		opts: opts, queue: q, pace: p, counts: counts,
		workers: make(map[int]*worker), applied: lru.New[int, *flow](mostWorkers), devices: make(map[string]*device),
	}
}
