// Package sched decides which waiting request runs on which worker. It is
// pure: no goroutines, no clock, no processes. The pool asks it whenever
// something changed and carries out what it answers.
package sched

// Identity says what must be in force on a worker to serve a request: the
// plain base, one adapter at a scale, or a sum of adapters. Equal identities
// give equal answers; it is opaque here.
type Identity string

// Base is the identity of the base model with no adapter.
const Base Identity = ""

// Ticket numbers a waiting request; it is unique and never 0.
type Ticket uint64

// Request is one waiting request.
type Request struct {
	Ticket   Ticket
	Identity Identity
	// Whole asks for a worker with nothing else on it, for requests whose slots
	// llama-server picks by itself.
	Whole bool
}

// Worker is what a decision needs to know of one worker that can serve.
type Worker struct {
	ID       int
	Applied  Identity // in force, or about to be
	InFlight int      // leases out
	Free     int      // slots that a new lease could take; 0 while a Whole request runs
	// Reserved is the request this worker drains for: it takes no others until
	// that one runs on it or leaves the queue. 0 is none.
	Reserved Ticket
}

// Kind names what to do.
type Kind int

const (
	// Serve runs the request where its identity is already applied.
	Serve Kind = iota
	// Swap applies the request's identity on an idle worker and runs it there.
	Swap
	// Reserve closes the worker to others until the request can run on it.
	Reserve
	// Open takes a reservation back whose request is gone.
	Open
)

// Action is one thing to do, in the order of the slice that Decide returns.
type Action struct {
	Kind   Kind
	Ticket Ticket // not set for Open
	Worker int    // Worker.ID
}

// Decide places waiting requests, first come first served.
//
// queue is in order of arrival; workers lists those that can serve, least
// recently used first, so the first idle one is the one to swap. Neither is
// changed.
//
// A request joins a worker where its identity is applied, else swaps an idle
// one. Everything that can be placed is placed first, so that requests of one
// identity run as one batch. Then each identity that is left waiting, oldest
// first, reserves one busy worker, which drains: newcomers cannot overtake
// forever, and the wait is bounded by the generations running now for each
// identity ahead.
func Decide(queue []Request, workers []Worker) []Action {
	d := decision{
		queue:    queue,
		workers:  append([]Worker(nil), workers...),
		byTicket: make(map[Ticket]Request, len(queue)),
	}
	for _, r := range queue {
		d.byTicket[r.Ticket] = r
	}
	d.openStale()
	waiting := d.place()
	d.reserve(waiting)
	return d.actions
}

// decision is the state of one call of Decide.
type decision struct {
	queue    []Request
	workers  []Worker
	byTicket map[Ticket]Request
	actions  []Action
}

func (d *decision) openStale() {
	for i := range d.workers {
		w := &d.workers[i]
		if _, waits := d.byTicket[w.Reserved]; w.Reserved != 0 && !waits {
			w.Reserved = 0
			d.actions = append(d.actions, Action{Kind: Open, Worker: w.ID})
		}
	}
}

// place starts every request that can start and returns the others.
func (d *decision) place() []Request {
	var waiting []Request
	for _, r := range d.queue {
		w := d.find(r)
		if w == nil {
			waiting = append(waiting, r)
			continue
		}
		kind := Serve
		if w.Applied != r.Identity {
			kind = Swap
		}
		d.actions = append(d.actions, Action{Kind: kind, Ticket: r.Ticket, Worker: w.ID})
		w.Applied = r.Identity
		w.InFlight++
		w.Free--
		if r.Whole {
			w.Free = 0
		}
		d.settle(r)
	}
	return waiting
}

// settle ends every reservation that r held: it runs now.
func (d *decision) settle(r Request) {
	for i := range d.workers {
		if w := &d.workers[i]; w.Reserved == r.Ticket {
			w.Reserved = 0
			d.actions = append(d.actions, Action{Kind: Open, Worker: w.ID})
		}
	}
}

// find returns the worker on which r can run now, or nil.
func (d *decision) find(r Request) *Worker {
	var idle *Worker
	for i := range d.workers {
		w := &d.workers[i]
		if !d.admits(w, r) {
			continue
		}
		switch {
		case w.Applied == r.Identity && (!r.Whole || w.InFlight == 0):
			return w
		case w.InFlight == 0 && (idle == nil || w.Reserved == r.Ticket):
			idle = w
		}
	}
	return idle
}

// admits reports whether w has room for r and is not kept for somebody else.
// A reservation lets requests of its own identity in, for they run in the same
// batch, unless it needs the worker whole.
func (d *decision) admits(w *Worker, r Request) bool {
	if w.Free == 0 {
		return false
	}
	if w.Reserved == 0 || w.Reserved == r.Ticket {
		return true
	}
	holder := d.byTicket[w.Reserved]
	return holder.Identity == r.Identity && w.Applied == r.Identity && !holder.Whole && !r.Whole
}

// reserve drains one worker for each identity that waits, oldest first.
func (d *decision) reserve(waiting []Request) {
	served := make(map[Identity]bool)
	for i := range d.workers {
		if t := d.workers[i].Reserved; t != 0 {
			served[d.byTicket[t].Identity] = true
		}
	}
	for _, r := range waiting {
		if served[r.Identity] {
			continue
		}
		w := d.leastBusy()
		if w == nil {
			return
		}
		w.Reserved = r.Ticket
		served[r.Identity] = true
		d.actions = append(d.actions, Action{Kind: Reserve, Ticket: r.Ticket, Worker: w.ID})
	}
}

// leastBusy returns the worker that will be idle soonest, as far as the number
// of its generations tells, or nil when all are reserved. Of equals it takes
// the least recently used.
func (d *decision) leastBusy() *Worker {
	var best *Worker
	for i := range d.workers {
		if w := &d.workers[i]; w.Reserved == 0 && (best == nil || w.InFlight < best.InFlight) {
			best = w
		}
	}
	return best
}
