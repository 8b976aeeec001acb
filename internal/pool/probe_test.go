package pool

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// dying is a process that has closed its socket and is gone a little later.
type dying struct {
	stubRunner
	exited chan struct{}
}

func (d dying) Exited() <-chan struct{} { return d.exited }

// TestDyingProcessesEndByThemselves is of workers that are killed from outside: they
// answer no more before they are gone, and are not to be taken for hung until then.
func TestDyingProcessesEndByThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := dying{exited: make(chan struct{})}
		const takes = 50 * time.Millisecond
		time.AfterFunc(takes, func() { close(d.exited) })
		begun := time.Now()
		awaitEnd(t.Context(), d)
		if took := time.Since(begun); took != takes {
			t.Errorf("took %s, the process %s", took, takes)
		}

		hung := dying{exited: make(chan struct{})}
		begun = time.Now()
		awaitEnd(t.Context(), hung)
		if took := time.Since(begun); took != endGrace {
			t.Errorf("a process that does not end took %s, want %s", took, endGrace)
		}

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		begun = time.Now()
		awaitEnd(ctx, hung)
		if took := time.Since(begun); took != 0 {
			t.Errorf("took %s though the pool ends", took)
		}
	})
}
