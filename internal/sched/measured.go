package sched

import "github.com/loragate/loragate/internal/sched/task"

// nearly is how much of the most that a device gets done is enough, so that small
// errors of measurement do not scatter requests.
const nearly = 0.97

// better returns the worker for a flow's next request on the device of the fullest of its
// open ones: that one, or, where the device has been measured to get more done, another
// open one, or an idle one that nobody waits for.
func (d *decision) better(f *flow, fullest *worker) *worker {
	dev := fullest.device
	if d.s.opts.ScaleOutAfter != task.Auto || !dev.costs.Known() {
		return fullest
	}
	wanted, busy := d.worthwhile(f, dev), f.busyOn(dev)
	if busy > wanted {
		return fullest
	}
	var emptiest *worker
	for _, w := range f.open {
		fits := w.device == dev && w.free() > 0 && (w.inFlight > 0 || busy < wanted)
		if fits && (emptiest == nil || w.inFlight < emptiest.inFlight) {
			emptiest = w
		}
	}
	if busy < wanted && emptiest.inFlight > 0 {
		if w, _ := d.idleFor(f); w != nil && w.device == dev && !w.wanted() && d.sooner(f, w, emptiest) {
			return w
		}
	}
	return emptiest
}

// busyOn returns how many workers of a device run something of the flow.
func (f *flow) busyOn(dev *device) (n int) {
	for _, w := range dev.workers {
		if w.flow == f && w.inFlight > 0 {
			n++
		}
	}
	return n
}

// sooner reports whether a flow's next request would end sooner on an idle worker, after
// a change of adapter, than on one where it can run at once.
func (d *decision) sooner(f *flow, idle, open *worker) bool {
	c := &idle.device.costs
	there := c.Swap().Seconds() + f.usualCost*c.Step(1, idle.device.busy+1)
	return there < f.usualCost*c.Step(float64(open.inFlight+1), idle.device.busy)
}

// worthwhile returns how many workers of a device a flow's requests should be on: as few as
// get nearly the most done, by what was measured, of those that run its requests and
// those that are idle and nobody waits for.
func (d *decision) worthwhile(f *flow, dev *device) int {
	mine, idle, slots, requests, others := 0, 0, 0, f.waiting, 0
	for _, w := range dev.workers {
		switch {
		case w.flow == f && w.inFlight > 0:
			mine, requests = mine+1, requests+w.inFlight
		case w.inFlight > 0:
			others += w.inFlight
		case w.idle() && w.holds(f) && !w.wanted():
			idle++
		}
		slots = len(w.slots)
	}
	busy := dev.busy - mine
	total := func(k int) float64 {
		n := min(float64(requests)/float64(k), float64(slots))
		sum := float64(k) * dev.costs.Rate(n, busy+k)
		if busy > 0 {
			sum += float64(busy) * dev.costs.Rate(float64(others)/float64(busy), busy+k)
		}
		return sum
	}
	most := 0.0
	for k := 1; k <= mine+idle; k++ {
		most = max(most, total(k))
	}
	for k := 1; k < mine+idle; k++ {
		if total(k) >= nearly*most {
			return k
		}
	}
	return max(1, mine+idle)
}
