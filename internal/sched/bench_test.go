package sched

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// BenchmarkDecide runs 64 workers of 8 slots under 5,000 requests a second for
// 10,000 identities (Zipf) in virtual time, with turns by what is learnt. An operation is
// one request: its arrival, its finish and the decision after each, updates included.
func BenchmarkDecide(b *testing.B) {
	const workers, slots, identities, perSecond = 64, 8, 10_000, 5000
	for _, load := range []struct {
		name  string
		holds time.Duration // a request's slot
	}{{"light", 50 * time.Millisecond}, {"overload", 400 * time.Millisecond}} {
		b.Run(load.name, func(b *testing.B) {
			s := New(Options{Quantum: Auto, ScaleOutAfter: Auto, Queue: 100_000, Adjacent: true})
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
					s.Finish(running[0].ticket, Usage{Prompt: 100, Completion: 20, Reading: load.holds / 5,
						Generating: load.holds * 4 / 5}, now)
					running = running[1:]
					place()
				}
				s.Arrive(Request{Ticket: Ticket(i + 1), Identity: names[zipf.Uint64()], Since: now,
					PrefixHashes: talk(rng.Uint64N(1000), 3)}, now)
				place()
			}
			b.ReportMetric(float64(s.Waiting()), "waiting")
		})
	}
}

// BenchmarkDecideWithReloads is BenchmarkDecide for 10,000 files of which a worker
// holds 100: processes come and go all the time.
func BenchmarkDecideWithReloads(b *testing.B) {
	const workers, slots, files, perSecond, holds = 64, 8, 10_000, 1000, 50 * time.Millisecond
	s := New(Options{Quantum: 2 * time.Second, ScaleOutAfter: 200 * time.Millisecond, Queue: 100_000, MaxLoaded: 100,
		ReloadInterval: time.Second, Workers: workers})
	list := stockOf(files)
	s.SetStock(list, 0)
	for id := range workers {
		s.Plan(id, 0)
		s.Up(id, slots, fmt.Sprint(id/8), 0)
	}
	zipf := rand.NewZipf(rand.New(rand.NewPCG(1, 1)), 1.1, 1, files-1)
	type end struct {
		at     Time
		ticket Ticket
		worker int // to come up, if ticket is 0
	}
	var now Time
	var running []end
	later := func(e end) {
		at, _ := slices.BinarySearchFunc(running, e, func(a, b end) int { return cmp.Compare(a.at, b.at) })
		running = slices.Insert(running, at, e)
	}
	decide := func() {
		actions, _ := s.Decide(now)
		for _, a := range actions {
			if a.Kind != Reload {
				later(end{now + holds, a.Ticket, a.Worker})
				continue
			}
			s.Down(a.Worker, now)
			s.Plan(a.Worker, now)
			later(end{now + startTime, 0, a.Worker})
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		now += time.Second / perSecond
		for len(running) > 0 && running[0].at <= now {
			e := running[0]
			running = running[1:]
			if e.ticket == 0 {
				s.Up(e.worker, slots, fmt.Sprint(e.worker/8), now)
			} else {
				s.Finish(e.ticket, Usage{Prompt: 100, Completion: 20}, now)
			}
			decide()
		}
		f := list[zipf.Uint64()].File
		s.Arrive(Request{Ticket: Ticket(i + 1), Identity: Identity(f), Files: []File{f}, Since: now}, now)
		decide()
	}
	b.ReportMetric(float64(s.counts.Reloads), "reloads")
	b.ReportMetric(100*float64(s.counts.Hits)/float64(s.counts.Hits+s.counts.Misses), "%hits")
}

// BenchmarkGiveUp looks for the worker to give up, as it happens once a reload,
// with 10,000 requests that wait for as many files of which nobody has one. None
// is found in the other case, where all workers would have to be looked at.
func BenchmarkGiveUp(b *testing.B) {
	const workers, slots, files = 64, 8, 10_000
	for _, futile := range []bool{false, true} {
		b.Run(fmt.Sprintf("futile=%v", futile), func(b *testing.B) {
			s := New(Options{Quantum: 2 * time.Second, Queue: 100_000, MaxLoaded: 100, ReloadInterval: time.Second,
				Workers: workers})
			list := stockOf(2 * files)
			s.SetStock(list, 0)
			for id := range workers {
				s.Plan(id, 0)
				s.Up(id, slots, "gpu", 0)
			}
			for i := range files {
				file := list[files+i].File
				if futile {
					s.Quarantine(file)
				}
				s.Arrive(Request{Ticket: Ticket(i + 1), Identity: Identity(file), Files: []File{file}}, 0)
			}
			b.ReportAllocs()
			for b.Loop() {
				if w, any := s.residency.Victim(time.Second); any == futile {
					b.Fatalf("gives up %d", w)
				}
			}
		})
	}
}
