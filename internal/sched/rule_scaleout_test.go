package sched

import "testing"

func TestScaleOutOverDevicesAtOnce(t *testing.T) {
	w := newWorld(t, quick)
	w.Up(0, 2, "gpu0")
	w.Up(1, 2, "gpu0")
	w.Up(2, 2, "gpu1")
	for range 3 {
		w.ask("a")
	}
	w.expect("0/0 a", "0/1 a", "2/0 a")
}

func TestScaleOutOnOneDeviceOnlyAfterAWhile(t *testing.T) {
	w := withWorkers(t, 2, 2)
	for range 3 {
		w.ask("a")
	}
	w.expect("0/0 a", "0/1 a")
	w.Pass(quick.ScaleOutAfter)
	w.expect("0/0 a", "0/1 a", "1/0 a")
	// Taken back: the fuller worker is filled first, the other becomes idle.
	w.finish(w.oldest(0), Usage{})
	w.ask("a")
	w.expect("0/0 a", "0/1 a", "1/0 a")
}
