package sched

import (
	"testing"
	"time"
)

func TestNewcomersWaitForTheQuantumAndTheDrain(t *testing.T) {
	w := withWorkers(t, 1, 2)
	a1, a2 := w.ask("a"), w.ask("a")
	b := w.ask("b")
	w.Pass(time.Second)
	w.finish(a1, Usage{})
	a3 := w.ask("a") // the quantum is not over
	if a3.Worker != 0 {
		t.Fatal("a's own request does not run in a's turn")
	}
	w.Pass(time.Second)
	w.finish(a2, Usage{})
	a4 := w.ask("a") // the quantum is over and b waits
	if a4.Worker >= 0 {
		t.Fatal("a request joined a worker that is closing")
	}
	w.finish(a3, Usage{})
	if b.Worker != 0 || a4.Worker >= 0 {
		t.Fatalf("after the drain b is on %d, a on %d", b.Worker, a4.Worker)
	}
	w.Pass(3 * time.Second)
	w.finish(b, Usage{})
	if a4.Worker != 0 {
		t.Error("a does not get its next turn")
	}
}

func TestNobodyIsPreemptedWhenNobodyWaits(t *testing.T) {
	w := withWorkers(t, 1, 2)
	w.ask("a")
	w.Pass(time.Hour)
	if j := w.ask("a"); j.Worker != 0 {
		t.Error("a lone adapter lost its worker after its quantum")
	}
}

func TestWeightsStretchTurns(t *testing.T) {
	w := withWorkers(t, 1, 4)
	w.do(Request{Identity: "heavy", Weight: 3})
	w.ask("b")
	w.Pass(3 * quick.Quantum / 2)
	if w.s.fleet.workers[0].preempted {
		t.Error("preempted after one quantum and a half, its weight is 3")
	}
	w.Pass(3 * quick.Quantum / 2)
	if !w.s.fleet.workers[0].preempted {
		t.Error("not preempted after three quanta")
	}
}

// TestTokensAreTheCurrency: after a turn whose drain gave an identity far more
// than its share, others get longer than a quantum to catch up.
func TestTokensAreTheCurrency(t *testing.T) {
	w := withWorkers(t, 1, 2)
	long := w.ask("long")
	w.ask("long")
	short := w.ask("short")
	w.Pass(30 * time.Second) // its quantum, and 28 seconds of drain
	w.finish(long, Usage{Completion: 1000})
	w.ask("long")
	w.finish(w.oldest(0), Usage{Completion: 1000})
	if short.Worker != 0 {
		t.Fatal("short does not run")
	}
	w.Pass(5 * quick.Quantum)
	if w.s.fleet.workers[0].preempted {
		t.Error("short's worker is preempted: long has not made up for it")
	}
	w.Pass(28*time.Second - 5*quick.Quantum)
	if !w.s.fleet.workers[0].preempted {
		t.Error("long stands back for longer than its drain took")
	}
}
