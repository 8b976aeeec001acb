package sched

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

func req(t Ticket, id Identity) Request   { return Request{Ticket: t, Identity: id} }
func whole(t Ticket, id Identity) Request { return Request{Ticket: t, Identity: id, Whole: true} }

func TestDecide(t *testing.T) {
	idle := func(id int, applied Identity) Worker { return Worker{ID: id, Applied: applied, Free: 4} }
	busy := func(id int, applied Identity, n int) Worker {
		return Worker{ID: id, Applied: applied, InFlight: n, Free: 4 - n}
	}
	reserved := func(w Worker, t Ticket) Worker { w.Reserved = t; return w }
	tests := []struct {
		name    string
		queue   []Request
		workers []Worker
		want    []Action
	}{
		{"nothing waits", nil, []Worker{idle(0, "a")}, nil},
		{"joins where it is applied", []Request{req(1, "a")}, []Worker{idle(1, ""), busy(0, "a", 2)}, []Action{{Serve, 1, 0}}},
		{"swaps the least recently used", []Request{req(1, "c")}, []Worker{idle(1, "b"), idle(0, "a")}, []Action{{Swap, 1, 1}}},
		{"the base is an identity like others", []Request{req(1, Base)}, []Worker{idle(0, "a"), idle(1, Base)}, []Action{{Serve, 1, 1}}},
		{"a batch runs together", []Request{req(1, "a"), req(2, "b"), req(3, "a")}, []Worker{idle(0, "")},
			[]Action{{Swap, 1, 0}, {Serve, 3, 0}, {Reserve, 2, 0}}},
		{"no more than there are slots", []Request{req(1, "a"), req(2, "a")}, []Worker{busy(0, "a", 3)},
			[]Action{{Serve, 1, 0}, {Reserve, 2, 0}}},
		{"the least busy one drains", []Request{req(1, "c")}, []Worker{busy(0, "a", 3), busy(1, "b", 1)}, []Action{{Reserve, 1, 1}}},
		{"one drains for an identity", []Request{req(1, "c"), req(2, "c")}, []Worker{busy(0, "a", 3), busy(1, "b", 1)}, []Action{{Reserve, 1, 1}}},
		{"a drained worker takes no newcomers", []Request{req(1, "c"), req(2, "a")}, []Worker{reserved(busy(0, "a", 1), 1), busy(1, "b", 4)},
			[]Action{{Reserve, 2, 1}}},
		{"a drained worker goes to its request", []Request{req(1, "c"), req(2, "a")}, []Worker{reserved(idle(0, "a"), 1)},
			[]Action{{Swap, 1, 0}, {Open, 0, 0}, {Reserve, 2, 0}}},
		{"its request went elsewhere", []Request{req(1, "c")}, []Worker{reserved(busy(0, "a", 1), 1), idle(1, "b")},
			[]Action{{Swap, 1, 1}, {Open, 0, 0}}},
		{"its request left", []Request{req(2, "a")}, []Worker{reserved(busy(0, "a", 1), 1)},
			[]Action{{Open, 0, 0}, {Serve, 2, 0}}},
		{"whole waits for the others", []Request{whole(1, "a")}, []Worker{busy(0, "a", 1)}, []Action{{Reserve, 1, 0}}},
		{"whole takes an idle one", []Request{whole(1, "a"), req(2, "a")}, []Worker{idle(0, "a")},
			[]Action{{Serve, 1, 0}, {Reserve, 2, 0}}},
		{"nobody slips in before a whole one", []Request{whole(1, "a"), req(2, "a")}, []Worker{reserved(busy(0, "a", 1), 1)}, nil},
		{"no workers", []Request{req(1, "a")}, nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Decide(tt.queue, tt.workers); !slices.Equal(got, tt.want) {
				t.Errorf("got  %v\nwant %v", got, tt.want)
			}
		})
	}
}

// world plays Decide's decisions on imaginary workers in virtual time.
type world struct {
	workers  []Worker
	running  [][]run // by worker
	queue    []Request
	next     Ticket
	ahead    map[Ticket]int // how many waited when it came
	arrived  map[Ticket]int
	longest  int
	now      int
	finished int
}

type run struct {
	ticket   Ticket
	identity Identity
	until    int
	whole    bool
}

func (w *world) arrive(id Identity, whole bool) {
	w.next++
	w.ahead[w.next], w.arrived[w.next] = len(w.queue), w.now
	w.queue = append(w.queue, Request{Ticket: w.next, Identity: id, Whole: whole})
}

// step carries out one decision and returns what breaks a rule.
func (w *world) step(rng *rand.Rand) error {
	for _, a := range Decide(w.queue, w.workers) {
		i := slices.IndexFunc(w.workers, func(x Worker) bool { return x.ID == a.Worker })
		m := &w.workers[i]
		switch a.Kind {
		case Open:
			m.Reserved = 0
			continue
		case Reserve:
			m.Reserved = a.Ticket
			continue
		}
		q := slices.IndexFunc(w.queue, func(r Request) bool { return r.Ticket == a.Ticket })
		r := w.queue[q]
		w.queue = slices.Delete(w.queue, q, q+1)
		if a.Kind == Swap && m.InFlight > 0 {
			return fmt.Errorf("swap on a busy worker: %v", a)
		}
		if a.Kind == Serve && m.Applied != r.Identity {
			return fmt.Errorf("%v served under %q", r, m.Applied)
		}
		if m.Free == 0 || r.Whole && m.InFlight > 0 {
			return fmt.Errorf("no room for %v on %v", r, *m)
		}
		m.Applied = r.Identity
		m.InFlight++
		m.Free--
		if r.Whole {
			m.Free = 0
		}
		w.running[m.ID] = append(w.running[m.ID], run{r.Ticket, r.Identity, w.now + 1 + rng.IntN(w.longest), r.Whole})
		if waited := w.now - w.arrived[r.Ticket]; waited > w.bound(r) {
			return fmt.Errorf("%v waited %d, more than %d", r, waited, w.bound(r))
		}
	}
	return nil
}

// bound is how long a request may wait: requests ahead of it take turns of one
// generation at most, as many at once as a worker has slots, and so does it.
func (w *world) bound(r Request) int { return (w.ahead[r.Ticket] + 1) * w.longest }

func (w *world) tick(slots int) {
	w.now++
	for i := range w.workers {
		m := &w.workers[i]
		runs := &w.running[m.ID]
		before := len(*runs)
		*runs = slices.DeleteFunc(*runs, func(r run) bool { return r.until <= w.now })
		w.finished += before - len(*runs)
		m.InFlight = len(*runs)
		m.Free = slots - m.InFlight
		if slices.ContainsFunc(*runs, func(r run) bool { return r.whole }) {
			m.Free = 0
		}
	}
}

// TestNobodyStarves floods two workers with one identity and checks, in virtual
// time, that others get their turn and that no rule is broken.
func TestNobodyStarves(t *testing.T) {
	const slots = 4
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		w := &world{longest: 10, ahead: map[Ticket]int{}, arrived: map[Ticket]int{}, running: make([][]run, 2)}
		for id := range 2 {
			w.workers = append(w.workers, Worker{ID: id, Free: slots})
		}
		for range 3000 {
			if len(w.queue) < 12 {
				w.arrive("hot", false)
			}
			if rng.IntN(10) == 0 {
				w.arrive(Identity(fmt.Sprint(rng.IntN(5))), rng.IntN(10) == 0)
			}
			if err := w.step(rng); err != nil {
				t.Fatalf("seed %d, at %d: %v", seed, w.now, err)
			}
			w.tick(slots)
		}
		for _, r := range w.queue {
			if waited := w.now - w.arrived[r.Ticket]; waited > w.bound(r) {
				t.Errorf("seed %d: %v still waits after %d", seed, r, waited)
			}
		}
		if w.finished < 1000 {
			t.Errorf("seed %d: only %d requests ended", seed, w.finished)
		}
	}
}
