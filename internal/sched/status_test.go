package sched

import (
	"time"

	"github.com/loragate/loragate/internal/lru"
	"github.com/loragate/loragate/internal/residency"
	"github.com/loragate/loragate/internal/residency/stock"
)

// What docs/scheduling.md says of how long things are left alone.
const (
	trouble  = 10 * time.Minute
	patience = time.Minute
	futility = 100 * time.Millisecond
	inUse    = stock.InUse
)

func (s *Scheduler) status() residency.Status { return s.residency.Status() }

// known is what is known of a file.
func (s *Scheduler) known(file File) stock.Item {
	it, _ := s.residency.Item(file)
	return it
}

// bytesOf is how much memory files take.
func (s *Scheduler) bytesOf(files []File) (sum int64) {
	for _, file := range files {
		sum += s.known(file).Bytes
	}
	return sum
}

// fit reports whether a worker may have so much loaded.
func (s *Scheduler) fit(files int, bytes int64) bool {
	return lru.Limits{Entries: s.opts.MaxLoaded, Weight: s.opts.Memory}.Fit(files, bytes)
}

// pinned and preloaded list what should be where.
func (s *Scheduler) pinned() []File {
	return s.filesThat(func(it stock.Item) bool { return it.Standing && !it.Gone })
}
func (s *Scheduler) preloaded() []File {
	return s.filesThat(func(it stock.Item) bool { return it.Preload && !it.Gone })
}

func (s *Scheduler) filesThat(are func(stock.Item) bool) (list []File) {
	for _, it := range s.residency.Items() {
		if are(it) {
			list = append(list, it.File)
		}
	}
	return list
}

// starting is how many members start.
func (s *Scheduler) starting() (n int) {
	for _, m := range s.status().Members {
		if m.Starting {
			n++
		}
	}
	return n
}
