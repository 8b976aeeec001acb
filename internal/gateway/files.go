package gateway

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/loragate/loragate/internal/gpu"
)

const (
	// ownFiles is how many files the gateway opens for itself: listeners, the database,
	// files of adapters, connections of the admin listener.
	ownFiles = 128
	// filesOfWorker are those beside its connections: pipes, and the guard's.
	filesOfWorker = 16
	// fewClients is how few clients at once speak for a limit that nobody meant.
	fewClients = 256
)

// mostClients returns how many clients' connections may be open at once, 0 for any
// number: so many that a file is left for whatever the gateway itself opens, and each
// request can have its connection to a worker. It says when that is few.
func (g *gateway) mostClients() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		g.log.Warn("how many files may be open cannot be told", "error", err)
		return 0
	}
	if limit.Cur > 1<<30 {
		return 0
	}
	reserve := ownFiles + openFiles()
	// How many workers there will be is not known yet where that is chosen.
	w := g.cfg.Workers
	workers := w.Count.Or(gpu.MostUnderMPS) + w.Spare
	reserve += workers * (filesOfWorker + 2*w.Slots.Or(slotsTogether))
	for _, e := range g.cfg.Embedders {
		reserve += filesOfWorker + 2*e.Slots
	}
	most := max(1, (int(limit.Cur)-reserve)/2)
	if most < fewClients {
		g.log.Warn("few files may be open at once: raise the limit (ulimit -n, LimitNOFILE), or clients wait until others "+
			"have left",
			"limit", limit.Cur, "reserved", reserve, "clients", most)
	}
	return most
}

// openFiles is how many files are open now, where the system tells.
func openFiles() int {
	list, err := os.ReadDir("/dev/fd")
	if err != nil {
		return 0
	}
	return len(list)
}
