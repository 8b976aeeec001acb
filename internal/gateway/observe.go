package gateway

import (
	"context"
	"net/http"
	"time"

	"github.com/loragate/loragate/internal/admin"
	"github.com/loragate/loragate/internal/catalog"
	"github.com/loragate/loragate/internal/lora"
	"github.com/loragate/loragate/internal/metrics"
	"github.com/loragate/loragate/internal/pool"
	"github.com/loragate/loragate/internal/proxy"
	"github.com/loragate/loragate/internal/proxy/failure"
	"github.com/loragate/loragate/internal/usage"
)

// newMetrics returns the gateway's metrics. They look at the pool, which must be
// there before the first scrape.
func newMetrics(g *gateway) *metrics.Metrics {
	return metrics.New(metrics.Options{
		Version: g.version, Models: metricNames(g.models),
		Snapshot: func() metrics.Snapshot {
			s, trouble := snapshot(g.pool.Stats(), namesOf(g.models)), g.state.Trouble()
			s.State = metrics.StateSnapshot{Damaged: trouble.Damage != nil, Full: trouble.Full}
			return s
		},
		Scrape: func(ctx context.Context, worker int) ([]byte, error) {
			return g.pool.WorkerMetrics(ctx, worker)
		},
	})
}

// adminHandler is what the second listener serves.
func (g *gateway) adminHandler() http.Handler {
	return admin.Handler(admin.Options{
		Listen: g.cfg.Admin.Listen, Metrics: g.metrics, Log: g.log,
		Catalog: adapters{g.models, g.ingest}, Pool: adminPool{g.pool}, Keys: g.auth, Usage: g.usage, Token: g.token.value,
		TokenFile: g.token.file, MaxUpload: g.cfg.Sources.MaxSize,
	})
}

// modelNames gives identities and files back their names in the catalog.
type modelNames struct {
	byIdentity map[pool.Identity]string
	byFile     map[pool.File]string
}

// namesOf looks at every model: for scrapes and people, not for requests. Of
// names with one identity the first stands for all.
func namesOf(models *catalog.Catalog) modelNames {
	n := modelNames{byIdentity: make(map[pool.Identity]string), byFile: make(map[pool.File]string)}
	for _, m := range models.Models() {
		id := pool.Identity(m.Identity())
		if _, named := n.byIdentity[id]; !named {
			n.byIdentity[id] = m.Target
		}
		if len(m.Parts) != 1 || m.Kind != lora.KindAdapter {
			continue
		}
		file := pool.File(m.Parts[0].Version.Path)
		if _, named := n.byFile[file]; !named {
			n.byFile[file] = m.Name
		}
	}
	return n
}

// identity names an identity; an expression and a version that was replaced have
// no name in the catalog.
func (n modelNames) identity(id pool.Identity) string {
	if name, ok := n.byIdentity[id]; ok {
		return name
	}
	return proxy.Adhoc
}

func (n modelNames) files(files []pool.File) (names []string) {
	for _, file := range files {
		if name, ok := n.byFile[file]; ok {
			names = append(names, name)
		}
	}
	return names
}

var workerStates = map[pool.Health]metrics.WorkerState{
	pool.Down: metrics.Down, pool.Up: metrics.Up,
	pool.Draining: metrics.Draining, pool.Suspect: metrics.Suspect,
	pool.Reloading: metrics.Reloading, pool.Drained: metrics.Drained, pool.Spare: metrics.Spare,
}

// snapshot puts what the pool looks like into the metrics' words.
func snapshot(st pool.Stats, names modelNames) metrics.Snapshot {
	s := metrics.Snapshot{
		Waiting: st.Waiting, WaitingByModel: make(map[string]int, len(st.ByIdentity)), OldestWait: st.OldestWait,
		Counters: metrics.Counters{
			Swaps: st.Counts.Swaps, WarmHits: st.Counts.WarmHits, WarmMisses: st.Counts.WarmMisses, WarmGone: st.Counts.WarmGone,
			KVTokensKept: st.Counts.KVKept, KVTokensLost: st.Counts.KVLost,
			LoadedHits: st.Counts.Hits, LoadedMisses: st.Counts.Misses, Reloads: st.Counts.Reloads,
		},
	}
	for id, n := range st.ByIdentity {
		s.WaitingByModel[names.identity(id)] += n
	}
	for _, c := range st.Costs {
		s.Devices = append(s.Devices, metrics.DeviceSnapshot{
			Name: c.Device, Measured: c.Known, Swap: c.Swap, FirstToken: c.First, PromptToken: c.Read,
			Step: c.Step, StepRequest: c.StepMore, StepWorker: c.StepOthers, Turn: c.Quantum,
		})
	}
	for i, w := range st.Workers {
		s.Workers = append(s.Workers, workerSnapshot(i, w, names))
	}
	return s
}

func workerSnapshot(id int, w pool.WorkerStats, names modelNames) metrics.WorkerSnapshot {
	out := metrics.WorkerSnapshot{
		ID: id, State: workerStates[w.Health], PID: w.PID, Restarts: w.Restarts, Device: w.Device,
	}
	if !w.Up() {
		return out
	}
	out.Applied, out.Loaded = names.identity(w.Applied), names.files(w.Loaded)
	out.InFlight, out.Slots = w.InFlight, len(w.Slots)
	for _, sl := range w.Slots {
		slot := metrics.Slot{Busy: sl.Busy, Tokens: sl.Tokens}
		if sl.Owned {
			slot.Model = names.identity(sl.Owner)
		}
		out.SlotOwners = append(out.SlotOwners, slot)
	}
	return out
}

// observer counts requests in the metrics and in the account of usage.
type observer struct {
	*metrics.Metrics
	usage    *usage.Recorder
	finished chan<- struct{} // see gateway
}

func (o observer) Finished(r proxy.Report) {
	outcome := metrics.OK
	switch {
	case r.Stopped:
		outcome = metrics.Stopped
	case r.Refused != "":
		outcome = metrics.Rejected
		o.Rejected(r.Refused)
	case r.Status == failure.StatusClientClosed:
		outcome = metrics.ClientGone
	case r.Err || r.Status >= http.StatusBadRequest:
		outcome = metrics.Failed
	}
	o.Request(metrics.Request{
		Model: r.Model, Outcome: outcome, Status: r.Status, Streamed: r.Stream, State: string(r.State),
		Queue: r.Queued, TTFT: r.First, Duration: r.Took,
		PromptTokens: r.Usage.Prompt, CachedTokens: r.Usage.Cached, CompletionTokens: r.Usage.Completion,
	})
	if r.Status == http.StatusUnauthorized {
		return // nobody's
	}
	queue, generation := r.Queued-r.Swapped, r.Took-r.Queued
	if r.State == "" { // it never ran
		queue, generation = r.Took, 0
	}
	o.usage.Add(usage.Record{
		At: time.Now(), Tenant: r.Tenant, Key: r.Key, Model: r.Model, Digest: r.Digest, Outcome: string(outcome),
		Prompt: r.Usage.Prompt, Cached: r.Usage.Cached, Completion: r.Usage.Completion,
		Queue: queue, Swap: r.Swapped, Generation: generation,
	})
	select {
	case o.finished <- struct{}{}:
	default:
	}
}
