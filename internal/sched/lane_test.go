package sched

import (
	"testing"
	"time"
)

// checkLanes compares a flow's lanes with its queue.
func (f *flow) checkLanes(t testing.TB) {
	t.Helper()
	if f.waiting > 0 && f.place != f.reckon() {
		t.Fatalf("flow %q: its place is %s, and should be %s", f.key.identity, f.place, f.reckon())
	}
	in, last := 0, map[*lane]*request{}
	for r := f.head; r != nil; r = r.next {
		l := r.lane
		if before := last[l]; before != nil && before.Since > r.Since || l.scope != r.Scope || l.priority != r.Priority || l.inClass == 0 {
			t.Fatalf("flow %q: %+v is in the lane %+v", f.key.identity, r.Request, l.laneKey)
		}
		last[l] = r
		in++
	}
	waiting := 0
	for i, c := range f.lanes.classes {
		checkHeap(t, &c.lanes)
		if i > 0 && f.lanes.classes[i-1].priority <= c.priority {
			t.Fatalf("flow %q: its classes are not in order", f.key.identity)
		}
	}
	for _, l := range f.lanes.byKey {
		waiting += len(l.queue)
		if (len(l.queue) > 0) != (l.inClass > 0) {
			t.Fatalf("flow %q: a lane of %d is at %d of its class", f.key.identity, len(l.queue), l.inClass)
		}
	}
	if in != f.waiting || waiting != in {
		t.Fatalf("flow %q: %d wait, %d in its queue, %d in its lanes", f.key.identity, f.waiting, in, waiting)
	}
}

// of is a request of a tenant for one identity.
func of(scope string, weight float64) Request {
	return Request{Identity: "a", Scope: scope, ScopeWeight: weight}
}

// lanesWorld has one worker with one slot, so that the order can be seen.
func lanesWorld(t *testing.T) *world {
	w := newWorld(t, Options{Quantum: time.Second, Queue: 100, HeadStart: 10 * time.Second})
	w.up(0, 1, "gpu")
	return w
}

// finishOne ends what runs, which took so many tokens and a second, and returns it.
func (w *world) finishOne(tokens func(*job) int) *job {
	w.t.Helper()
	for _, j := range w.placed {
		w.pass(time.Second)
		w.finish(j, Usage{Completion: tokens(j)})
		return j
	}
	w.t.Fatal("nothing runs")
	return nil
}

func same(*job) int { return 10 }

func TestFloodOfOneScopeDoesNotDelayAnother(t *testing.T) {
	w := lanesWorld(t)
	for range 50 {
		w.do(of("flood", 1))
	}
	w.finishOne(same)
	j := w.do(of("other", 1))
	if w.finishOne(same); w.placed[j.Ticket] == nil {
		t.Fatal("it waits behind the others' requests")
	}
}

// TestScopesShareByWeightAndTokens lets three scopes ask for more than there is,
// one with a double weight and one with answers four times as long.
func TestScopesShareByWeightAndTokens(t *testing.T) {
	w := lanesWorld(t)
	given := map[string]int{}
	tokens := func(j *job) int {
		n := 10
		if j.Scope == "long" {
			n = 40
		}
		given[j.Scope] += n
		return n
	}
	scopes := []Request{of("long", 1), of("short", 1), of("heavy", 2)}
	for _, r := range scopes {
		for range 5 {
			w.do(r)
		}
	}
	for range 400 {
		j := w.finishOne(tokens)
		w.do(j.Request)
	}
	if long, short, heavy := given["long"], given["short"], given["heavy"]; abs(long-short) > 80 || abs(heavy-2*short) > 80 {
		t.Errorf("long answers got %d tokens, short ones %d, those of double weight %d", long, short, heavy)
	}
}

func abs(n int) int { return max(n, -n) }

// TestScopeThatComesBackHasNoClaim: who was away does not get everything.
func TestScopeThatComesBackHasNoClaim(t *testing.T) {
	w := lanesWorld(t)
	for range 60 {
		w.do(of("here", 1))
	}
	w.do(of("away", 1))
	for range 30 {
		w.finishOne(same)
	}
	for range 10 {
		w.do(of("away", 1))
	}
	served := map[string]int{}
	for range 12 {
		served[w.finishOne(same).Scope]++
	}
	if abs(served["here"]-served["away"]) > 2 {
		t.Errorf("served %v", served)
	}
}

// TestPriorities: higher ones go first, within an identity and between identities,
// but what is lower is served when it has waited for the head start.
func TestPriorities(t *testing.T) {
	for _, own := range []bool{false, true} {
		w := lanesWorld(t)
		w.do(of("running", 1))
		low, high := of("low", 1), of("high", 1)
		high.Priority = 1
		if own {
			high.Identity = "b"
		}
		j := w.do(low)
		w.do(high)
		w.do(high)
		began, served := w.now, []string{}
		for w.placed[j.Ticket] == nil {
			if x := w.finishOne(same); x.Scope == "high" {
				w.do(high)
			}
			for _, x := range w.placed {
				served = append(served, x.Scope)
			}
			if len(served) > 100 {
				t.Fatalf("own identity %v: the low one never runs", own)
			}
		}
		// Each request takes a second, and one that runs is not cut.
		if took := w.now - began; len(served) < 5 || took < 10*time.Second || took > 13*time.Second {
			t.Errorf("own identity %v: the low one waited %s, served before: %v", own, took, served)
		}
	}
}

// TestWhoMakesRoomInAFullQueue fills the queue and lets one more come.
func TestWhoMakesRoomInAFullQueue(t *testing.T) {
	low := of("low", 1)
	low.Priority = -1
	other := Request{Identity: "b", Scope: "other"}
	urgent := Request{Identity: "c", Scope: "urgent", Priority: 1}
	for name, c := range map[string]struct {
		queue  []Request
		comes  Request
		victim string // "" is nobody: what comes is turned away
	}{
		"the scope with most":              {[]Request{of("x", 1), of("x", 1), of("x", 1), of("y", 1)}, of("y", 1), "x"},
		"not for its own":                  {[]Request{of("x", 1), of("x", 1), of("x", 1), of("y", 1)}, of("x", 1), ""},
		"by weight":                        {[]Request{of("x", 4), of("x", 4), of("x", 4), of("y", 1)}, of("y", 1), ""},
		"the identity with most":           {[]Request{of("x", 1), of("x", 1), of("y", 1), of("x", 1)}, other, "x"},
		"a lower priority":                 {[]Request{other, low, other, other}, of("x", 1), "low"},
		"of any identity":                  {[]Request{other, low, other, other}, urgent, "low"},
		"whoever has no priority":          {[]Request{other, of("x", 1), of("x", 1), of("x", 1)}, urgent, "x"},
		"not the higher, though it is one": {[]Request{urgent, urgent, urgent, urgent}, low, ""},
	} {
		w := newWorld(t, Options{Quantum: time.Second, Queue: len(c.queue)}) // and no worker
		for _, r := range c.queue {
			w.do(r)
		}
		before := len(w.queued)
		j := w.do(c.comes)
		left := map[string]int{}
		for _, q := range w.queued {
			left[q.Scope]++
		}
		for _, r := range c.queue {
			left[r.Scope]--
		}
		if j != nil {
			left[c.comes.Scope]--
		}
		switch {
		case (j != nil) != (c.victim != "") || len(w.queued) != before:
			t.Errorf("%s: admitted %v, %d wait", name, j != nil, len(w.queued))
		case j != nil && left[c.victim] != -1:
			t.Errorf("%s: gone are %v", name, left)
		}
	}
}
