package sched

import "github.com/loragate/loragate/internal/sched/task"

func (s *Scheduler) Decide(now task.Time) ([]task.Action, task.Time) {
	d := decision{s: s, now: now}
	for again := true; again; again = d.reload() {
		d.clear()
		d.fillDirty()
		d.assign()
		d.spread()
		d.clear()
		d.balance()
		d.reopenRest()
	}
	return d.actions, d.wake()
}
