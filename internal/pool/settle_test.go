package pool

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/loragate/loragate/internal/worker"
)

// obstinate is a worker that works on whatever was cancelled.
type obstinate struct {
	Runner
	slots func(ctx context.Context) ([]worker.Work, error)
}

func (o obstinate) Slots(ctx context.Context) ([]worker.Work, error) { return o.slots(ctx) }
func (o obstinate) Exited() <-chan struct{}                          { return nil }

// await lets a pool wait for slot 0 of a worker.
func await(t *testing.T, slots func(ctx context.Context) ([]worker.Work, error)) error {
	p := &Pool{opts: Options{CallTimeout: time.Minute}, ctx: t.Context()}
	return calls{p}.awaitIdle(&Lease{Worker: obstinate{slots: slots}, slots: []int{0}},
		settling{seen: true, since: time.Now()})
}

func TestRequestThatGoesOnIsWaitedForWhileItsWorkerAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun, asked := time.Now(), 0
		err := await(t, func(context.Context) ([]worker.Work, error) {
			asked++
			return []worker.Work{{Busy: time.Since(begun) < time.Hour}}, nil
		})
		if err != nil {
			t.Error(err)
		}
		// More often, and llama-server would never look for the client.
		if most := int(time.Hour/time.Second) + 100; asked > most {
			t.Errorf("the worker was asked %d times, more than %d", asked, most)
		}
	})
}

func TestWorkerThatTellsNothingIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		err := await(t, func(ctx context.Context) ([]worker.Work, error) {
			if time.Since(begun) < 10*time.Second {
				return []worker.Work{{Busy: true}}, nil
			}
			<-ctx.Done()
			return nil, ctx.Err()
		})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}
