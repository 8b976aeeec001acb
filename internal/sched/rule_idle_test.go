package sched

import (
	"fmt"
	"testing"
	"time"
)

func TestLeastRecentlyUsedWorkerIsSwapped(t *testing.T) {
	w := withWorkers(t, 2, 4)
	a := w.ask("a")
	b := w.ask("b")
	w.finish(b, Usage{})
	w.finish(a, Usage{})
	c := w.ask("c")
	if c.Worker != b.Worker {
		t.Errorf("c swapped worker %d, which was used last", c.Worker)
	}
}

func TestOldestWaitingIdentityFirst(t *testing.T) {
	w := withWorkers(t, 1, 1)
	running := w.ask("a")
	var line []*job
	for i := range 5 {
		w.Pass(100 * time.Millisecond)
		line = append(line, w.ask(Identity(fmt.Sprint("b", i))))
		w.ask("a")
	}
	w.Pass(3 * time.Second)
	for i, next := range line {
		w.finish(running, Usage{})
		if next.Worker != 0 {
			t.Fatalf("%s is not the next, running %q", next.Identity, w.running())
		}
		running = next
		w.Pass(3 * time.Second)
		_ = i
	}
}
