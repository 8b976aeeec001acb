package pool

import (
	"context"
	"testing"
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
	d := dying{exited: make(chan struct{})}
	const takes = 50 * time.Millisecond
	time.AfterFunc(takes, func() { close(d.exited) })
	begun := time.Now()
	awaitEnd(t.Context(), d)
	if took := time.Since(begun); took < takes || took >= endGrace {
		t.Errorf("took %s", took)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	begun = time.Now()
	awaitEnd(ctx, dying{exited: make(chan struct{})})
	if took := time.Since(begun); took >= endGrace {
		t.Errorf("took %s though the pool ends", took)
	}
}
