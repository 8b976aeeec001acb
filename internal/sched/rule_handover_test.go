package sched

import "testing"

func TestAScaledOutFlowHandsAWorkerToOneWithFewer(t *testing.T) {
	w := withWorkers(t, 3, 1)
	for range 9 {
		w.ask("a")
		w.Pass(quick.ScaleOutAfter)
	}
	w.expect("0/0 a", "1/0 a", "2/0 a")
	for range 3 {
		w.ask("b")
	}
	w.Pass(quick.Quantum)
	w.finish(w.oldest(0), Usage{})
	w.finish(w.oldest(1), Usage{})
	w.finish(w.oldest(2), Usage{})
	count := map[Identity]int{}
	for _, j := range w.Placed {
		count[j.Identity]++
	}
	if count["a"] != 2 || count["b"] != 1 {
		t.Fatalf("running %v: b has a right to one worker, and to no more than a", count)
	}
}
