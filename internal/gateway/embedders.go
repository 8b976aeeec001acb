package gateway

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/loragate/loragate/internal/config"
	"github.com/loragate/loragate/internal/pool"
	"github.com/loragate/loragate/internal/proxy"
	"github.com/loragate/loragate/internal/worker"
)

// startEmbedders starts a worker for each embedder of the configuration. They come
// up in the background.
func (g *gateway) startEmbedders() map[string]*proxy.Embedder {
	all := make(map[string]*proxy.Embedder, len(g.cfg.Embedders))
	for i, e := range g.cfg.Embedders {
		p := pool.New(g.embedderOptions(i, e), nil)
		g.embedders = append(g.embedders, p)
		all[e.Name] = &proxy.Embedder{Kind: proxy.EmbedderKind(e.Kind), Pool: p, Vocabulary: g.vocabulary(e.Path)}
		g.metrics.AddModels([]string{e.Name})
	}
	return all
}

func (g *gateway) embedderOptions(i int, e config.Embedder) pool.Options {
	w := g.cfg.Workers
	// One input is computed in one batch, however long it is.
	batch := strconv.Itoa(e.Context)
	args := []string{"--embeddings", "--batch-size", batch, "--ubatch-size", batch}
	if e.Kind == config.Reranking {
		args[0] = "--reranking"
	}
	opts := pool.Options{
		Count: 1, Slots: e.Slots, Queue: g.cfg.Scheduler.Queue, MaxWait: g.cfg.Scheduler.MaxWait, Quantum: pool.Auto,
		Start: func(ctx context.Context, s pool.Start) (pool.Runner, error) {
			return worker.Start(ctx, worker.Options{
				Name: fmt.Sprintf("e%d", i), Command: g.fleet.program.Path, Args: append(args, e.Args...), Model: e.Path,
				Alias: e.Name,
				Slots: e.Slots, Context: e.Context, Threads: threads(g.fleet.most + len(g.cfg.Embedders)), Dir: g.dir.path,
				StartTimeout: w.StartTimeout, StopTimeout: w.StopTimeout, Log: g.log,
			})
		},
		CallTimeout: w.HangTimeout, StallTimeout: w.StallTimeout, WatchInterval: watchInterval,
		Log: g.log.With("embedder", e.Name),
	}
	if g.before != nil { // the one before keeps its own until its end
		opts.Enter = func(ctx context.Context, _ int) (string, error) {
			g.before.await(ctx)
			return "", context.Cause(ctx)
		}
	}
	if w.HangTimeout == 0 {
		opts.CallTimeout, opts.WatchInterval = time.Hour, 0
	}
	return opts
}

// embeddersStarted blocks until all are up, or returns why one cannot be.
func (g *gateway) embeddersStarted(ctx context.Context) error {
	for i, p := range g.embedders {
		if err := p.Started(ctx); err != nil {
			return fmt.Errorf("embedder %s: %w", g.cfg.Embedders[i].Name, err)
		}
	}
	return nil
}
