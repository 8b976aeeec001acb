package load

import (
	"math"
	"slices"
	"time"
)

// Percentile returns the value below or at which p percent of the values lie
// (nearest rank), NaN of none. It leaves values as they are.
func Percentile(values []float64, p float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// Median returns the middle value, of an even number the mean of the middle
// two, NaN of none.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// Milliseconds returns d as a number of milliseconds.
func Milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// Summary is what the results of one run come to.
type Summary struct {
	Tokens   int // generated, of all requests that succeeded
	Requests int // that succeeded
	Errors   int
	FirstErr error

	TokensPerSecond, RequestsPerSecond float64 // over the wall clock of the run

	TTFT, Latency []float64 // ms, one for each request that succeeded
}

// Summarize adds up the results of a run that took wall.
func Summarize(results []Result, wall time.Duration) Summary {
	var s Summary
	for _, r := range results {
		if r.Err != nil {
			s.Errors++
			if s.FirstErr == nil {
				s.FirstErr = r.Err
			}
			continue
		}
		s.Requests++
		s.Tokens += r.Tokens
		s.TTFT = append(s.TTFT, Milliseconds(r.TTFT))
		s.Latency = append(s.Latency, Milliseconds(r.Latency))
	}
	s.TokensPerSecond = float64(s.Tokens) / wall.Seconds()
	s.RequestsPerSecond = float64(s.Requests) / wall.Seconds()
	return s
}
