package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Dist is a distribution of positive numbers.
type Dist struct {
	// Kind is "fixed", "uniform", "exponential", "lognormal" or "quantiles".
	Kind   string  `json:"kind"`
	Value  float64 `json:"value,omitempty"`  // fixed: the value; exponential: the mean
	Min    float64 `json:"min,omitempty"`    // uniform; a lower bound for the others
	Max    float64 `json:"max,omitempty"`    // uniform; an upper bound for the others, 0 is none
	Median float64 `json:"median,omitempty"` // lognormal
	Sigma  float64 `json:"sigma,omitempty"`  // lognormal: the deviation of the logarithm
	// Quantiles are points of the distribution by rising P, from 0 to 1; between
	// them it is even.
	Quantiles []Quantile `json:"quantiles,omitempty"`
}

// Quantile is the value below which a share P of all lie.
type Quantile struct {
	P     float64 `json:"p"`
	Value float64 `json:"value"`
}

// Fixed always gives v.
func Fixed(v float64) Dist { return Dist{Kind: "fixed", Value: v} }

// Lognormal has a median and a long tail, cut off at high.
func Lognormal(median, sigma, high float64) Dist {
	return Dist{Kind: "lognormal", Median: median, Sigma: sigma, Max: high}
}

func (d *Dist) check(what string) error {
	switch d.Kind {
	case "", "fixed", "uniform", "exponential", "lognormal":
		return nil
	case "quantiles":
		byP := func(a, b Quantile) int { return int(math.Copysign(1, a.P-b.P)) }
		if len(d.Quantiles) < 2 || !slices.IsSortedFunc(d.Quantiles, byP) {
			return fmt.Errorf("%s: quantiles need at least two points, by rising p", what)
		}
		return nil
	}
	return fmt.Errorf("%s: no distribution %q", what, d.Kind)
}

// draw returns a value; the empty Dist gives 0.
func (d *Dist) draw(rng *rand.Rand) float64 {
	v := d.Value
	switch d.Kind {
	case "uniform":
		return d.Min + rng.Float64()*(d.Max-d.Min)
	case "exponential":
		v = rng.ExpFloat64() * d.Value
	case "lognormal":
		v = d.Median * math.Exp(rng.NormFloat64()*d.Sigma)
	case "quantiles":
		v = d.quantile(rng.Float64())
	}
	v = max(v, d.Min)
	if d.Max > 0 {
		v = min(v, d.Max)
	}
	return v
}

func (d *Dist) quantile(p float64) float64 {
	q := d.Quantiles
	for i := 1; i < len(q); i++ {
		if p <= q[i].P {
			a, b := q[i-1], q[i]
			return a.Value + (b.Value-a.Value)*max(0, p-a.P)/(b.P-a.P)
		}
	}
	return q[len(q)-1].Value
}

func (d *Dist) tokens(rng *rand.Rand, least int) int {
	return max(least, int(math.Round(d.draw(rng))))
}

// mean estimates the mean, always the same for the same distribution.
func (d *Dist) mean() float64 {
	const draws = 20000
	rng := rand.New(rand.NewPCG(1, 2))
	sum := 0.0
	for range draws {
		sum += d.draw(rng)
	}
	return sum / draws
}

// zipf draws numbers below n, the k-th with a weight of 1/k^s.
type zipf struct{ cumulated []float64 }

func newZipf(n int, s float64) *zipf {
	z := &zipf{cumulated: make([]float64, n)}
	sum := 0.0
	for i := range n {
		sum += math.Pow(float64(i+1), -s)
		z.cumulated[i] = sum
	}
	return z
}

func (z *zipf) draw(rng *rand.Rand) int {
	v := rng.Float64() * z.cumulated[len(z.cumulated)-1]
	i, _ := slices.BinarySearch(z.cumulated, v)
	return min(i, len(z.cumulated)-1)
}
