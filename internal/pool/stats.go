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
}

// Health says what a worker can do.
type Health string

const (
	Down     Health = "down"     // it is starting or waiting to be restarted
	Up       Health = "up"       // it takes requests
	Draining Health = "draining" // it lets its requests end because others wait for it
	Suspect  Health = "suspect"  // it takes none until it has given a sign of life
)

// WorkerStats is one worker of Stats.
type WorkerStats struct {
	Health   Health
	PID      int // 0 while it is down
	Device   string
	Applied  Identity // meaningless while it is down, as is the rest but Restarts
	InFlight int      // leases out, including those whose work is being cancelled
	Slots    []sched.SlotView
	Restarts int // processes that died after they were up
}

// Up reports whether there is a process that can serve, or soon will again.
func (w WorkerStats) Up() bool { return w.Health != Down }

// Stats returns the present state.
func (p *Pool) Stats() Stats {
	st := Stats{Workers: make([]WorkerStats, p.opts.Count)}
	for i := range st.Workers {
		st.Workers[i].Health = Down
	}
	p.post(func() { p.state.fill(&st) })
	return st
}

func (s *state) fill(st *Stats) {
	st.Waiting = len(s.waiting)
	st.Counts = s.sched.Counts()
	var oldest sched.Time
	st.ByIdentity, oldest = s.sched.Queues()
	if st.Waiting > 0 {
		st.OldestWait = s.now() - oldest
	}
	for i, m := range s.members {
		st.Workers[i].Restarts, st.Workers[i].Device = m.restarts, m.device
	}
	for _, v := range s.sched.Workers() {
		w, m := &st.Workers[v.ID], s.members[v.ID]
		w.PID, w.Applied, w.InFlight, w.Slots = m.up.PID(), v.Applied, v.InFlight, v.Slots
		switch {
		case m.suspect:
			w.Health = Suspect
		case v.Closing:
			w.Health = Draining
		default:
			w.Health = Up
		}
	}
}

// WorkerMetrics returns a worker's own metrics, in Prometheus' text format.
func (p *Pool) WorkerMetrics(ctx context.Context, worker int) ([]byte, error) {
	var r Runner
	p.post(func() { r = p.state.members[worker].up })
	if r == nil {
		return nil, fmt.Errorf("worker %d is down", worker)
	}
	return r.Metrics(ctx)
}
