// Package cost learns what work on a device costs, from what llama-server tells of each
// request. All times in it are in seconds where they are not durations.
package cost

import "time"

// Model is what work on a device has been measured to cost, smoothed.
type Model struct {
	// step is what a decoding step takes, by a worker's requests in it and the device's
	// busy workers: see loadOf.
	step fit
	// first is what a request's first token takes from the first look at its prompt, by
	// the tokens that had to be read, whether its adapter was put in force for it, and
	// the requests that ran beside it: those after a change run alone, so that without
	// the last a change would seem to cost nothing.
	first fit
	// held is how long a request has its slot.
	held float64
}

// New begins with what was seen on GPUs (docs/benchmarks.md): a step that grows by
// an eighth with each request, a second busy worker that costs the first nearly its
// share, or little if they run together, and 50 ms for a change of adapter.
func New(together bool) Model {
	others := 0.8
	if together {
		others = 0.1
	}
	return Model{
		step:  newFit(true, 1, 0.12, others, 0.12*others),
		first: newFit(false, 0.02, 0.0003, 0.05, 0.005),
		held:  0.25,
	}
}

const (
	// leastTurn and MostTurn bound the length of a turn by what is learnt. The upper
	// one is what promises on waiting reckon with.
	leastTurn = 100 * time.Millisecond
	MostTurn  = 3 * time.Second
	// changesPerTurn is how many times as long as a change of adapter a turn should be:
	// then changes take a tenth of the time at most.
	changesPerTurn = 10
	// requestsPerTurn is how many times as long as a request a turn should be: at its
	// end a turn drains, in ever smaller batches. In the simulator turns shorter than
	// that made median waits longer with many workers that run together, and did no harm
	// with two that take turns.
	requestsPerTurn = 4
	// heldSmoothing is the weight of the newest request in held.
	heldSmoothing = 0.05
	// shortestStep is less than a step takes, in seconds, so that a rate has an end.
	shortestStep = 1e-9
)

// Turn is how long a turn of an identity of weight 1 should be.
func (m *Model) Turn() time.Duration {
	return min(max(changesPerTurn*m.Swap(), requestsPerTurn*Seconds(m.held), leastTurn), MostTurn)
}

// Known reports whether enough has been measured to go by.
func (m *Model) Known() bool { return m.step.known() }

// Step returns what a step of n requests, on average, takes while so many workers of the
// device are busy.
func (m *Model) Step(n float64, busy int) float64 {
	return m.step.at(loadOf(n, float64(max(0, busy-1))))
}

// loadOf is what a step's time goes by: the requests in it, the other busy workers of the
// device, and, since these take a part of each step, their product.
func loadOf(requests, others float64) [terms]float64 {
	return [terms]float64{1, requests, others, requests * others}
}

// Rate is how many tokens a second a worker makes with n requests while so many workers of
// the device are busy.
func (m *Model) Rate(n float64, busy int) float64 { return n / max(m.Step(n, busy), shortestStep) }

// Swap is what a change of adapter costs until the next token.
func (m *Model) Swap() time.Duration { return Seconds(m.first.coeffs[2]) }

// First is what the first token of a prompt without tokens to read takes, alone and
// without a change, and Read what each token of a prompt adds.
func (m *Model) First() time.Duration { return Seconds(m.first.coeffs[0]) }

// Read is what each token of a prompt adds to First.
func (m *Model) Read() time.Duration { return Seconds(m.first.coeffs[1]) }

// StepMore is what each further request adds to a step.
func (m *Model) StepMore() time.Duration { return Seconds(m.step.coeffs[1]) }

// ObserveFirst takes in a first token's time.
func (m *Model) ObserveFirst(tokens int, swapped bool, beside int, took time.Duration) {
	change := 0.0
	if swapped {
		change = 1
	}
	m.first.observe([terms]float64{1, float64(tokens), change, float64(beside)}, took.Seconds())
}

// ObserveHeld takes in how long a request had its slot.
func (m *Model) ObserveHeld(seconds float64) { m.held += heldSmoothing * (seconds - m.held) }

// ObserveStep takes in what a token took beside others, on average.
func (m *Model) ObserveStep(requests, others, seconds float64) {
	m.step.observe(loadOf(requests, others), seconds)
}

// Seconds returns a number of them as a duration.
func Seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// Integral is the sum of a number over time, in seconds.
type Integral struct {
	sum  float64
	last time.Duration
}

// NewIntegral returns one that begins now.
func NewIntegral(now time.Duration) Integral { return Integral{last: now} }

// Sum is the integral up to the last At.
func (g *Integral) Sum() float64 { return g.sum }

// At returns the integral up to now, when the number has been value since the last call.
func (g *Integral) At(now time.Duration, value int) float64 {
	g.sum += float64(value) * (now - g.last).Seconds()
	g.last = now
	return g.sum
}
