package sched

import "time"

// Auto, as Options.Quantum or Options.Spread, is by what things have been measured to
// cost.
const Auto time.Duration = -1

// costs is what work on a device has been measured to cost, from what llama-server
// tells of each request, smoothed. All times in it are in seconds.
type costs struct {
	// step is what a decoding step takes, by a worker's requests in it and the device's
	// busy workers: see loadOf.
	step fit
	// first is what a request's first token takes from the first look at its prompt, by
	// the tokens that had to be read, whether its adapter was put in force for it, and
	// the requests that ran beside it: those after a change run alone, so that without
	// the last a change would seem to cost nothing.
	first fit
	// run is how long a request has its slot.
	run float64
}

// newCosts begins with what was seen on GPUs (docs/benchmarks.md): a step that grows by
// an eighth with each request, a second busy worker that costs the first nearly its
// share, or little if they run together, and 50 ms for a change of adapter.
func newCosts(together bool) costs {
	others := 0.8
	if together {
		others = 0.1
	}
	return costs{
		step:  newFit(true, 1, 0.12, others, 0.12*others),
		first: newFit(false, 0.02, 0.0003, 0.05, 0.005),
		run:   0.25,
	}
}

const (
	// leastTokens is how many tokens an answer must have for its speed to count.
	leastTokens = 8
	// The bounds of an automatic quantum. The upper one is what promises on waiting
	// reckon with.
	leastQuantum = 100 * time.Millisecond
	mostQuantum  = 3 * time.Second
	// perChange is how many times as long as a change of adapter a turn should be: then
	// changes take a tenth of the time at most. And perRun is how many times as long as
	// a request: at its end a turn drains, in ever smaller batches. In the
	// simulator turns shorter than that made median waits longer with many workers that
	// run together, and did no harm with two that take turns.
	perChange, perRun = 10, 4
	// runSmoothing is the weight of the newest request in run.
	runSmoothing = 0.05
	// autoSpread is how long requests wait before their identity gets a second worker
	// of a device on which that gains nothing but a shorter wait.
	autoSpread = 200 * time.Millisecond
	// nearly is how much of the most that a device gets done is enough, so that small
	// errors of measurement do not scatter requests.
	nearly = 0.97
)

// stepOf returns what a step of n requests, on average, takes while m workers of the
// device are busy.
func (c *costs) stepOf(n float64, m int) float64 {
	return c.step.at(loadOf(n, float64(max(0, m-1))))
}

// loadOf is what a step's time goes by: the requests in it, the other busy workers of the
// device, and, since these take a part of each step, their product.
func loadOf(requests, others float64) [terms]float64 {
	return [terms]float64{1, requests, others, requests * others}
}

// rate is how many tokens a second a worker makes with n requests while m workers of the
// device are busy.
func (c *costs) rate(n float64, m int) float64 { return n / max(c.stepOf(n, m), 1e-9) }

// swap is what a change of adapter costs until the next token.
func (c *costs) swap() time.Duration { return seconds(c.first.coeffs[2]) }

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// measure takes in what a finished request tells of its device.
func (d *device) measure(r *run, u Usage, now Time) {
	if u.Reading > 0 && r.swap != swapNear {
		swapped := 0.0
		if r.swap == swapOwn {
			swapped = 1
		}
		d.costs.first.observe([terms]float64{1, float64(max(0, u.Prompt-u.Cached)), swapped, float64(r.beside)}, u.Reading.Seconds())
	}
	took := (now - r.started).Seconds()
	d.costs.run += runSmoothing * (took - d.costs.run)
	if u.Generating <= 0 || u.Completion < leastTokens || took <= 0 {
		return
	}
	requests := max(1, (r.worker.load.at(now, r.worker.inFlight)-r.load)/took)
	others := max(0, (d.load.at(now, d.busy)-r.deviceLoad)/took-1)
	d.costs.step.observe(loadOf(requests, others), u.Generating.Seconds()/float64(u.Completion))
}

// integral is the sum of a number over time, in seconds.
type integral struct {
	sum  float64
	last Time
}

// at returns the integral up to now, when the number has been value since the last call.
func (g *integral) at(now Time, value int) float64 {
	g.sum += float64(value) * (now - g.last).Seconds()
	g.last = now
	return g.sum
}

// swapped says how a request stands to a change of adapter on its worker.
type swapped int

const (
	swapNone swapped = iota
	swapOwn          // it was made for it, or for one that was placed with it
	swapNear         // it was made so shortly before that its first token may have waited, too
)

// swapOf returns how a request that is placed now stands to the worker's last change.
func (w *worker) swapOf(now Time) swapped {
	switch since := now - w.changed; {
	case w.changed == Never: // it has not been changed
		return swapNone
	case since == 0:
		return swapOwn
	case since < 2*(w.device.costs.swap()+seconds(w.device.costs.first.coeffs[0])):
		return swapNear
	}
	return swapNone
}

// quantum is how long a turn of an identity of weight 1 lasts on a device.
func (s *Scheduler) quantum(d *device) time.Duration {
	if s.opts.Quantum != Auto {
		return s.opts.Quantum
	}
	c := &d.costs
	return min(max(perChange*c.swap(), perRun*seconds(c.run), leastQuantum), mostQuantum)
}

// longestQuantum is the longest that quantum returns.
func (s *Scheduler) longestQuantum() time.Duration {
	if s.opts.Quantum != Auto {
		return s.opts.Quantum
	}
	return mostQuantum
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
	for _, w := range s.list {
		d := w.device
		if seen[d] {
			continue
		}
		seen[d] = true
		c := &d.costs
		views = append(views, CostView{
			Device: d.name, Known: c.step.known(), Swap: c.swap(), First: seconds(c.first.coeffs[0]), Read: seconds(c.first.coeffs[1]),
			Step: seconds(c.stepOf(1, 1)), StepMore: seconds(c.step.coeffs[1]), StepOthers: seconds(c.stepOf(1, 2) - c.stepOf(1, 1)),
			Quantum: s.quantum(d),
		})
	}
	return views
}
