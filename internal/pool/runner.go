package pool

import (
	"context"
	"errors"

	"github.com/loragate/loragate/internal/upstream"
	"github.com/loragate/loragate/internal/worker"
)

// Runner is the pool's view of a worker; *worker.Worker is the real one.
type Runner interface {
	PID() int
	Facts() worker.Facts
	Apply(ctx context.Context, parts []Part) error
	LoRA(parts []Part) ([]byte, error)
	Erase(ctx context.Context, slot int) error
	Slots(ctx context.Context) ([]worker.Work, error)
	Complete(ctx context.Context, probe worker.Probe) ([]worker.Token, error)
	Forward(ctx context.Context, path string, body []byte) (*upstream.Response, error)
	Metrics(ctx context.Context) ([]byte, error)
	Exited() <-chan struct{}
	Err() error
	Kill(cause string)
	Stop()
}

// End says how a worker's process ended; see worker.End.
type End = worker.End

// The ends.
const (
	EndCrash   = worker.EndCrash
	EndOutside = worker.EndOutside
	EndMemory  = worker.EndMemory
	EndKill    = worker.EndKill
)

// EndOf returns how the process ended whose end is an error's cause; false if it is not
// known to have ended.
func EndOf(err error) (End, bool) {
	var exit *worker.ExitError
	if !errors.As(err, &exit) {
		return "", false
	}
	return exit.End(), true
}

// crashed reports whether a process ended by itself.
func crashed(cause error) bool {
	end, ended := EndOf(cause)
	return ended && end == EndCrash
}
