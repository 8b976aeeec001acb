package pool

import (
	"math/rand/v2"
	"time"

	"github.com/loragate/loragate/internal/backoff"
)

// newBackoff spaces the restarts of one worker. Failures are forgotten with time: a worker
// that dies once a day is restarted at once every time, while one that dies at every start is
// given longer and longer pauses.
func newBackoff() *backoff.Backoff {
	return &backoff.Backoff{
		First: 100 * time.Millisecond, Max: 30 * time.Second, HalfLife: 30 * time.Second, Jitter: rand.Float64,
	}
}
