package sched

import (
	"github.com/loragate/loragate/internal/lru"
	"github.com/loragate/loragate/internal/residency"
	"github.com/loragate/loragate/internal/residency/stock"
	"github.com/loragate/loragate/internal/sched/task"
)

func newResidency(s *Scheduler) *residency.Planner {
	return residency.New(residency.Options{
		Limits:   lru.Limits{Entries: s.opts.MaxLoaded, Weight: s.opts.Memory},
		Interval: s.opts.ReloadInterval, Turn: s.fleet.longestQuantum(),
		Workers: s.opts.Workers, Spares: s.opts.Spares, First: s.opts.First,
	}, demand{s})
}

// Grow adds members, until there are as many workers and spares. There must be no
// spare before.
func (s *Scheduler) Grow(workers, spares int, now task.Time) { s.residency.Grow(workers, spares, now) }

// SetStock says which files there are; those that are not among them any more
// are kept for requests that need them. One that was not among them is taken for
// good, whatever it did before.
func (s *Scheduler) SetStock(list []stock.Entry, now task.Time) { s.residency.SetStock(list, now) }

// Plan returns what a member's process, which is about to be started, is to load;
// Up or Failed must follow. It reports false when the member is to have none.
func (s *Scheduler) Plan(id int, now task.Time) (files []stock.File, ok bool) {
	return s.residency.Plan(id, now)
}

// Failed says that a member's process could not be started. It reports whether
// files that were never loaded before may be to blame: then the member should be
// started again at once, without them.
func (s *Scheduler) Failed(id int, now task.Time) (suspicion bool) {
	return s.residency.Failed(id, now)
}

// TooMuch is Failed for a process that ran out of memory, or could not even be told what
// to load. If it was to load more
// than the member ever had, or any other if it had nothing, less is loaded from now
// on, by all members: it returns how many bytes at most. The bound is halfway to the
// most that any member has had, so the right one is found after a few starts.
// Otherwise files may be to blame.
func (s *Scheduler) TooMuch(id int) (bound int64, learned bool) {
	return s.residency.TooMuch(id)
}

// Room reports whether a worker has all of the files loaded, or has room for them
// beside what is pinned. Requests for others would wait for ever.
func (s *Scheduler) Room(files []stock.File) bool { return s.residency.Room(files) }

// Loaded reports whether a worker that is up, and was not drained by an operator,
// has the file loaded.
func (s *Scheduler) Loaded(file stock.File) bool { return s.residency.Loaded(file) }

// Opens reports whether a process may yet open the file: because it is in stock, one that
// starts is to load it, or a request that waits or runs needs it, wherever that will be. To
// have it loaded is no reason: a process reads its files once, and no later one is given
// what is not in stock. It looks at every flow.
func (s *Scheduler) Opens(file stock.File) bool { return s.residency.Opens(file) }

// Quarantine says that a file cannot be loaded any more, for example because it is not
// there; it is not planned again as long as it stays in stock. Requests that need
// it wait in vain: the owner turns them away.
func (s *Scheduler) Quarantine(file stock.File) { s.residency.Quarantine(file) }

// Quarantined reports whether a file will not be loaded any more; see Quarantine and
// NewlyQuarantined.
func (s *Scheduler) Quarantined(file stock.File) bool { return s.residency.Quarantined(file) }

// NewlyQuarantined returns the files that were found to end every process that loads
// them, since the last call.
func (s *Scheduler) NewlyQuarantined() []stock.File { return s.residency.NewlyQuarantined() }

// Vacant reports whether a member is to have no process.
func (s *Scheduler) Vacant(id int) bool { return s.residency.Vacant(id) }

// Restart has a worker's process replaced when it is idle; it takes no more
// requests until then.
func (s *Scheduler) Restart(id int) { s.residency.Restart(id) }

// Drain keeps requests from a worker until it is told otherwise, through
// restarts. What it has loaded does not count meanwhile.
func (s *Scheduler) Drain(id int, drained bool, now task.Time) {
	set, changed := s.residency.Drain(id, drained)
	w, up := s.fleet.workers[id]
	if !up || !changed {
		return
	}
	w.drained = drained
	if drained {
		s.fleet.reopen(w, now)
		s.queue.abandon(w.line)
		s.queue.settle(w, set)
		return
	}
	s.queue.settle(w, set)
	s.fleet.reopen(w, now)
}

// Files returns a view of every file that is in stock or loaded.
func (s *Scheduler) Files() []residency.FileView {
	views := s.residency.Files()
	for _, w := range s.fleet.list {
		for _, file := range w.flow.files {
			if views[file] == nil {
				views[file] = &residency.FileView{File: file}
			}
			views[file].AppliedOn = append(views[file].AppliedOn, w.id)
		}
	}
	list := make([]residency.FileView, 0, len(views))
	for _, v := range views {
		list = append(list, *v)
	}
	return list
}
