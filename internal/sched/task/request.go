// Package task has the words in which the scheduler is spoken to: requests, and what is to
// be done with them.
package task

import (
	"math"
	"time"

	"github.com/loragate/loragate/internal/residency/stock"
)

// Identity says what must be in force on a worker to serve a request: the
// plain base, one adapter at a scale, or a sum of adapters. Equal identities
// give equal answers; it is opaque here.
type Identity string

// Base is the identity of the base model with no adapter.
const Base Identity = ""

// Ticket numbers a request; it is unique and never 0.
type Ticket uint64

// Time is a moment, counted from a start that the owner chose. It never runs
// backwards.
type Time = time.Duration

// Never is a wake-up time that does not come.
const Never Time = math.MaxInt64

// Request is one request that asks for a place.
type Request struct {
	Ticket   Ticket
	Identity Identity
	// Files must be loaded on the worker that serves it; equal identities need
	// equal files.
	Files []stock.File
	// Namespace says whose the KV is that it leaves: requests of different namespaces share
	// none, though they run as one batch. Namespaces that wait for one identity take
	// turns.
	Namespace string
	// NamespaceWeight is the namespace's share against others of the same identity, and with
	// Weight the identity's; 1 if 0.
	NamespaceWeight float64
	// Priority orders requests, higher ones first: one step counts as
	// Options.Aging that it has waited longer.
	Priority int
	// Turn, if not "", is whose turns the identity takes: all identities of one Turn
	// together count as one that waits. It is for identities that clients make up.
	Turn string
	// Whole asks for a worker with nothing else on it, for requests whose slots
	// llama-server picks by itself.
	Exclusive bool
	// Alone asks for a worker on which nothing else runs until Prove: for a request that
	// may end its worker.
	Alone bool
	// Chain tells conversations apart; none is a request that continues nothing.
	PrefixHashes PrefixHashes
	// Weight is the identity's share against others, 1 if 0.
	Weight float64
	// MaxConcurrency bounds how many of the identity's requests run at once; 0 is
	// no bound.
	MaxConcurrency int
	// Since is when the request arrived. One that runs a second time keeps the
	// time of the first, and its place before those that came after it.
	Since Time
	// Again admits it though the queue is full: it was admitted once already.
	Again bool
}

// Usage is what a finished request took, in tokens, and how long llama-server worked
// on it, 0 where it did not tell.
type Usage struct {
	Prompt, Cached, Completion int
	// Reading is from the first look at the prompt to the first token, Generating from
	// that to the last.
	Reading, Generating time.Duration
}

// promptCost is what a prompt's token costs against one that is generated. A
// prompt is read in big batches: on GPUs and CPUs alike an order of magnitude
// faster (docs/benchmarks.md).
const promptCost = 0.1

// Cost is the currency of fairness.
func (u Usage) Cost() float64 {
	return float64(u.Completion) + promptCost*float64(max(0, u.Prompt-u.Cached))
}
