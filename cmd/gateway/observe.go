package main

import (
	"context"
	"net/http"

	"github.com/loragate/loragate/internal/admin"
	"github.com/loragate/loragate/internal/catalog"
	"github.com/loragate/loragate/internal/metrics"
	"github.com/loragate/loragate/internal/pool"
	"github.com/loragate/loragate/internal/proxy"
)

// newMetrics returns the gateway's metrics. They look at the pool, which must be
// there before the first scrape.
func newMetrics(g *gateway) *metrics.Metrics {
	names := namesOf(g.models)
	opts := metrics.Options{
		Version:  version,
		Snapshot: func() metrics.Snapshot { return snapshot(g.pool.Stats(), names) },
		Scrape: func(ctx context.Context, worker int) ([]byte, error) {
			return g.pool.WorkerMetrics(ctx, worker)
		},
	}
	for _, m := range g.models.Models() {
		if m.Kind != catalog.KindAlias {
			opts.Models = append(opts.Models, m.Name)
		}
	}
	return metrics.New(opts)
}

// serveAdmin serves the second listener, if there is one, and sends on failed
// when that ends.
func (g *gateway) serveAdmin(failed chan<- error) *http.Server {
	server := admin.New(admin.Options{Listen: g.cfg.Admin.Listen, Metrics: g.metrics, Log: g.log})
	if g.admin != nil {
		g.log.Info("admin", "url", "http://"+g.admin.Addr().String())
		go func() { failed <- server.Serve(g.admin) }()
	}
	return server
}

// modelNames gives identities back their names in the catalog.
type modelNames struct {
	byIdentity map[pool.Identity]string
	all        []string
}

func namesOf(models *catalog.Catalog) modelNames {
	n := modelNames{byIdentity: map[pool.Identity]string{pool.Base: models.Base().Name}}
	for _, a := range models.Adapters() {
		id := proxy.TargetOf(a).Identity
		if _, shared := n.byIdentity[id]; !shared {
			n.byIdentity[id] = a.Name // of names with one identity the first stands for all
			n.all = append(n.all, a.Name)
		}
	}
	return n
}

var workerStates = map[pool.Health]metrics.WorkerState{
	pool.Down: metrics.Down, pool.Up: metrics.Up,
	pool.Draining: metrics.Draining, pool.Suspect: metrics.Suspect,
}

// snapshot puts what the pool looks like into the metrics' words.
func snapshot(st pool.Stats, names modelNames) metrics.Snapshot {
	s := metrics.Snapshot{
		Waiting: st.Waiting, WaitingByModel: make(map[string]int, len(st.ByIdentity)), OldestWait: st.OldestWait,
		Counters: metrics.Counters{
			Swaps: st.Counts.Swaps, WarmHits: st.Counts.WarmHits, WarmMisses: st.Counts.WarmMisses,
			KVTokensKept: st.Counts.KVKept, KVTokensLost: st.Counts.KVLost,
		},
	}
	for id, n := range st.ByIdentity {
		s.WaitingByModel[names.byIdentity[id]] += n
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
	out.Applied, out.Loaded = names.byIdentity[w.Applied], names.all
	out.InFlight, out.Slots = w.InFlight, len(w.Slots)
	for _, sl := range w.Slots {
		slot := metrics.Slot{Busy: sl.Busy, Tokens: sl.Tokens}
		if sl.Owned {
			slot.Model = names.byIdentity[sl.Owner]
		}
		out.SlotOwners = append(out.SlotOwners, slot)
	}
	return out
}

// observer counts requests in the metrics.
type observer struct{ *metrics.Metrics }

func (o observer) Finished(r proxy.Report) {
	outcome := metrics.OK
	switch {
	case r.Refused != "":
		outcome = metrics.Rejected
		o.Rejected(r.Refused)
	case r.Status == proxy.StatusClientClosed:
		outcome = metrics.ClientGone
	case r.Err || r.Status >= http.StatusBadRequest:
		outcome = metrics.Failed
	}
	o.Request(metrics.Request{
		Model: r.Model, Outcome: outcome, Status: r.Status, Streamed: r.Stream, State: string(r.State),
		Queue: r.Queued, TTFT: r.First, Duration: r.Took,
		PromptTokens: r.Usage.Prompt, CachedTokens: r.Usage.Cached, CompletionTokens: r.Usage.Completion,
	})
}
