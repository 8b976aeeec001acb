package main

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/loragate/loragate/internal/config"
	"github.com/loragate/loragate/internal/pool"
	"github.com/loragate/loragate/internal/worker"
)

// fleet is what the workers are to be: what the configuration says, and what it leaves
// to the gateway.
type fleet struct {
	program worker.Program
	kv      worker.KV
	slots   int
	count   int // workers
}

// findProgram looks llama-server up and asks it what it is. Its error says what to do.
func findProgram(ctx context.Context, cfg *config.Config) (worker.Program, error) {
	command, err := cfg.ResolveCommand()
	if err != nil {
		return worker.Program{}, err
	}
	program, err := worker.Inspect(ctx, command)
	if err != nil {
		return program, fmt.Errorf("workers.command: %w", err)
	}
	if program.TooOld() {
		return program, fmt.Errorf("workers.command: %s is build %d of llama-server; at least %d is needed, older ones can answer with another adapter's words: "+
			"run `make llama-server`, or get a newer one", command, program.Build, worker.MinBuild)
	}
	return program, nil
}

// usualSlots is how many slots a worker has where memory does not say otherwise.
const usualSlots = 8

// planFleet decides what the workers are to be, before any is started.
func planFleet(cfg *config.Config, program worker.Program) (*fleet, error) {
	w := cfg.Workers
	kv, err := chooseKV(w.KV, program)
	if err != nil {
		return nil, err
	}
	return &fleet{program: program, kv: kv, slots: w.Slots.Or(usualSlots), count: w.Count.Or(processorWorkers(runtime.GOMAXPROCS(0)))}, nil
}

// processorWorkers is how many workers share the host's processors well.
func processorWorkers(cores int) int {
	if cores >= 8 {
		return 2
	}
	return 1
}

// chooseKV returns how slots share the KV cache.
func chooseKV(wanted string, program worker.Program) (worker.KV, error) {
	able := program.Has(worker.UnifiedFlag)
	switch worker.KV(wanted) {
	case worker.SplitKV:
		return worker.SplitKV, nil
	case worker.UnifiedKV:
		if !able {
			return "", fmt.Errorf("workers.kv: unified needs a llama-server that has %s, which keeps a slot to its context; "+
				"build %d at %s has not: use split, or a newer one", worker.UnifiedFlag, program.Build, program.Path)
		}
		return worker.UnifiedKV, nil
	}
	return worker.SplitKV, nil
}

// warn says what is odd about the program and not an error.
func (f *fleet) warn(log *slog.Logger) {
	if f.program.Build == 0 {
		log.Warn(fmt.Sprintf("llama-server does not tell its build; it should be %d or newer", worker.MinBuild), "llama_server", f.program.Path)
	}
}

// schedulerTime is a duration of the configuration in the pool's terms.
func schedulerTime(d config.AutoDuration) time.Duration {
	if d == config.Auto {
		return pool.Auto
	}
	return time.Duration(d)
}
