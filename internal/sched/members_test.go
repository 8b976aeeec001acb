package sched

import "testing"

func TestSuspendedWorkerGetsNothing(t *testing.T) {
	w := withWorkers(t, 1, 2)
	w.s.Suspend(0, w.now)
	j := w.ask(Base)
	if j.worker >= 0 {
		t.Fatal("placed on a suspended worker")
	}
	w.s.Resume(0, w.now)
	w.decide()
	if j.worker != 0 {
		t.Error("not placed after Resume")
	}
}

func TestWorkerDownForgetsWhatRan(t *testing.T) {
	w := withWorkers(t, 2, 1)
	a := w.ask("a")
	b := w.ask("a")
	w.pass(quick.ScaleOutAfter)
	w.down(a.worker)
	w.s.Finish(a.Ticket, Usage{}, w.now) // late: ignored
	w.decide()
	if b.worker != 1 || w.s.queue.flows[flowKey{identity: "a"}].running != 1 {
		t.Errorf("b on %d, %d running", b.worker, w.s.queue.flows[flowKey{identity: "a"}].running)
	}
}
