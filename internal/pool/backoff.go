package pool

import (
	"math"
	"time"
)

// backoff spaces the restarts of one worker. Its failure count decays, so that
// a worker that dies once a day is restarted at once every time, while one that
// dies at every start is given longer and longer pauses.
//
// It is owned by the goroutine that supervises the worker.
type backoff struct {
	first, max time.Duration // pause after the first failure, and at most
	halfLife   time.Duration // in which the failure count halves
	jitter     func() float64

	failures float64
	last     time.Time
}

// newBackoff returns the backoff of one worker; jitter returns a number in
// [0,1).
func newBackoff(jitter func() float64) *backoff {
	return &backoff{
		first:    100 * time.Millisecond,
		max:      30 * time.Second,
		halfLife: 30 * time.Second,
		jitter:   jitter,
	}
}

// fail counts a failure at now and returns how long to wait before the next
// start: the first pause doubled for every further failure, of which a random
// half is taken off so that workers that died together do not start together.
func (b *backoff) fail(now time.Time) time.Duration {
	if !b.last.IsZero() {
		b.failures *= math.Exp2(-float64(now.Sub(b.last)) / float64(b.halfLife))
	}
	b.last = now
	b.failures++
	pause := float64(b.first) * math.Exp2(b.failures-1)
	pause = math.Min(pause, float64(b.max))
	return time.Duration(pause * (1 - b.jitter()/2))
}
