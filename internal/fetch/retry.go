package fetch

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/loragate/loragate/internal/backoff"
	"github.com/loragate/loragate/internal/fetch/failure"
)

const (
	maxFailures = 6 // in a row
	firstDelay  = 500 * time.Millisecond
	maxDelay    = 30 * time.Second
	maxPatience = 2 * time.Minute // the longest Retry-After that is kept to
)

// retrier tries again what failed for now.
type retrier struct {
	log   *slog.Logger
	sleep func(context.Context, time.Duration) error // tests replace it
}

// persist calls try until it succeeds, fails for good, or has failed too often
// in a row. Failures of which try says that they brought much do not count.
func (r *retrier) persist(ctx context.Context, what string, try func() (much bool, err error)) error {
	pauses := backoff.Backoff{First: firstDelay, Max: maxDelay, Jitter: rand.Float64}
	for failures := 0; ; {
		much, err := try()
		var own *failure.Error
		if err == nil || !errors.As(err, &own) || !own.Temporary {
			return err
		}
		if ctx.Err() != nil {
			return failure.GivenUp(ctx, what)
		}
		if much {
			failures = 0
			pauses.Reset()
		}
		if failures++; failures >= maxFailures || own.RetryAfter > maxPatience {
			return err
		}
		wait := max(pauses.Fail(time.Now()), own.RetryAfter)
		r.log.Info("trying again", "source", what, "after", wait, "error", err)
		if r.sleep(ctx, wait) != nil {
			return failure.GivenUp(ctx, what)
		}
	}
}

// sleep waits for d or for ctx's end, whose error it returns.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
