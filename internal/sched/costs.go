package sched

import (
	"time"

	"github.com/loragate/loragate/internal/sched/cost"
)

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
			Step: cost.Seconds(c.Step(1, 1)), StepMore: c.StepMore(),
			StepOthers: cost.Seconds(c.Step(1, 2) - c.Step(1, 1)),
			Quantum:    s.fleet.quantum(d),
		})
	}
	return views
}
