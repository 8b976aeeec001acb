// Package backoff spaces the tries of something that keeps failing.
package backoff

import (
	"math"
	"time"
)

// Backoff makes the pauses between tries longer from failure to failure. It is not safe for
// concurrent use.
type Backoff struct {
	First, Max time.Duration // the pause after the first failure, and at most
	// HalfLife is the time in which half of the failures are forgotten: what fails once a
	// day is tried again after First every time. 0 forgets none.
	HalfLife time.Duration
	Jitter   func() float64 // returns a number in [0,1)

	failures float64
	last     time.Time
}

// Fail counts a failure at now and returns how long to wait before the next try: the first
// pause doubled for every further failure, of which a random half is taken off so that
// those that failed together do not try together.
func (b *Backoff) Fail(now time.Time) time.Duration {
	if !b.last.IsZero() && b.HalfLife > 0 {
		b.failures *= math.Exp2(-float64(now.Sub(b.last)) / float64(b.HalfLife))
	}
	b.last = now
	b.failures++
	pause := math.Min(float64(b.First)*math.Exp2(b.failures-1), float64(b.Max))
	return time.Duration(pause * (1 - b.Jitter()/2))
}

// Reset forgets all failures.
func (b *Backoff) Reset() { b.failures = 0 }
