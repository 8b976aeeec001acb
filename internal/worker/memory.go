package worker

import (
	"fmt"
	"time"

	"github.com/loragate/loragate/internal/hostmem"
)

const (
	// memoryInterval is how often a process's memory is looked at. What it can take
	// meanwhile is bounded by how fast memory can be written.
	memoryInterval = 100 * time.Millisecond
	// leastGrowth is what a process may always take beside what it had when it became
	// ready, in bytes.
	leastGrowth = 1 << 30
)

// memoryLimit returns how many bytes of its own the process may have: what the options
// say, or else what it has now, when it is ready, and half of what is free then. 0 is no
// bound, where the system does not tell.
func (w *Worker) memoryLimit() int64 {
	if w.opts.MemoryLimit > 0 {
		return w.opts.MemoryLimit
	}
	now, err := hostmem.Private(w.PID())
	if err != nil {
		return 0
	}
	machine, err := hostmem.Read("/")
	if err != nil {
		return 0
	}
	return now + max(leastGrowth, machine.Free/2)
}

// watchMemory ends the process when it has more than the limit; it returns when the
// process has ended.
func (w *Worker) watchMemory(limit int64) {
	if limit == 0 {
		return
	}
	ticker := time.NewTicker(memoryInterval)
	defer ticker.Stop()
	for {
		select {
		case <-w.Exited():
			return
		case <-ticker.C:
		}
		if used, err := hostmem.Private(w.PID()); err == nil && used > limit {
			w.outgrew.Store(true)
			w.Kill(fmt.Sprintf("its memory of %d MiB is more than workers.memory_limit, %d MiB", used>>20, limit>>20))
			return
		}
	}
}
