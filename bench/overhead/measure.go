package overhead

import (
	"context"
	"slices"
	"time"
)

// sample is what one measurement of one contestant came to.
type sample struct {
	requests int
	took     time.Duration
	cpu      time.Duration   // of the proxy's processes
	first    []time.Duration // sorted
	whole    []time.Duration // sorted
}

// quickRequests is how many requests each connection sends with Options.Quick.
const quickRequests = 3

// measure warms the contestant up and then measures it, on the same
// connections.
func (a *arena) measure(ctx context.Context, who *contestant, c benchCase) (sample, error) {
	warm, much := amount{time: a.opts.PerRound / 4}, amount{time: a.opts.PerRound}
	if a.opts.Quick {
		warm, much = amount{requests: 1}, amount{requests: quickRequests}
	}
	f, err := dial(ctx, who.address, c.connections, c.stream)
	if err != nil {
		return sample{}, err
	}
	defer f.close()
	if _, err := f.load(ctx, warm); err != nil {
		return sample{}, err
	}
	before, err := who.cpu()
	if err != nil {
		return sample{}, err
	}
	took, err := f.load(ctx, much)
	if err != nil {
		return sample{}, err
	}
	after, err := who.cpu()
	if err != nil {
		return sample{}, err
	}
	return f.sample(took, after-before), nil
}

func (f fleet) sample(took, cpu time.Duration) sample {
	s := sample{took: took, cpu: cpu}
	for _, c := range f {
		s.requests += len(c.answers)
		for _, t := range c.answers {
			s.first = append(s.first, t.first)
			s.whole = append(s.whole, t.whole)
		}
	}
	slices.Sort(s.first)
	slices.Sort(s.whole)
	return s
}

// cpu returns the CPU time that the contestant's processes have used so far.
func (c *contestant) cpu() (time.Duration, error) {
	var sum time.Duration
	for _, pid := range c.pids {
		used, err := cpuTime(pid)
		if err != nil {
			return 0, err
		}
		sum += used
	}
	return sum, nil
}

// memory returns each contestant's peak memory in bytes. What several processes
// of one contestant share counts for each of them.
func (a *arena) memory() (map[string]int64, error) {
	peaks := map[string]int64{}
	for _, c := range a.contestants {
		for _, pid := range c.pids {
			peak, err := peakMemory(pid)
			if err != nil {
				return nil, err
			}
			peaks[c.name] += peak
		}
	}
	return peaks, nil
}

// percentile returns the smallest value that at least p percent of the sorted
// values do not exceed, in milliseconds. There must be a value.
func percentile(sorted []time.Duration, p int) float64 {
	rank := (len(sorted)*p + 99) / 100 // rounded up
	return float64(sorted[max(rank, 1)-1]) / float64(time.Millisecond)
}

// median returns the middle value, or the mean of the two middle ones. There
// must be a value.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
