package pool

import (
	"context"
	"fmt"
	"time"

	"github.com/loragate/loragate/internal/sched"
)

// Stats is what the pool looks like at one moment.
type Stats struct {
	Waiting    int
	ByIdentity map[Identity]int // of those that wait
	OldestWait time.Duration
	Workers    []WorkerStats // by worker number
	Counts     sched.Counts
	Costs      []sched.CostView // by device, of those with a worker that is up
}

// Health says what a worker can do.
type Health string

const (
	Down     Health = "down"     // it is starting or waiting to be restarted
	Up       Health = "up"       // it takes requests
	Draining Health = "draining" // it lets its requests end because others wait for it
	Suspect  Health = "suspect"  // it takes none until it has given a sign of life

	Drained   Health = "drained"   // it takes none because an operator said so
	Reloading Health = "reloading" // it lets its requests end to load something else
	Spare     Health = "spare"     // it has no process until it takes another's place
)

// WorkerStats is one worker of Stats.
type WorkerStats struct {
	Health   Health
	PID      int // 0 while it is down
	Device   string
	Loaded   []File
	Drained  bool     // an operator said so
	Applied  Identity // meaningless while it is down, as is the rest but Restarts
	InFlight int      // leases out, including those whose work is being cancelled
	Slots    []sched.SlotView
	Restarts int // processes that died after they were up
}

// Up reports whether there is a process that can serve, or soon will again.
func (w WorkerStats) Up() bool { return w.Health != Down && w.Health != Spare }

// Stats returns the present state.
func (p *Pool) Stats() Stats {
	var st Stats
	p.withLock(func() { p.state.fill(&st) })
	return st
}

func (s *state) fill(st *Stats) {
	st.Waiting = len(s.waiting)
	st.Counts, st.Costs = s.sched.Counts(), s.sched.Costs()
	var oldest sched.Time
	st.ByIdentity, oldest = s.sched.Queues()
	if st.Waiting > 0 {
		st.OldestWait = s.now() - oldest
	}
	st.Workers = make([]WorkerStats, len(s.members))
	for i, m := range s.members {
		st.Workers[i].Health = Down
		st.Workers[i].Restarts, st.Workers[i].Device = m.restarts, m.device
		if s.sched.Vacant(m.id) {
			st.Workers[i].Health = Spare
		}
	}
	for _, v := range s.sched.Workers() {
		w, m := &st.Workers[v.ID], s.members[v.ID]
		w.PID, w.Applied, w.InFlight, w.Slots = m.up.PID(), v.Applied, v.InFlight, v.Slots
		w.Loaded, w.Drained = v.Loaded, v.Drained
		switch {
		case m.suspect:
			w.Health = Suspect
		case v.Reloading:
			w.Health = Reloading
		case v.Drained:
			w.Health = Drained
		case v.Preempted:
			w.Health = Draining
		default:
			w.Health = Up
		}
	}
}

// any returns the worker that is up with the fewest requests.
func (s *state) any() (Runner, error) {
	var best *member
	fewest := 0
	for _, v := range s.sched.Workers() {
		if m := s.members[v.ID]; m.up != nil && !m.suspect && (best == nil || v.InFlight < fewest) {
			best, fewest = m, v.InFlight
		}
	}
	if best == nil {
		return nil, &BusyError{Reason: ReasonNoWorker, RetryAfter: retrySoon}
	}
	return best.up, nil
}

// WorkerMetrics returns a worker's own metrics, in Prometheus' text format.
func (p *Pool) WorkerMetrics(ctx context.Context, worker int) ([]byte, error) {
	var r Runner
	p.withLock(func() { r = p.state.members[worker].up })
	if r == nil {
		return nil, fmt.Errorf("worker %d is down", worker)
	}
	return r.Metrics(ctx)
}

// FileStats is where a file is at one moment.
type FileStats struct {
	LoadedOn  []int     // the workers that have it loaded
	AppliedOn []int     // those where it is in force, alone or with others
	LastUsed  time.Time // zero is not since the start
	Wanted    bool      // it is in stock and will be loaded without anyone asking
}

// Files returns the files in stock, and those that are loaded.
func (p *Pool) Files() map[File]FileStats {
	files := make(map[File]FileStats)
	p.withLock(func() {
		for _, v := range p.state.sched.Files() {
			f := FileStats{LoadedOn: v.LoadedOn, AppliedOn: v.AppliedOn, Wanted: v.Wanted}
			if v.Used > 0 {
				f.LastUsed = p.state.start.Add(v.Used)
			}
			files[v.File] = f
		}
	})
	return files
}

// Any returns a worker that is up, for calls that use no slot and leave what is
// applied alone; it may end meanwhile. The error is a *BusyError or ErrStopping.
func (p *Pool) Any() (r Runner, err error) {
	if !p.withLock(func() { r, err = p.state.any() }) {
		return nil, ErrStopping
	}
	return r, err
}

// Facts returns what the workers tell of their model; nothing until one has been
// up.
func (p *Pool) Facts() (f Facts) {
	p.withLock(func() { f = p.state.facts })
	return f
}

// Loaded reports whether a worker that is up has the file loaded.
func (p *Pool) Loaded(file File) (loaded bool) {
	p.withLock(func() { loaded = p.state.sched.Loaded(file) })
	return loaded
}

// Opens reports whether a worker's process may yet open the file, because it is in stock,
// is being loaded, or a request needs it.
func (p *Pool) Opens(file File) (opens bool) {
	p.withLock(func() { opens = p.state.sched.Opens(file) })
	return opens
}
