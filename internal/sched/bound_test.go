package sched

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// The property tests run random traffic in virtual time. The world checks every
// single decision; here are the promises that span many.

const (
	swapTime = 20 * time.Millisecond
	longest  = 3 * time.Second // of a generation

	aging   = 2 * time.Second
	urgency = 1 // priorities are from -urgency to urgency
)

// traffic is random load on a world.
type traffic struct {
	*checked
	rng     *rand.Rand
	flows   []Request
	rates   []float64 // requests a second
	stop    Time      // no arrivals after it
	cancels float64   // the share of requests whose clients leave
}

// wait is what a flow has seen since it last was given something.
type wait struct {
	since Time
	ahead map[flowKey]bool // flows that were given a worker meanwhile
}

// fixed are turns and spreading as somebody set them.
var fixed = Options{Quantum: time.Second, ScaleOutAfter: 100 * time.Millisecond}

func newTraffic(t *testing.T, rng *rand.Rand, opts Options, devices, queue int) *traffic {
	opts.Queue, opts.Aging = queue, aging
	tr := &traffic{
		checked: newWorld(t, opts),
		rng:     rng, stop: time.Minute,
	}
	tr.ended = tr.end
	tr.length = func(*job) time.Duration { return swapTime + Time(tr.rng.Float64()*float64(longest-swapTime)) }
	for id := range 1 + rng.IntN(4) {
		tr.Up(id, 1+rng.IntN(4), fmt.Sprint(rng.IntN(devices)))
	}
	for i := range 2 + rng.IntN(8) {
		r := Request{Identity: Identity(fmt.Sprint("f", i)), Weight: []float64{1, 1, 0.5, 2}[rng.IntN(4)]}
		if rng.IntN(8) == 0 {
			r.Exclusive = true
		}
		if rng.IntN(3) == 0 {
			r.Priority = rng.IntN(2*urgency+1) - urgency
		}
		if rng.IntN(8) == 0 {
			r.MaxConcurrency = 1 + rng.IntN(2)
		}
		tr.flows = append(tr.flows, r)
		tr.rates = append(tr.rates, 0.1+2*rng.Float64())
	}
	tr.rates[0] *= 20 // a flood
	for i := range tr.flows {
		tr.soon(i)
	}
	return tr
}

// soon has the flow's next request arrive.
func (tr *traffic) soon(flow int) {
	at := tr.Now() + Time(tr.rng.ExpFloat64()/tr.rates[flow]*float64(time.Second))
	if at < tr.stop {
		tr.At(at, func() { tr.arrival(flow) })
	}
}

// step lets what is next happen; false is the end.
func (tr *traffic) step() bool {
	tr.log = tr.log[:0]
	return tr.Step()
}

func (tr *traffic) arrival(flow int) {
	tr.soon(flow)
	r := tr.flows[flow]
	r.Namespace = fmt.Sprint(tr.rng.IntN(3))
	r.NamespaceWeight = []float64{0, 1, 0.2, 2}[tr.rng.IntN(4)]
	if tr.rng.IntN(10) == 0 {
		r.Priority = tr.rng.IntN(2*urgency+1) - urgency
	}
	if tr.rng.IntN(2) == 0 {
		r.PrefixHashes = talk(uint64(tr.rng.IntN(20)), 1+tr.rng.IntN(4))
	}
	j := tr.arrive(r)
	if j != nil && tr.rng.Float64() < tr.cancels {
		tr.Leave(j)
	}
}

func (tr *traffic) end(j *job) {
	if tr.rng.Float64() < tr.cancels {
		tr.s.Taint(j.Ticket)
	}
	tokens := int((tr.Now() - j.Started) / (10 * time.Millisecond))
	reading := min(swapTime, tr.Now()-j.Started)
	tr.Finish(j, Usage{Prompt: 100, Completion: tokens, Reading: reading, Generating: tr.Now() - j.Started - reading})
}

// TestWaitsAreBounded is the third promise: a flow that has requests gets a
// worker after those ahead of it had one each, a quantum and a drain long, after
// it has stood back for what it took itself and for what has a higher priority;
// however hot the others are.
func TestWaitsAreBounded(t *testing.T) {
	for name, opts := range map[string]Options{"fixed": fixed, "auto": auto, "auto, together": mps} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			worst := 0.0
			for i, rng := range seeds(100) {
				tr := newTraffic(t, rng, opts, 2, 200)
				waits := map[flowKey]*wait{}
				for tr.step() {
					worst = max(worst, tr.follow(t, i, waits))
				}
				if len(tr.Queued)+len(tr.Placed) > 0 {
					t.Fatalf("seed %d: %d wait and %d run at the end", i, len(tr.Queued), len(tr.Placed))
				}
			}
			t.Logf("the longest wait was %.0f %% of its bound", 100*worst)
		})
	}
}

// follow keeps what each flow waits for up to date, after a step. It returns the
// longest wait that has just ended, in units of its bound.
func (tr *traffic) follow(t *testing.T, seed int, waits map[flowKey]*wait) (worst float64) {
	given := map[flowKey]bool{}
	for _, a := range tr.log {
		j := tr.Placed[a.Ticket]
		key := flowKey{j.Identity, j.Exclusive}
		given[key] = true
		for other, w := range waits {
			if other != key {
				w.ahead[key] = true
			}
		}
	}
	for _, r := range tr.flows {
		key := flowKey{r.Identity, r.Exclusive}
		f := tr.s.queue.flows[key]
		waiting := f != nil && f.waiting > 0 && f.running == 0
		w := waits[key]
		if w != nil && (given[key] || !waiting) {
			limit := tr.bound(r, len(w.ahead))
			if took := tr.Now() - w.since; took > limit {
				t.Fatalf("seed %d: %q waited %s behind %d others, the bound is %s", seed, r.Identity, took, len(w.ahead), limit)
			} else {
				worst = max(worst, float64(took)/float64(limit))
			}
			delete(waits, key)
		}
		if waiting && waits[key] == nil {
			waits[key] = &wait{since: tr.Now(), ahead: map[flowKey]bool{}}
		}
	}
	return worst
}

// bound is what docs/scheduling.md promises for a flow that nothing runs of and
// that saw so many others served: their turns, on as many workers as there are,
// and one that was under way; a turn for its own deficit; and the aging that the
// highest priority has of the lowest.
func (tr *traffic) bound(r Request, ahead int) time.Duration {
	workers := len(tr.Workers)
	turns := 1 + (ahead+workers-1)/workers
	heaviest := 4.0
	quantum := tr.s.fleet.longestQuantum()
	turn := time.Duration(heaviest*float64(quantum)) + longest
	deficit := quantum + longest
	return time.Duration(turns)*turn + deficit + 2*urgency*aging
}

// TestNothingIsLost lets workers come and go and clients leave: every request
// ends, and the scheduler's books are empty at the end.
func TestNothingIsLost(t *testing.T) {
	t.Parallel()
	for i, rng := range seeds(100) {
		tr := newTraffic(t, rng, []Options{fixed, auto, mps}[i%3], 3,
			[]int{200, 1 + i%12}[i%2]) // where it is short, somebody is pushed out all the time
		tr.cancels = 0.2
		for tr.step() || tr.resumeAll() {
			switch id := rng.IntN(len(tr.Workers)); rng.IntN(60) {
			case 0:
				tr.restart(id)
			case 1:
				tr.s.Suspend(id, tr.Now())
			default:
				tr.s.Resume(id, tr.Now())
			}
			tr.Decide()
		}
		if tr.s.Waiting() > 0 || len(tr.s.running) > 0 || tr.s.queue.anyWaits() || tr.s.queue.missing.Len() > 0 ||
			tr.s.queue.longest.Len() > 0 {
			t.Fatalf("seed %d: %d wait, %d run at the end", i, tr.s.Waiting(), len(tr.s.running))
		}
		for _, w := range tr.s.fleet.list {
			if w.inFlight != 0 || w.device.inFlight != 0 || w.unused.IdleLen() != len(w.slots) {
				t.Fatalf("seed %d: worker %d has %d in flight, its device %d, %d free slots of %d",
					i, w.id, w.inFlight, w.device.inFlight, w.unused.IdleLen(), len(w.slots))
			}
		}
	}
}

// resumeAll ends every Suspend and reports whether somebody waited for that.
func (tr *traffic) resumeAll() bool {
	for id := range len(tr.Workers) {
		tr.s.Resume(id, tr.Now())
	}
	waiting := tr.s.Waiting()
	tr.Decide()
	return waiting > 0
}

// restart replaces a worker; what ran on it comes again.
func (tr *traffic) restart(id int) {
	slots := tr.Workers[id].Slots
	lost := tr.Down(id)
	tr.Up(id, slots, fmt.Sprint(tr.rng.IntN(3)))
	for _, j := range lost {
		again := j.Request
		again.Again = true
		tr.arrive(again)
	}
}
