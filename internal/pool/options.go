package pool

import (
	"context"
	"log/slog"
	"time"
)

// Options says what a pool consists of. All fields without a word on it are
// required.
type Options struct {
	Count int // workers
	// Place says on which device each worker is to be, the first one's first, and so how
	// many there are, once the first has come up and has passed the self-test: instead
	// of Count and Devices. The others start after that. It may block, until ctx ends.
	// Nil is Count at once.
	Place func(ctx context.Context) (devices []string)
	// Enter blocks until a worker may have its first process, or ctx ends, and returns the
	// device that it is to be on. It is not asked for spares. Nil lets all start at once, on
	// the devices that Devices says.
	Enter         func(ctx context.Context, id int) (device string, err error)
	Slots         int           // of each worker
	Devices       []string      // what the workers run on, given to them in turn; none is one that all share
	Queue         int           // requests that may wait
	MaxWait       time.Duration // how long each may
	Quantum       time.Duration // how long a target keeps a worker for which others wait, or Auto
	ScaleOutAfter time.Duration // how long requests wait before a target gets a second worker of a device, or Auto

	Aging time.Duration // what a step of priority is worth, in time waited

	// Adjacent says that workers batch only requests in slots whose numbers follow
	// each other.
	Adjacent bool
	// Together says that the workers of a device run at the same time, not in turns.
	Together bool

	// SharedFate says that a worker's crash may take the others of its device along.
	SharedFate bool

	// What workers have loaded, as in sched.Options.
	MaxLoaded      int
	Memory         int64
	Spares         int
	First          int
	ReloadInterval time.Duration

	// Start starts a worker's process and blocks until it is ready. It is called
	// again for every restart.
	Start func(ctx context.Context, s Start) (Runner, error)
	// SelfTest judges the first start of worker 0, which has loaded the files, before
	// any request runs; it must leave all slots empty and the base in force. Nil is
	// no test.
	SelfTest func(ctx context.Context, r Runner, files []File) error
	// Loaded is told what a process that came up has loaded, and Quarantined of files
	// that will not be loaded any more, and why. They must not block; they may not
	// call the pool. Nil is nobody.
	Loaded      func(files []File)
	Quarantined func(file File, reason string)
	// CallTimeout bounds each of the pool's own calls of a worker; one that does
	// not answer in time is replaced.
	CallTimeout time.Duration
	// StallTimeout is how long a worker may go without telling of its slots before
	// nobody else is sent to it, until it does; 0 is no bound.
	StallTimeout time.Duration
	// WatchInterval is how often a worker is asked for a sign of life; 0 never.
	WatchInterval time.Duration
	// Ended is told of every process that served and ended though nobody asked for it; it
	// must not block. Nil is nobody.
	Ended func(End)
	// Swapped is told of every swap; it must not block. Nil is nobody.
	Swapped func(worker int, took time.Duration)

	Log *slog.Logger
}

// Start says which process to start.
type Start struct {
	ID     int    // the member's number
	Device string // as in Options.Devices; "" leaves it to llama-server
	Files  []File // to load
}
