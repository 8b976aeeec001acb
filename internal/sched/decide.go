package sched

import "github.com/loragate/loragate/internal/sched/task"

// Decide places every waiting request that can be placed and preempts workers for
// those that cannot. It returns what is to be done, in order, and when to ask
// again if nothing happens before.
//
//  1. A request joins a worker where its identity is applied and that has a free
//     slot, so that llama-server batches them.
//  2. An idle worker goes to the flow that has waited longest for one.
//  3. A worker whose flow has had its quantum takes no more requests while others
//     wait; it drains, and is then idle.
//  4. What idle workers are left help flows that have more requests than slots.
//  5. A worker is chosen to load what requests wait for and nobody has.
func (s *Scheduler) Decide(now task.Time) ([]task.Action, task.Time) {
	d := decision{s: s, now: now}
	for again := true; again; again = d.reload() {
		d.preempt()
		d.joinTouched()
		d.takeIdle()
		d.scaleOut()
		d.preempt()
		d.handOver()
		d.cancelDrains()
	}
	return d.actions, d.wake()
}
