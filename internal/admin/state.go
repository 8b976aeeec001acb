package admin

import (
	"maps"
	"slices"

	"github.com/loragate/loragate/internal/adminapi"
	"github.com/loragate/loragate/internal/metrics"
)

// stateOf puts what the metrics know in the form of the API.
func stateOf(m metrics.State) adminapi.State {
	s := adminapi.State{
		Time: m.Time.UTC(), Started: m.Started.UTC(),
		Queue: adminapi.Queue{Waiting: m.Waiting, OldestWaitSeconds: m.OldestWait.Seconds()},
		Totals: adminapi.Totals{
			Rejected: m.Rejected, Swaps: m.Counters.Swaps,
			WarmHits: m.Counters.WarmHits, WarmMisses: m.Counters.WarmMisses,
			KVTokensKept: m.Counters.KVTokensKept, KVTokensLost: m.Counters.KVTokensLost,
		},
		TTFT:    adminapi.Histogram(m.TTFT),
		Workers: make([]adminapi.Worker, 0, len(m.Workers)),
		Devices: make([]adminapi.Device, 0, len(m.Devices)),
		Models:  modelsOf(m),
	}
	for _, c := range s.Models {
		s.Totals.Requests += c.Requests
		s.Totals.Errors += c.Errors
		s.Totals.PromptTokens += c.PromptTokens
		s.Totals.CachedTokens += c.CachedTokens
		s.Totals.CompletionTokens += c.CompletionTokens
	}
	for _, w := range m.Workers {
		s.Workers = append(s.Workers, workerOf(w))
	}
	for _, d := range m.Devices {
		s.Devices = append(s.Devices, deviceOf(d))
	}
	return s
}

func modelsOf(m metrics.State) []adminapi.Model {
	byName := make(map[string]adminapi.Model, len(m.Models))
	for name, c := range m.Models {
		byName[name] = adminapi.Model{
			Name: name, Requests: c.Requests, Errors: c.Errors,
			PromptTokens: c.PromptTokens, CachedTokens: c.CachedTokens, CompletionTokens: c.CompletionTokens,
		}
	}
	for name, n := range m.WaitingByModel {
		if n == 0 {
			continue
		}
		entry := byName[name]
		entry.Name, entry.Waiting = name, n
		byName[name] = entry
	}
	models := make([]adminapi.Model, 0, len(byName)) // an empty list is [], not null
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		models = append(models, byName[name])
	}
	return models
}

func deviceOf(d metrics.DeviceSnapshot) adminapi.Device {
	return adminapi.Device{
		Name: d.Name, Measured: d.Measured,
		Swap: d.Swap.Seconds(), FirstToken: d.FirstToken.Seconds(), PromptToken: d.PromptToken.Seconds(),
		Step: d.Step.Seconds(), StepRequest: d.StepRequest.Seconds(), StepWorker: d.StepWorker.Seconds(),
		Turn: d.Turn.Seconds(),
	}
}

func workerOf(w metrics.WorkerSnapshot) adminapi.Worker {
	worker := adminapi.Worker{
		ID: w.ID, State: string(w.State), PID: w.PID, Restarts: w.Restarts,
		Applied: w.Applied, Loaded: append([]string{}, w.Loaded...),
		InFlight: w.InFlight, Slots: w.Slots, SlotOwners: make([]adminapi.Slot, 0, len(w.SlotOwners)), Device: w.Device,
	}
	for _, slot := range w.SlotOwners {
		worker.SlotOwners = append(worker.SlotOwners, adminapi.Slot(slot))
	}
	return worker
}
