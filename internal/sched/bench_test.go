package sched

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// BenchmarkDecide runs 64 workers of 8 slots under 5,000 requests a second for
// 10,000 identities (Zipf) in virtual time. An operation is one request: its
// arrival, its finish and the decision after each, updates included.
func BenchmarkDecide(b *testing.B) {
	const workers, slots, identities, perSecond = 64, 8, 10_000, 5000
	for _, load := range []struct {
		name  string
		holds time.Duration // a request's slot
	}{{"light", 50 * time.Millisecond}, {"overload", 400 * time.Millisecond}} {
		b.Run(load.name, func(b *testing.B) {
			s := New(Options{Quantum: 2 * time.Second, Spread: 200 * time.Millisecond, Queue: 100_000})
			for id := range workers {
				s.Up(id, slots, fmt.Sprint(id/8), 0)
			}
			rng := rand.New(rand.NewPCG(1, 1))
			zipf := rand.NewZipf(rng, 1.1, 1, identities-1)
			names := make([]Identity, identities)
			for i := range names {
				names[i] = Identity(fmt.Sprintf("%064x@1", i))
			}
			type end struct {
				at     Time
				ticket Ticket
			}
			var now Time
			var running []end // in order of time: all take the same
			place := func() {
				actions, _ := s.Decide(now)
				for _, a := range actions {
					running = append(running, end{now + load.holds, a.Ticket})
				}
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				now += time.Second / perSecond
				for len(running) > 0 && running[0].at <= now {
					s.Finish(running[0].ticket, Usage{Prompt: 100, Completion: 20}, now)
					running = running[1:]
					place()
				}
				s.Arrive(Request{Ticket: Ticket(i + 1), Identity: names[zipf.Uint64()], Since: now, Chain: talk(rng.Uint64N(1000), 3)}, now)
				place()
			}
			b.ReportMetric(float64(s.Waiting()), "waiting")
		})
	}
}
