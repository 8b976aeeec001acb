package sched

import (
	"fmt"
	"testing"
)

// TestMadeUpIdentitiesShareATurn has one tenant ask for twenty sums of its own making,
// and another for one adapter again and again, on one worker. The other's turn comes
// after each of the sums, not after all.
func TestMadeUpIdentitiesShareATurn(t *testing.T) {
	s := New(Options{Quantum: quick.Quantum, ScaleOutAfter: quick.ScaleOutAfter, Queue: 100})
	now := Time(0)
	s.Up(0, 1, "gpu", now)
	last := Ticket(0)
	owner := map[Ticket]string{}
	ask := func(identity Identity, namespace, turn string) {
		last++
		owner[last] = namespace
		if _, ok := s.Arrive(Request{Ticket: last, Identity: identity, Namespace: namespace, Turn: turn, Since: now},
			now); !ok {
			t.Fatal("refused")
		}
	}
	for i := range 20 {
		ask(Identity(fmt.Sprint("sum-", i)), "many", "many")
	}
	ask("adapter", "one", "")
	var served []string
	for len(served) < 12 {
		actions, _ := s.Decide(now)
		for _, a := range actions {
			served = append(served, owner[a.Ticket])
			now += quick.Quantum
			s.Finish(a.Ticket, Usage{Completion: 10}, now)
			if owner[a.Ticket] == "one" {
				ask("adapter", "one", "")
			}
		}
		now++
	}
	for i := 1; i < len(served); i++ {
		if served[i] == "many" && served[i-1] == "many" {
			t.Fatalf("turns went to %v", served)
		}
	}
}

// TestMadeUpIdentitiesCountTogether fills the queue with sums of one tenant: another's
// request gets in, one more of theirs does not.
func TestMadeUpIdentitiesCountTogether(t *testing.T) {
	s := New(Options{Quantum: quick.Quantum, ScaleOutAfter: quick.ScaleOutAfter, Queue: 10})
	for i := range 10 {
		s.Arrive(Request{Ticket: Ticket(i + 1), Identity: Identity(fmt.Sprint("sum-", i)), Namespace: "many",
			Turn: "many"}, 0)
	}
	if evicted, ok := s.Arrive(Request{Ticket: 11, Identity: "sum-11", Namespace: "many", Turn: "many"}, 0); ok {
		t.Errorf("one more of theirs is let in for %d", evicted)
	}
	if evicted, ok := s.Arrive(Request{Ticket: 12, Identity: "adapter", Namespace: "one"}, 0); !ok || evicted != 10 {
		t.Errorf("another's: %t, in place of %d", ok, evicted)
	}
}
