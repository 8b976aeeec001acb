package sched

import (
	"testing"
	"time"
)

// checkLanes compares a flow's lanes with its queue.
func (f *flow) checkLanes(t testing.TB) {
	if place, leads := f.reckon(); f.waiting > 0 && (f.position != place || f.leads != leads) {
		t.Fatalf("flow %q: its place is %s by priority %d, and should be %s by %d", f.key.identity, f.position, f.leads,
			place, leads)
	}
	in, last := 0, map[*lane]*request{}
	for r := f.head; r != nil; r = r.next {
		l := r.lane
		if before := last[l]; before != nil && before.Since > r.Since || l.namespace != r.Namespace ||
			l.priority != r.Priority || l.inBand == 0 {
			t.Fatalf("flow %q: %+v is in the lane %+v", f.key.identity, r.Request, l.laneKey)
		}
		last[l] = r
		in++
	}
	waiting := 0
	for i, c := range f.lanes.bands {
		checkHeap(t, &c.lanes)
		if i > 0 && f.lanes.bands[i-1].priority <= c.priority {
			t.Fatalf("flow %q: its classes are not in order", f.key.identity)
		}
	}
	for _, l := range f.lanes.byKey {
		waiting += len(l.queue)
		if (len(l.queue) > 0) != (l.inBand > 0) {
			t.Fatalf("flow %q: a lane of %d is at %d of its class", f.key.identity, len(l.queue), l.inBand)
		}
	}
	if in != f.waiting || waiting != in {
		t.Fatalf("flow %q: %d wait, %d in its queue, %d in its lanes", f.key.identity, f.waiting, in, waiting)
	}
}

// of is a request of a tenant for one identity.
func of(namespace string, weight float64) Request {
	return Request{Identity: "a", Namespace: namespace, NamespaceWeight: weight}
}

// lanesWorld has one worker with one slot, so that the order can be seen.
func lanesWorld(t *testing.T) *checked {
	w := newWorld(t, Options{Quantum: time.Second, Queue: 100, Aging: 10 * time.Second})
	w.Up(0, 1, "gpu")
	return w
}

// finishOne ends what runs, which took so many tokens and a second, and returns it.
func (w *checked) finishOne(tokens func(*job) int) *job {
	w.t.Helper()
	for _, j := range w.Placed {
		w.Pass(time.Second)
		w.finish(j, Usage{Completion: tokens(j)})
		return j
	}
	w.t.Fatal("nothing runs")
	return nil
}

func same(*job) int { return 10 }

func TestFloodOfOneNamespaceDoesNotDelayAnother(t *testing.T) {
	w := lanesWorld(t)
	for range 50 {
		w.do(of("flood", 1))
	}
	w.finishOne(same)
	j := w.do(of("other", 1))
	if w.finishOne(same); w.Placed[j.Ticket] == nil {
		t.Fatal("it waits behind the others' requests")
	}
}

// TestNamespacesShareByWeightAndTokens lets three namespaces ask for more than there is,
// one with a double weight and one with answers four times as long.
func TestNamespacesShareByWeightAndTokens(t *testing.T) {
	w := lanesWorld(t)
	given := map[string]int{}
	tokens := func(j *job) int {
		n := 10
		if j.Namespace == "long" {
			n = 40
		}
		given[j.Namespace] += n
		return n
	}
	namespaces := []Request{of("long", 1), of("short", 1), of("heavy", 2)}
	for _, r := range namespaces {
		for range 5 {
			w.do(r)
		}
	}
	for range 400 {
		j := w.finishOne(tokens)
		w.do(j.Request)
	}
	if long, short, heavy := given["long"], given["short"], given["heavy"]; abs(long-short) > 80 ||
		abs(heavy-2*short) > 80 {
		t.Errorf("long answers got %d tokens, short ones %d, those of double weight %d", long, short, heavy)
	}
}

func abs(n int) int { return max(n, -n) }

// TestNamespaceThatComesBackHasNoClaim: who was away does not get everything.
func TestNamespaceThatComesBackHasNoClaim(t *testing.T) {
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
		served[w.finishOne(same).Namespace]++
	}
	if abs(served["here"]-served["away"]) > 2 {
		t.Errorf("served %v", served)
	}
}

// TestPriorities: higher ones go first, within an identity and between identities,
// but what is lower is served when it has waited for its aging.
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
		began, served := w.Now(), []string{}
		for w.Placed[j.Ticket] == nil {
			if x := w.finishOne(same); x.Namespace == "high" {
				w.do(high)
			}
			for _, x := range w.Placed {
				served = append(served, x.Namespace)
			}
			if len(served) > 100 {
				t.Fatalf("own identity %v: the low one never runs", own)
			}
		}
		// Each request takes a second, and one that runs is not cut.
		if took := w.Now() - began; len(served) < 5 || took < 10*time.Second || took > 13*time.Second {
			t.Errorf("own identity %v: the low one waited %s, served before: %v", own, took, served)
		}
	}
}

// TestWhoMakesRoomInAFullQueue fills the queue and lets one more come.
func TestWhoMakesRoomInAFullQueue(t *testing.T) {
	low := of("low", 1)
	low.Priority = -1
	other := Request{Identity: "b", Namespace: "other"}
	urgent := Request{Identity: "c", Namespace: "urgent", Priority: 1}
	for name, c := range map[string]struct {
		queue  []Request
		comes  Request
		victim string // "" is nobody: what comes is turned away
	}{
		"the namespace with most":          {[]Request{of("x", 1), of("x", 1), of("x", 1), of("y", 1)}, of("y", 1), "x"},
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
		before := len(w.Queued)
		j := w.do(c.comes)
		left := map[string]int{}
		for _, q := range w.Queued {
			left[q.Namespace]++
		}
		for _, r := range c.queue {
			left[r.Namespace]--
		}
		if j != nil {
			left[c.comes.Namespace]--
		}
		switch {
		case (j != nil) != (c.victim != "") || len(w.Queued) != before:
			t.Errorf("%s: admitted %v, %d wait", name, j != nil, len(w.Queued))
		case j != nil && left[c.victim] != -1:
			t.Errorf("%s: gone are %v", name, left)
		}
	}
}

// TestWhoPushesItsOwnFlowOut has one request wait, which goes for one of the same
// identity: that one is served, and nothing is restarted for it.
func TestWhoPushesItsOwnFlowOut(t *testing.T) {
	w := newWorld(t, Options{Quantum: time.Second, Queue: 1})
	low := of("x", 1)
	low.Priority = -1
	w.do(low)
	j := w.do(of("y", 1))
	w.Up(0, 1, "gpu")
	if w.Decide(); w.Placed[j.Ticket] == nil {
		t.Error("it waits though a worker is idle")
	}
}

// flood keeps a worker of eight slots busy with one identity, for so long, and
// returns how many requests it finished. Answers take from one to three seconds.
func (w *checked) flood(r Request, span time.Duration, more func()) (finished int) {
	ends := map[Ticket]Time{}
	for until := w.Now() + span; w.Now() < until; w.Pass(100 * time.Millisecond) {
		for len(w.Queued) < 12 {
			w.do(r)
		}
		for ticket, j := range w.Placed {
			if ends[ticket] == 0 {
				ends[ticket] = w.Now() + time.Second + time.Duration(ticket%20)*100*time.Millisecond
			}
			if ends[ticket] <= w.Now() {
				w.finish(j, Usage{Completion: 10})
				finished++
			}
		}
		more()
	}
	return finished
}

// TestLowPriorityDoesNotDrainOthersInVain: the worker is preempted for it once it is
// its turn, and not before.
func TestLowPriorityDoesNotDrainOthersInVain(t *testing.T) {
	for _, priority := range []int{1, 3, 10} {
		var got [2]int
		for i := range got {
			w := newWorld(t, Options{Quantum: time.Second, Queue: 100, Aging: 10 * time.Second})
			w.Up(0, 8, "gpu")
			high := Request{Identity: "x", Namespace: "high", Priority: priority}
			w.do(high)
			var low *job
			if i == 1 {
				low = w.do(Request{Identity: "y", Namespace: "low"})
			}
			got[i] = w.flood(high, time.Duration(priority)*10*time.Second-time.Second, func() {})
			if i == 1 && w.Queued[low.Ticket] == nil {
				t.Errorf("priority %d: it does not wait for the head start", priority)
			}
			if w.flood(high, 15*time.Second, func() {}); i == 1 && w.Queued[low.Ticket] != nil {
				t.Errorf("priority %d: it still waits after the head start", priority)
			}
		}
		if got[1] < got[0]*9/10 {
			t.Errorf("priority %d: %d were finished while another waited, and %d else", priority, got[1], got[0])
		}
	}
}

// TestSamePriorityIsNone: whatever it is, if all have the same nothing changes.
func TestSamePriorityIsNone(t *testing.T) {
	waited := map[int]time.Duration{}
	for _, priority := range []int{-10, -1, 0, 5} {
		w := newWorld(t, Options{Quantum: time.Second, Queue: 100, Aging: 10 * time.Second})
		w.Up(0, 8, "gpu")
		r := Request{Identity: "x", Priority: priority}
		w.flood(r, 5*time.Second, func() {})
		other := w.do(Request{Identity: "y", Priority: priority})
		asked := w.Now()
		w.flood(r, 20*time.Second, func() {
			if w.Queued[other.Ticket] == nil && waited[priority] == 0 {
				waited[priority] = w.Now() - asked
			}
		})
		if waited[priority] == 0 || waited[priority] != waited[-10] {
			t.Errorf("with all at priority %d it waited %s, at -10 %s", priority, waited[priority], waited[-10])
		}
	}
}

// TestWeightGoesWithItsTenant: what a heavy tenant asked for once does not make an
// identity heavy that others use.
func TestWeightGoesWithItsTenant(t *testing.T) {
	w := lanesWorld(t)
	for range 3 {
		w.do(of("light", 1))
	}
	j := w.do(of("heavy", 10))
	f := w.s.queue.flows[flowKey{identity: "a"}]
	if f.weight != 10 {
		t.Errorf("with a heavy tenant the weight is %v", f.weight)
	}
	if w.leave(j); f.weight != 1 {
		t.Errorf("after it has left the weight is %v", f.weight)
	}
}

// TestWhatIsCutIsNotFree: requests of which nobody knows what they took cost what is
// usual, and those that a worker's death ended cost nothing.
func TestWhatIsCutIsNotFree(t *testing.T) {
	w := lanesWorld(t)
	for _, namespace := range []string{"cuts", "reads", "cuts", "reads"} {
		w.do(of(namespace, 1))
	}
	turns := map[string]int{}
	for range 200 {
		j := w.finishOne(func(j *job) int {
			if j.Namespace == "cuts" {
				return 0
			}
			return 50
		})
		turns[j.Namespace]++
		w.do(j.Request)
	}
	if abs(turns["cuts"]-turns["reads"]) > 20 {
		t.Errorf("turns: %v", turns)
	}
	lane := func(namespace string) *lane {
		return w.s.queue.flows[flowKey{identity: "a"}].lanes.byKey[laneKey{namespace: namespace}]
	}
	before := lane("cuts").given + lane("reads").given
	for range 5 {
		w.Up(0, 1, "gpu")
		w.do(of("reads", 1))
	}
	if after := lane("cuts").given + lane("reads").given; after > before+2*w.s.queue.usualCost {
		t.Errorf("a worker that dies costs: %.0f before, %.0f after", before, after)
	}
}
