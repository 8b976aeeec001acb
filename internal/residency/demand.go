package residency

import (
	"iter"

	"github.com/loragate/loragate/internal/residency/stock"
)

// Demand is what a Planner asks of whoever holds the queue and the workers. All answers
// are plain values of this moment. Pressure and Running cost nothing; the others may cost
// a look at everything that waits, and are asked once or twice a reload.
type Demand interface {
	// Pressure sums up what waits.
	Pressure() Pressure
	// Waiting lists what waits.
	Waiting() []Waiter
	// Missing lists what waits for files that no worker has, the one whose turn it is
	// first and the others in no order; no more than limit if that is above 0.
	Missing(limit int) []Waiter
	// Candidates lists the workers that take requests, by number.
	Candidates() []Candidate
	// Running is how many requests run on a worker, and whether that is up.
	Running(worker int) (requests int, up bool)
	// Needed lists the files of all requests that wait or run.
	Needed() iter.Seq[[]stock.File]
}

// Pressure sums up what waits.
type Pressure struct {
	Missing int        // identities that wait for files that no worker has
	Longest stock.Time // since when the first of them has its place in line
	Waiting int        // identities that wait for anything
	Idle    int        // workers on which nothing runs
}

// Waiter is an identity with requests that wait.
type Waiter struct {
	Files    []stock.File
	Requests int
	// Since is its place in line; Never where a worker takes its requests.
	Since stock.Time
	// Ticket numbers the request that has waited longest, Oldest is since when.
	Ticket uint64
	Oldest stock.Time
	// Missing says that it waits and no worker has its files, Loaded that one has them.
	Missing, Loaded bool
	Capped          bool // it may not run more requests at once, wherever
	Only            *Set // the one set that has its files, if it is one
}

// Candidate is a worker that takes requests, and may be given up.
type Candidate struct {
	Worker    int
	InFlight  int
	TurnBegan stock.Time
	Wanted    bool // requests wait for what it has
}
