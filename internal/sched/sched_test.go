package sched

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func (w *checked) expect(want ...string) {
	w.t.Helper()
	if got := w.running(); !slices.Equal(got, want) {
		w.t.Errorf("running %q, want %q", got, want)
	}
}

func TestRequestThatRunsAgainKeepsItsPlace(t *testing.T) {
	w := withWorkers(t, 1, 1)
	a := w.ask("a")
	w.ask("a")
	early := Request{Identity: "a", Ticket: 99, Since: -1, Again: true}
	w.s.Arrive(early, w.Now())
	w.Queued[99] = &job{Request: early, Worker: -1}
	w.finish(a, Usage{})
	if w.oldest(0).Ticket != 99 {
		t.Error("a newer request went first")
	}
}

func TestRetryAfterReflectsTheQueue(t *testing.T) {
	w := withWorkers(t, 1, 1)
	for range 21 {
		w.ask("a")
	}
	for range 10 { // two a second
		w.Pass(500 * time.Millisecond)
		w.finish(w.oldest(0), Usage{})
	}
	// Eleven wait; the rate is smoothed over 10 s, of which 5 have passed.
	if got := w.s.RetryAfter(w.Now()); got < 5*time.Second || got > 15*time.Second {
		t.Errorf("retry after %s, want about 5 to 15 s", got)
	}
}

func TestIdleFlowsAreForgotten(t *testing.T) {
	w := withWorkers(t, 1, 1)
	for i := range 1000 {
		w.finish(w.ask(Identity(fmt.Sprint(i))), Usage{Completion: 1})
	}
	if n := len(w.s.queue.flows); n > 100 {
		t.Errorf("%d flows are kept, one is applied and has the slot", n)
	}
}
