package pool

import (
	"time"

	"github.com/loragate/loragate/internal/sched"
)

// AdapterState says what a request found on its worker.
type AdapterState string

const (
	StateWarm   AdapterState = "warm"   // its adapter was in force
	StateSwap   AdapterState = "swap"   // its adapter was put in force first
	StateReload AdapterState = "reload" // its adapter was not even loaded when it came
)

// NoSlot is the slot of a lease that has its worker whole.
const NoSlot = sched.NoSlot

// Lease is the right to run one request on one worker. Whoever acquired it must
// Release it, exactly once; more are harmless.
type Lease struct {
	Worker Runner       // use it for this request only, and not after Release
	Member int          // the worker's number in the pool, from 0
	Slot   int          // the slot to name in the request, or NoSlot
	State  AdapterState // what it took to get here
	Target Target
	Queued time.Duration // from Acquire to the grant
	// Prepared is the part of Queued in which the worker was made ready: the swap,
	// and the erasing of slots.
	Prepared time.Duration
	// SharedFate says that another worker's crash may take this one along, and Since
	// when its process was ready: one that was there when the other crashed says
	// nothing against what runs on it.
	SharedFate bool
	Since      time.Time

	owner owner // who takes it back

	// Owned by the pool's state.
	member    *member
	gen       uint64
	ticket    *ticket
	placed    time.Time
	slots     []int // what it has
	erase     []int // what must be erased before use
	usage     Usage // what it took, once released
	abandoned bool  // its client left before the grant
	granted   bool
	proven    bool // it was a suspect, and did no harm
	released  bool
}

// gone reports whether the process that the lease was for is no more.
func (l *Lease) gone() bool { return l.member.gen != l.gen }

// owner has lent a lease out.
type owner interface {
	release(l *Lease, o Outcome, u Usage)
	prove(l *Lease)
}

// Outcome says how the use of a lease ended.
type Outcome int

const (
	// Done: the worker's answer came whole.
	Done Outcome = iota
	// Cut: the request was broken off in the middle of its answer, or ended with
	// an error. Its slot stays taken until llama-server has stopped working on it.
	Cut
	// CutEarly: the request was broken off before anything of its answer came, so
	// llama-server may not even have begun: an idle slot is no proof yet.
	CutEarly
	// Failed: the worker broke off. It gets no requests until it has given a sign
	// of life, so that the same request does not meet the same dead process.
	Failed
)

// Release gives the place back and tells what was used of it, as far as it is
// known; it does not block.
func (l *Lease) Release(o Outcome, u Usage) {
	l.owner.release(l, o, u)
}

// Prove says that a suspect did no harm: its worker has begun to answer. Others may
// run beside it from now on. It does not block; for other leases it does nothing.
func (l *Lease) Prove() {
	if l.ticket.request.Suspect {
		l.owner.prove(l)
	}
}

// ticket is one request that waits or is being made ready.
type ticket struct {
	number  sched.Ticket
	request Request
	since   time.Time
	tries   int         // workers that failed while making it ready
	result  chan result // buffered: the owner never blocks on it
	lease   *Lease      // once placed
	over    bool        // it was refused, or its client left
}

// refuse is the end of a ticket that gets no lease.
func (t *ticket) refuse(err error) {
	t.over = true
	t.result <- result{err: err}
}

type result struct {
	lease *Lease
	err   error
}
