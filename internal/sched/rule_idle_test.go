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
	if c.worker != b.worker {
		t.Errorf("c swapped worker %d, which was used last", c.worker)
	}
}

func TestOldestWaitingIdentityFirst(t *testing.T) {
	w := withWorkers(t, 1, 1)
	running := w.ask("a")
	var line []*job
	for i := range 5 {
		w.pass(100 * time.Millisecond)
		line = append(line, w.ask(Identity(fmt.Sprint("b", i))))
		w.ask("a")
	}
	w.pass(3 * time.Second)
	for i, next := range line {
		w.finish(running, Usage{})
		if next.worker != 0 {
			t.Fatalf("%s is not the next, running %q", next.Identity, w.running())
		}
		running = next
		w.pass(3 * time.Second)
		_ = i
	}
}
