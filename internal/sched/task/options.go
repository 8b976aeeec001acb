package task

import "time"

// Options sets a Scheduler's knobs.
type Options struct {
	// Quantum is how long an identity of weight 1 keeps a worker for which others
	// wait: a positive time, or Auto.
	Quantum time.Duration
	// ScaleOutAfter is how long requests wait for a slot of their identity's worker
	// before a second worker on the same device is taken for it, or Auto. A worker on
	// another device is taken at once.
	ScaleOutAfter time.Duration
	// Together says that a device's workers run at the same time, not in turns: with
	// that Auto begins, before it has measured.
	Together bool
	// Adjacent keeps the requests that run on a worker in slots whose numbers follow
	// each other, for workers that batch only those.
	Adjacent bool
	// Queue is how many requests may wait.
	Queue int
	// Aging is what a step of priority is worth, in time waited.
	Aging time.Duration
	// MaxLoaded is how many files a worker may have loaded, and Memory how many
	// bytes in sum; 0 is no bound.
	MaxLoaded int
	Memory    int64
	// First is how many files member 0 loads at most when it starts first of all, so that
	// something can be served soon, if there are others that load all; 0 is no bound.
	First int
	// ReloadInterval is the least time between the end of one reload and the
	// beginning of the next; it is never less than the last one took.
	ReloadInterval time.Duration
	// Spares are members without a process, numbered from Workers on. With one, the
	// process that replaces another is ready before that one goes.
	Workers, Spares int
}

// Auto, as Options.Quantum or Options.ScaleOutAfter, is by what things have been measured to
// cost.
const Auto time.Duration = -1
