package sched

import (
	"time"

	"github.com/loragate/loragate/internal/sched/cost"
	"github.com/loragate/loragate/internal/sched/task"
)

// leastTokens is how many tokens an answer must have for its speed to count.
const leastTokens = 8

// measure takes in what a finished request tells of its device.
func (d *device) measure(r *run, u task.Usage, now task.Time) {
	if u.Reading > 0 && r.swap != swapNear {
		d.costs.ObserveFirst(max(0, u.Prompt-u.Cached), r.swap == swapOwn, r.beside, u.Reading)
	}
	took := (now - r.started).Seconds()
	d.costs.ObserveHeld(took)
	if u.Generating <= 0 || u.Completion < leastTokens || took <= 0 {
		return
	}
	requests := max(1, (r.worker.load.At(now, r.worker.inFlight)-r.load)/took)
	others := max(0, (d.load.At(now, d.busy)-r.deviceLoad)/took-1)
	d.costs.ObserveStep(requests, others, u.Generating.Seconds()/float64(u.Completion))
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
	case w.changed == Never: // it has not been changed
		return swapNone
	case since == 0:
		return swapOwn
	case since < 2*(w.device.costs.Swap()+w.device.costs.First()):
		return swapNear
	}
	return swapNone
}

// quantum is how long a turn of an identity of weight 1 lasts on a device.
func (fl *fleet) quantum(d *device) time.Duration {
	if fl.opts.Quantum != task.Auto {
		return fl.opts.Quantum
	}
	return d.costs.Turn()
}

// longestQuantum is the longest that quantum returns.
func (fl *fleet) longestQuantum() time.Duration {
	if fl.opts.Quantum != task.Auto {
		return fl.opts.Quantum
	}
	return cost.MostTurn
}

// CostView is what work on a device has been measured to cost.
type CostView struct {
	Device string
	// Known says that the step times are measurements, not expectations; they mean
	// nothing else.
	Known bool
	Swap  time.Duration // what a change of adapter costs until the next token
	First time.Duration // to the first token of a prompt without tokens to read, alone and without a change
	Read  time.Duration // for each token of a prompt
	Step  time.Duration // of one request alone on the device
	// StepMore is what each further request adds to a step, and StepOthers what a
	// second busy worker of the device adds to one of a single request.
	StepMore, StepOthers time.Duration
	Quantum              time.Duration // of an identity of weight 1
}

// Costs returns what was measured, by device, in the order of the workers.
func (s *Scheduler) Costs() []CostView {
	var views []CostView
	seen := map[*device]bool{}
	for _, w := range s.fleet.list {
		d := w.device
		if seen[d] {
			continue
		}
		seen[d] = true
		c := &d.costs
		views = append(views, CostView{
			Device: d.name, Known: c.Known(), Swap: c.Swap(), First: c.First(), Read: c.Read(),
			Step: cost.Seconds(c.Step(1, 1)), StepMore: c.StepMore(), StepOthers: cost.Seconds(c.Step(1, 2) - c.Step(1, 1)),
			Quantum: s.fleet.quantum(d),
		})
	}
	return views
}
