package sched

import (
	"slices"
	"testing"
	"time"
)

func TestRequestsOfOneIdentityRunAsABatch(t *testing.T) {
	w := withWorkers(t, 2, 3)
	for range 3 {
		w.ask("a")
	}
	w.expect("0/0 a", "0/1 a", "0/2 a")
	if w.log[0].Kind != Swap || w.log[1].Kind != Serve || w.log[2].Kind != Serve {
		t.Errorf("actions %+v", w.log)
	}
}

func TestBaseIsAnIdentityLikeOthers(t *testing.T) {
	w := withWorkers(t, 1, 2)
	if w.ask(Base); w.log[0].Kind != Serve {
		t.Errorf("the base is in force at the start: %+v", w.log)
	}
}

func TestMaxConcurrency(t *testing.T) {
	w := withWorkers(t, 2, 4)
	limited := Request{Identity: "a", MaxConcurrency: 2}
	first := w.do(limited)
	w.do(limited)
	third := w.do(limited)
	if third.Worker >= 0 {
		t.Fatal("a third runs")
	}
	w.Pass(time.Minute)
	if b := w.ask("b"); b.Worker < 0 {
		t.Error("b does not run beside them")
	}
	w.finish(first, Usage{})
	if third.Worker < 0 {
		t.Error("the third does not run after the first")
	}
}

func TestExclusiveRequests(t *testing.T) {
	w := withWorkers(t, 1, 2)
	a := w.ask("a")
	exclusive := w.do(Request{Identity: "a", Exclusive: true})
	if exclusive.Worker >= 0 {
		t.Fatal("runs beside another")
	}
	w.Pass(quick.Quantum)
	w.finish(a, Usage{})
	if exclusive.Worker != 0 || exclusive.Kind != Serve {
		t.Fatalf("%+v: should run without a swap", exclusive)
	}
	beside := w.ask("a")
	if beside.Worker >= 0 {
		t.Fatal("joined a worker that is lent exclusively")
	}
	w.finish(exclusive, Usage{})
	if beside.Worker != 0 {
		t.Error("does not run after it")
	}
	if last := w.log[len(w.log)-1]; !slices.Equal(last.Erase, []int{last.Slot}) {
		t.Errorf("%+v: nobody knows what the exclusive request left in the slot", last)
	}
}

func TestRequestsThatAskToBeAlone(t *testing.T) {
	w := withWorkers(t, 1, 2)
	a := w.ask("a")
	alone := w.do(Request{Identity: "a", Alone: true})
	if alone.Worker >= 0 {
		t.Fatal("runs beside another")
	}
	w.Pass(quick.Quantum)
	w.finish(a, Usage{})
	if alone.Worker != 0 || alone.Slot == NoSlot {
		t.Fatalf("%+v: should run in a slot", alone)
	}
	beside := w.ask("a")
	if beside.Worker >= 0 {
		t.Fatal("joined one that asked to be alone")
	}
	w.s.Prove(alone.Ticket, w.Now())
	w.Decide()
	if beside.Worker != 0 {
		t.Error("does not join one that did no harm")
	}
}
