package sched

import (
	"testing"
	"time"
)

func TestAWorkerIsOpenedAgainWhenNobodyWaitsAnyMore(t *testing.T) {
	w := withWorkers(t, 1, 2)
	w.ask("a")
	b := w.ask("b")
	w.Pass(3 * time.Second)
	if !w.s.fleet.workers[0].preempted {
		t.Fatal("not preempted")
	}
	w.leave(b)
	if j := w.ask("a"); j.Worker != 0 {
		t.Error("the worker still drains for a request that left")
	}
}
