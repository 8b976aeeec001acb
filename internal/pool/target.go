package pool

import (
	"time"

	"github.com/loragate/loragate/internal/sched"
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
