package sched

import "github.com/loragate/loragate/internal/sched/task"

// Decide places every waiting request that can be placed, and lets workers drain for those
// that cannot. It returns what is to be done, in order, and when to ask again if nothing
// happens before. docs/scheduling.md tells of each rule; each has a file.
//
//   - Join: a request runs where its identity is applied and a slot is free.
//   - Take an idle worker: it goes to the identity that has waited longest for one.
//   - Preempt: a worker whose identity has had its turn drains for one that waits.
//   - Scale out: idle workers help identities that have more requests than slots.
//   - Hand over: of such workers an identity with more of them gives one up.
//   - Cancel drains: a worker that nobody needs any more takes requests again.
//   - Reload: a worker is given up to load what is wanted and nobody has.
//
// Workers drain first, so that nobody joins one that is due, and once more for those that
// found no idle one. A reload that keeps a worker from requests changes what comes before.
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
