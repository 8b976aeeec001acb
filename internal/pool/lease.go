package pool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/loragate/loragate/internal/sched"
	"github.com/loragate/loragate/internal/upstream"
	"github.com/loragate/loragate/internal/worker"
)

// The words of the packages below that the pool's users need.
type (
	// Identity tells targets apart; equal ones give equal answers.
	Identity = sched.Identity
	// PrefixHashes tell conversations apart.
	PrefixHashes = sched.PrefixHashes
	// PrefixHash is one step of a PrefixHashes.
	PrefixHash = sched.PrefixHash
	// Usage is what a request took, in tokens.
	Usage = sched.Usage
	// Part is one adapter's file and the factor it is applied with.
	Part = worker.Part
	// Stock is one file that workers may have loaded.
	Stock = sched.Stock
	// File names an adapter's file by its path.
	File = sched.File
	// Facts are what a worker tells of its model.
	Facts = worker.Facts
)

// Base is the identity of the plain base model.
const Base = sched.Base

// Auto, as Options.Quantum or Options.ScaleOutAfter, is by what things have been measured to
// cost.
const Auto = sched.Auto

// Target is what a request wants to run under.
type Target struct {
	Identity Identity
	Parts    []Part // none for the plain base
	// Weight is its share against other targets, 1 if 0.
	Weight float64
	// MaxConcurrency bounds how many of its requests run at once; 0 is no bound.
	MaxConcurrency int
}

// files are what a worker must have loaded to serve the target.
func (t Target) files() []sched.File {
	var files []sched.File
	for _, p := range t.Parts {
		files = append(files, sched.File(p.Path))
	}
	return files
}

// Request asks for a place on a worker.
type Request struct {
	Target    Target
	Namespace string // whose KV it leaves; requests of different namespaces share none
	// NamespaceWeight is the namespace's share against others, 1 if 0, and Priority goes
	// before that: see sched.Request.
	NamespaceWeight float64
	Priority        int
	// Turn, if not "", is whose turns it takes among those that wait: see sched.Request.
	Turn string
	// Exclusive asks for a worker with nothing else on it and clean slots: for
	// requests whose slots llama-server picks by itself.
	Exclusive bool
	// PrefixHashes is the conversation that it continues, if any.
	PrefixHashes PrefixHashes
	// Again is when the request was first asked for, if it runs once more because
	// its worker failed. It keeps its place in the order and is not refused for a
	// full queue.
	Again time.Time
	// Suspect is true of one that runs again and may be why its worker failed: it
	// runs when no other suspect is on trial in the whole pool and nothing that lost
	// its worker without being one waits, alone on a worker until Lease.Prove.
	Suspect bool
}

func (r Request) again() bool { return !r.Again.IsZero() }

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

	pool *Pool

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
	l.pool.withLock(func() { l.pool.state.release(l, o, u) })
}

// Prove says that a suspect did no harm: its worker has begun to answer. Others may
// run beside it from now on. It does not block; for other leases it does nothing.
func (l *Lease) Prove() {
	if l.ticket.request.Suspect {
		l.pool.withLock(func() { l.pool.state.prove(l) })
	}
}

// Runner is the pool's view of a worker; *worker.Worker is the real one.
type Runner interface {
	PID() int
	Facts() worker.Facts
	Apply(ctx context.Context, parts []Part) error
	LoRA(parts []Part) ([]byte, error)
	Erase(ctx context.Context, slot int) error
	Slots(ctx context.Context) ([]worker.Work, error)
	Complete(ctx context.Context, probe worker.Probe) ([]worker.Token, error)
	Forward(ctx context.Context, path string, body []byte) (*upstream.Response, error)
	Metrics(ctx context.Context) ([]byte, error)
	Exited() <-chan struct{}
	Err() error
	Kill(cause string)
	Stop()
}

// ErrStopping is returned for requests that come or still wait while the pool
// stops.
var ErrStopping = errors.New("the gateway is stopping")

// Reason says why a request was turned away.
type Reason string

const (
	ReasonQueueFull Reason = "queue_full" // too many wait already
	ReasonWaited    Reason = "queue_wait" // it waited as long as a request may
	ReasonNoWorker  Reason = "no_worker"  // every worker is down and keeps failing
)

// BusyError turns a request away that may come again.
type BusyError struct {
	Reason     Reason
	RetryAfter time.Duration // when to come again, never less than a second
}

func (e *BusyError) Error() string {
	return fmt.Sprintf("%s, retry after %s", e.Reason, e.RetryAfter.Round(time.Second))
}

// WorkerError says that workers failed while the request was being made ready
// on them, more than once.
type WorkerError struct{ Cause error }

func (e *WorkerError) Error() string { return fmt.Sprintf("worker failed: %v", e.Cause) }
func (e *WorkerError) Unwrap() error { return e.Cause }

// QuarantinedFileError says that an adapter's file cannot be loaded: it ended the
// processes that tried, or it is gone.
type QuarantinedFileError struct {
	File   File
	Reason string
}

func (e *QuarantinedFileError) Error() string {
	return fmt.Sprintf("%s cannot be loaded: %s", e.File, e.Reason)
}

// NoRoomError says that a target needs more files at once than a worker may have
// loaded beside those that are pinned.
type NoRoomError struct{ Files int }

func (e *NoRoomError) Error() string {
	return fmt.Sprintf("no worker has room for %d files at once", e.Files)
}

// The bounds of Retry-After, which counts in whole seconds.
const (
	retrySoon = time.Second
	retryLate = time.Minute
)
