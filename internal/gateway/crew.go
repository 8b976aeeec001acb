package gateway

import (
	"encoding/json"
	"os"
	"time"

	"github.com/loragate/loragate/internal/config"
	"github.com/loragate/loragate/internal/worker"
)

// crew is what a gateway's workers are, for the heir that has its own take their places.
type crew struct {
	Kind    string   `json:"kind"`    // equal ones take the same memory
	Devices []string `json:"devices"` // of each worker, "" where llama-server picks; nil if that is not known yet
	Slots   int      `json:"slots"`
}

// kind is what a worker's memory depends on, but for what the gateway chooses by itself.
type kind struct {
	Program worker.Program
	Model   string
	Bytes   int64
	Changed time.Time // the model's file
	Args    []string
	Context int
	KV      worker.KV
	Slots   config.AutoInt
	Devices []string
	MPS     string
	Auto    bool // the number of workers
	Loaded  int
	Memory  int64
	Limit   int64
	Reserve int64
}

// crew tells what this gateway's workers are.
func (g *gateway) crew() *crew {
	devices, _ := g.pool.Devices()
	return &crew{Kind: g.fleet.kind(), Devices: devices, Slots: g.fleet.slots}
}

// kind tells workers apart that may not take each other's places.
func (f *fleet) kind() string {
	w := f.cfg.Workers
	k := kind{
		Program: f.program, Model: f.cfg.Model.Path, Args: w.Args, Context: w.Context, KV: f.kv, Slots: w.Slots,
		Devices: w.Devices,
		MPS:     w.MPS, Auto: w.Count == config.Auto, Loaded: w.MaxLoaded, Memory: w.AdapterMemory, Limit: w.MemoryLimit,
		Reserve: w.MemoryReserve,
	}
	if info, err := os.Stat(k.Model); err == nil {
		k.Bytes, k.Changed = info.Size(), info.ModTime().UTC()
	}
	text, _ := json.Marshal(k) // nothing in it can fail
	return string(text)
}

// follows reports whether the workers may take the places of a crew one by one. What the
// gateway would have chosen by itself is then as it was there: the memory that is free
// while the others run says nothing.
func (f *fleet) follows(before *crew) bool {
	if before == nil || len(before.Devices) == 0 || before.Kind != f.kind() {
		return false
	}
	f.slots = before.Slots
	if f.cfg.Workers.Count == config.Auto {
		f.count, f.devices = len(before.Devices), before.Devices
		f.most = max(f.most, f.count)
	}
	return true
}

// places are the devices of all workers.
func (f *fleet) places() []string {
	list := make([]string, f.count)
	for i := range list {
		if len(f.devices) > 0 {
			list[i] = f.devices[i%len(f.devices)]
		}
	}
	return list
}
