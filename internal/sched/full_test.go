package sched

import (
	"testing"
	"time"
)

func TestFullQueuePushesTheLongestFlowOut(t *testing.T) {
	w := newWorld(t, Options{Quantum: time.Second, Queue: 3})
	flood := []*job{w.arrive(Request{Identity: "a"}), w.arrive(Request{Identity: "a"}), w.arrive(Request{Identity: "a"})}
	if w.arrive(Request{Identity: "a"}) != nil {
		t.Error("a fourth request of the flood is admitted")
	}
	if w.arrive(Request{Identity: "b"}) == nil {
		t.Fatal("b is refused because of a's flood")
	}
	if w.Queued[flood[2].Ticket] != nil || w.Queued[flood[0].Ticket] == nil {
		t.Error("not the newest of the flood made room")
	}
	w.arrive(Request{Identity: "c"})
	if w.arrive(Request{Identity: "d"}) != nil {
		t.Error("d is admitted though nobody has more than one")
	}
	if w.arrive(Request{Identity: "b", Again: true}) == nil {
		t.Error("a request that runs again is refused")
	}
}
