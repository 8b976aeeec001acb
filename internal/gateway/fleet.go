package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"time"

	"github.com/loragate/loragate/internal/config"
	"github.com/loragate/loragate/internal/gpu"
	"github.com/loragate/loragate/internal/mps"
	"github.com/loragate/loragate/internal/pool"
	"github.com/loragate/loragate/internal/worker"
)

// fleet is what the workers are to be: what the configuration says, and what it leaves
// to the gateway. It is made before a worker starts, and only size changes it.
type fleet struct {
	cfg     *config.Config
	log     *slog.Logger
	program worker.Program
	kv      worker.KV
	slots   int
	count   int      // workers; 0 is what size says
	most    int      // workers that there can be: the processors are shared among them
	devices []string // given to the workers in turn; none leaves it to llama-server

	reader  gpu.Reader
	before  gpu.Reading // before the first worker, if something depends on it
	service *mps.Lease  // nil for none
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
		return program, fmt.Errorf("workers.command: %s is build %d of llama-server; at least %d is needed, older ones can "+
			"answer with another adapter's words: "+
			"run `make llama-server`, or get a newer one", command, program.Build, worker.MinBuild)
	}
	return program, nil
}

// planFleet decides what the workers are to be, as far as that can be said before the
// first is started, and takes part in CUDA's multi-process service if that is to serve
// them. It blocks while llama-server lists its devices. close must be called.
func planFleet(ctx context.Context, cfg *config.Config, log *slog.Logger, program worker.Program) (*fleet, error) {
	w := cfg.Workers
	kv, err := chooseKV(w.KV, program)
	if err != nil {
		return nil, err
	}
	f := &fleet{cfg: cfg, log: log, program: program, kv: kv, devices: w.Devices,
		reader: gpu.Reader{Command: program.Path}}
	if program.Build == 0 {
		log.Warn(fmt.Sprintf("llama-server does not tell its build; it should be %d or newer", worker.MinBuild),
			"llama_server", program.Path)
	}
	if w.Count != 1 || w.Slots == config.Auto {
		f.look(ctx)
	}
	f.join(ctx)
	f.count = w.Count.Or(0)
	f.most = f.count
	if f.count == 0 && !f.onGPU() { // there is no memory to measure
		f.count = gpu.Size(gpu.Sizing{Cores: runtime.GOMAXPROCS(0)}).Workers()
		f.most = f.count
	} else if f.count == 0 {
		f.most = f.mostWorkers()
	}
	f.slots = w.Slots.Or(f.autoSlots())
	return f, nil
}

// look reads the devices' memory, and chooses those that the workers are given.
func (f *fleet) look(ctx context.Context) {
	reading, err := f.reader.Read(ctx)
	if err != nil {
		f.log.Warn("llama-server does not tell what devices there are: workers are counted as on the processor", "error", err)
		return
	}
	f.before = reading
	if len(f.devices) == 0 && f.cfg.Workers.Count == config.Auto {
		f.devices = gpu.Choose(reading.Devices, f.cfg.Workers.Args, f.modelSize(), f.cfg.Workers.MemoryReserve)
	}
}

// KeeperCommand is the program's command that a keeper of CUDA's multi-process service runs.
const KeeperCommand = "mps-keeper"

// serviceLimit bounds the wait for CUDA's multi-process service: an earlier daemon may
// have to end before a new one starts, which takes up to 40 seconds by mps.Bounds.
const serviceLimit = 45 * time.Second

// join has CUDA's multi-process service ready where it serves more than one worker.
func (f *fleet) join(ctx context.Context) {
	w := f.cfg.Workers
	if w.MPS == "off" || w.Count == 1 || !f.onGPU() || !gpu.OnCUDA(f.before.Devices, f.devices) {
		return
	}
	f.log.Info("getting CUDA's multi-process service ready", "limit", serviceLimit)
	ctx, cancel := context.WithTimeoutCause(ctx, serviceLimit,
		fmt.Errorf("not ready within %s: something holds its lock or its keeper does not answer", serviceLimit))
	defer cancel()
	self, err := os.Executable()
	if err == nil {
		f.service, err = mps.Acquire(ctx, mps.Options{Keeper: []string{self, KeeperCommand}, Log: f.log})
	}
	switch {
	case errors.Is(err, exec.ErrNotFound):
		f.log.Info("workers of a GPU take turns: nvidia-cuda-mps-control, with which they would run at the same time, is " +
			"not there")
	case err != nil:
		f.log.Warn("workers of a GPU take turns: CUDA's multi-process service is not to be had", "error", err)
	default:
		f.log.Info("workers of a GPU run at the same time, through CUDA's multi-process service", "directory",
			f.service.Dir(), "own", f.service.Own())
		go f.watch()
	}
}

// watch says when the service is gone; it ends with the lease.
func (f *fleet) watch() {
	<-f.service.Done()
	if err := f.service.Err(); err != nil {
		f.log.Warn("CUDA's multi-process service has ended: workers that start from now on take turns on their GPU",
			"error", err)
	}
}

// env is what workers have in their environment beside ours.
func (f *fleet) env() []string {
	if f.service == nil || f.service.Err() != nil {
		return nil
	}
	return f.service.Env()
}

func (f *fleet) close() {
	if f != nil && f.service != nil {
		f.service.Close()
	}
}

// onGPU reports whether there are GPUs that workers may use.
func (f *fleet) onGPU() bool {
	if gpu.Chosen(f.cfg.Workers.Args) || len(f.cfg.Workers.Devices) > 0 {
		return len(f.before.Devices) > 0
	}
	return len(gpu.Choose(f.before.Devices, nil, 0, 0)) > 0
}

// together reports whether the workers of a device run at the same time: on processors
// each has its share of them.
func (f *fleet) together() bool { return f.service != nil || !f.onGPU() }

func (f *fleet) mostWorkers() int {
	each := gpu.MostOnGPU
	if f.service != nil {
		each = gpu.MostUnderMPS
	}
	return each * max(1, len(f.devices))
}

const (
	// usualSlots is how many slots a worker has where nothing speaks for more.
	usualSlots = 8
	// slotsTogether and slotsInTurns are how many it has on a GPU with the memory: the
	// more requests in a step the better, above all where few workers share a GPU.
	slotsTogether, slotsInTurns = 16, 32
	// mostKV bounds what a token's KV takes, in bytes: 7 B models with a head of keys
	// for each head take it, newer ones a quarter.
	mostKV = 512 << 10
)

// autoSlots is how many slots each worker has if nobody said so.
func (f *fleet) autoSlots() int {
	if !f.onGPU() {
		return usualSlots
	}
	slots := slotsInTurns
	if f.service != nil {
		slots = slotsTogether
	}
	free := int64(0)
	for _, d := range f.before.Devices {
		free = max(free, d.Free)
	}
	for slots > usualSlots && int64(slots)*int64(f.cfg.Workers.Context)*mostKV > free/2 {
		slots /= 2
	}
	return slots
}

// size says on which device each worker is to be, from what the first one took. It
// blocks while devices are read.
func (f *fleet) size(ctx context.Context) []string {
	after, err := f.reader.Again(ctx, f.before)
	if err != nil {
		f.log.Warn("the memory that the first worker took cannot be read: there is one worker", "error", err)
		return []string{first(f.devices)}
	}
	d := gpu.Size(gpu.Sizing{
		Before: f.before.Devices, After: after.Devices, Names: f.devices, Model: f.modelSize(),
		MPS: f.service != nil, Cores: runtime.GOMAXPROCS(0), Reserve: f.cfg.Workers.MemoryReserve,
	})
	f.log.Info("workers", "count", d.Workers(), "reason", d.Reason, "memory_from", after.Source)
	return d.Placement()
}

func first(devices []string) string {
	if len(devices) == 0 {
		return ""
	}
	return devices[0]
}

// modelSize is how many bytes the base model's file has, 0 if it cannot be told.
func (f *fleet) modelSize() int64 {
	info, err := os.Stat(f.cfg.Model.Path)
	if err != nil {
		return 0
	}
	return info.Size()
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

// schedulerTime is a duration of the configuration in the pool's terms.
func schedulerTime(d config.AutoDuration) time.Duration {
	if d == config.Auto {
		return pool.Auto
	}
	return time.Duration(d)
}
