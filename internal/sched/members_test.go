package sched

import "testing"

func TestSuspendedWorkerGetsNothing(t *testing.T) {
	w := withWorkers(t, 1, 2)
	w.s.Suspend(0, w.Now())
	j := w.ask(Base)
	if j.Worker >= 0 {
		t.Fatal("placed on a suspended worker")
	}
	w.s.Resume(0, w.Now())
	w.Decide()
	if j.Worker != 0 {
		t.Error("not placed after Resume")
	}
}

func TestWorkerDownForgetsWhatRan(t *testing.T) {
	w := withWorkers(t, 2, 1)
	a := w.ask("a")
	b := w.ask("a")
	w.Pass(quick.ScaleOutAfter)
	w.Down(a.Worker)
	w.s.Finish(a.Ticket, Usage{}, w.Now()) // late: ignored
	w.Decide()
	if b.Worker != 1 || w.s.queue.flows[flowKey{identity: "a"}].running != 1 {
		t.Errorf("b on %d, %d running", b.Worker, w.s.queue.flows[flowKey{identity: "a"}].running)
	}
}
