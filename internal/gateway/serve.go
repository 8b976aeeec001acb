// Package gateway is what one process serves with: what is opened, in which order, how the
// parts are tied, what is reloaded, handed over and closed.
package gateway

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/loragate/loragate/internal/auth"
	"github.com/loragate/loragate/internal/catalog"
	"github.com/loragate/loragate/internal/catalog/ingest"
	"github.com/loragate/loragate/internal/config"
	"github.com/loragate/loragate/internal/logsink"
	"github.com/loragate/loragate/internal/metrics"
	"github.com/loragate/loragate/internal/pool"
	"github.com/loragate/loragate/internal/proxy"
	"github.com/loragate/loragate/internal/proxy/bounds"
	"github.com/loragate/loragate/internal/state"
	"github.com/loragate/loragate/internal/usage"
	"github.com/loragate/loragate/internal/worker"
)

// Options says how to serve.
type Options struct {
	Load    func() (*config.Config, error) // the configuration, as it is at the moment
	Replace bool                           // take over from the gateway that serves from the same state
	Version string                         // of the program, for its log
	Log     io.Writer
}

// Serve serves until SIGTERM or SIGINT, or a failure, and returns when all that it started
// has ended. The first signal lets running requests end, up to limits.drain; a second one
// stops at once. It takes over this process's signals.
func Serve(ctx context.Context, o Options) error {
	// From the first moment to the last, or they would end it: what is not waited for
	// has no effect, and what comes early has it once the gateway is open.
	hangups, replaces := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	signal.Notify(replaces, syscall.SIGUSR2)
	cfg, err := o.Load()
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)
	log, level, sink := newLogger(cfg, o.Log)
	defer sink.Close() // after everything that logs has ended
	g := &gateway{
		cfg: cfg, load: o.Load, log: log, level: level, replace: o.Replace, version: o.Version,
		hangups: hangups, replaces: replaces, token: adminToken{configured: cfg.Admin.Token},
		finished: make(chan struct{}, 1),
	}
	return g.run(ctx, signals)
}

// newLogger returns a logger whose level can be changed, and what writes its lines.
// That must be closed, or the last ones are lost.
func newLogger(cfg *config.Config, out io.Writer) (*slog.Logger, *slog.LevelVar, *logsink.Sink) {
	level := new(slog.LevelVar)
	level.Set(cfg.Log.Level)
	handler := func(w io.Writer) slog.Handler {
		opts := &slog.HandlerOptions{Level: level}
		if cfg.Log.Format == "json" {
			return slog.NewJSONHandler(w, opts)
		}
		return slog.NewTextHandler(w, opts)
	}
	direct := slog.New(handler(out))
	sink := logsink.New(out, func(lines int, cause error) {
		direct.Error("lines of this log were lost", "lines", lines, "error", cause)
	})
	return slog.New(sink.Handler(handler(sink))), level, sink
}

// gateway is everything that one process serves with.
type gateway struct {
	cfg   *config.Config // as it was at the start
	load  func() (*config.Config, error)
	log   *slog.Logger
	level *slog.LevelVar

	version           string           // of the program
	hangups, replaces <-chan os.Signal // SIGHUP and SIGUSR2

	replace bool           // take over from another gateway
	before  *predecessor   // nil for none
	ports   ports          // that were opened or taken over to replace another
	program worker.Program // llama-server, if that was looked up before there were ports
	moves   bool           // workers take the places of those before one by one

	clients   *entrance
	admin     *entrance // nil for none
	operators *shift    // the admin API behind that; nil for none

	// What follows is there once the gateway is open.
	fleet     *fleet
	dir       *runtimeDir
	state     *state.DB
	models    *catalog.Catalog
	ingest    *ingest.Ingest
	metrics   *metrics.Metrics
	auth      *auth.Auth
	token     adminToken
	usage     *usage.Recorder
	pool      *pool.Pool
	embedders []*pool.Pool // as in the configuration
	proxy     *proxy.Proxy
	gaveAway  bool          // an heir has the state; run's goroutine owns it
	finished  chan struct{} // filled when requests have ended

	running  atomic.Pointer[pool.Pool] // the pool, for the catalog, which is there before it
	changing sync.Mutex                // held while a change of the catalog is passed on
}

// open opens the files and starts the workers, which come up in the background, and has
// the ports serve with all of that. It blocks while adapters are looked at, until ctx
// ends; close closes what was opened, also after an error.
func (g *gateway) open(ctx context.Context) error {
	for _, warning := range g.cfg.Warnings {
		g.log.Warn(warning)
	}
	program := g.program
	if program.Path == "" {
		var err error
		if program, err = findProgram(ctx, g.cfg); err != nil {
			return err
		}
	}
	early, before, err := g.inherit(ctx, program)
	if err != nil {
		return err
	}
	defer early.close()
	wait := g.before != nil && !early.follows(before)
	if !wait {
		if err := g.plan(ctx, program, before); err != nil {
			return err
		}
	}
	if err := g.openState(ctx); err != nil {
		return err
	}
	if wait {
		g.log.Info("workers that are not as those of the gateway before start once that has ended")
		g.before.await(ctx)
		if err := g.plan(ctx, program, nil); err != nil {
			return err
		}
	}
	g.startPool()
	g.log.Info("starting", "version", g.version, "models", len(g.models.Models()), "workers", g.cfg.Workers.Count,
		"slots", g.fleet.slots, "kv", g.fleet.kv,
		"llama_server", program.Path, "build", program.Build)
	return nil
}

// inherit waits for the state of the gateway before, if there is one, and returns what its
// workers are, nil if they are gone, and an early plan, which has a share in CUDA's
// multi-process service and must be closed. It blocks until then, or until ctx ends.
func (g *gateway) inherit(ctx context.Context, program worker.Program) (early *fleet, before *crew, err error) {
	if g.before == nil {
		return nil, nil, nil
	}
	if early, err = planFleet(ctx, g.cfg, slog.New(slog.DiscardHandler), program); err != nil {
		return nil, nil, err
	}
	if before, err = g.before.inherit(ctx, g.log); err != nil {
		early.close()
		return nil, nil, err
	}
	return early, before, nil
}

// plan decides what the workers are to be, and has them take the places of those before, if
// there are any, one by one.
func (g *gateway) plan(ctx context.Context, program worker.Program, before *crew) (err error) {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if g.fleet, err = planFleet(ctx, g.cfg, g.log, program); err != nil {
		return err
	}
	if g.moves = g.fleet.follows(before); g.moves {
		g.before.permits.plan(g.fleet.places())
	}
	return nil
}

// openState opens the state and all that is in it.
func (g *gateway) openState(ctx context.Context) (err error) {
	if g.dir, err = newRuntimeDir(g.cfg.Workers.RuntimeDir); err != nil {
		return err
	}
	if err := g.openCatalog(ctx); err != nil {
		return err
	}
	if err := g.openAccounts(); err != nil {
		return err
	}
	if g.before != nil {
		g.before.tellTo(g.credit)
	}
	return nil
}

// startPool starts the workers, and has the ports serve with them.
func (g *gateway) startPool() {
	cfg := g.cfg
	g.metrics = newMetrics(g)
	g.pool = pool.New(g.poolOptions(), stock(g.models))
	g.running.Store(g.pool)
	g.catalogChanged() // it may have, meanwhile
	g.proxy = proxy.New(proxy.Options{
		Catalog: g.models, Pool: g.pool, Alias: cfg.Model.Name,
		Bounds: bounds.Limits{
			Context: cfg.Workers.Context, Grammar: cfg.Limits.Grammar, Fields: cfg.Limits.Fields,
			RemoteMedia: cfg.Limits.RemoteMedia,
		},
		MaxBody: cfg.Limits.Body, MaxText: cfg.Limits.Text, Memory: bodyMemory(cfg, "/"),
		Vocabulary: g.vocabulary(cfg.Model.Path), ReadTimeout: cfg.Limits.Read, WriteTimeout: cfg.Limits.Write,
		Generation: cfg.Limits.Generation, KeepAlive: cfg.Limits.KeepAlive,
		Adapters: g.vllm(), AdminToken: g.token.value,
		Auth: g.auth, Embedders: g.startEmbedders(), Rules: rules(cfg), DefaultModel: cfg.Catalog.DefaultModel,
		MaxTokens: cfg.Catalog.MaxTokens,
		Origins:   cfg.CORS.Origins, Local: cfg.Local(), Hosts: cfg.Auth.Hosts, LogPrompts: cfg.Log.Prompts,
		Degraded: g.degraded,
		Observer: observer{g.metrics, g.usage, g.finished}, Log: g.log,
	})
	g.clients.serve(g.proxy)
	if g.admin != nil {
		g.operators = newShift(g.adminHandler(), &g.admin.starting)
		g.admin.serve(g.operators)
	}
}

// vllm is what vLLM's endpoints for adapters work on, or nil if they are off.
func (g *gateway) vllm() proxy.Adapters {
	if !g.cfg.Catalog.VLLMEndpoints {
		return nil
	}
	return adapters{g.models, g.ingest}
}

// close stops the workers and closes what was opened.
func (g *gateway) close() {
	if g.pool != nil {
		g.pool.Close()
	}
	for _, p := range g.embedders {
		p.Close()
	}
	if g.ingest != nil {
		g.ingest.Close()
	}
	g.before.ignore()
	if g.usage != nil {
		g.usage.Close()
	}
	if g.state != nil && !g.gaveAway {
		if err := g.state.Close(); err != nil {
			g.log.Error("closing the state", "error", err)
		}
	}
	if g.fleet != nil {
		g.fleet.close()
	}
	if g.dir != nil {
		g.dir.remove()
	}
}

// watchInterval is how often each worker is asked for a sign of life.
//
// llama-server looks whether a client is still there when nothing has come for it for a
// second; an answer to us is something.
const watchInterval = 2 * time.Second

// firstFiles is how many adapters the first worker loads at most before it serves, if there
// are others: llama-server takes seconds for thousands.
const firstFiles = 128

func (g *gateway) poolOptions() pool.Options {
	w, f := g.cfg.Workers, g.fleet
	opts := pool.Options{
		Count: f.count, Slots: f.slots, Adjacent: f.kv == worker.SplitKV,
		Devices: f.devices, Together: f.together(),
		Queue: g.cfg.Scheduler.Queue, MaxWait: g.cfg.Scheduler.MaxWait,
		Quantum: schedulerTime(g.cfg.Scheduler.Quantum), ScaleOutAfter: schedulerTime(g.cfg.Scheduler.ScaleOutAfter),
		Aging:     g.cfg.Scheduler.Aging,
		MaxLoaded: w.MaxLoaded, Memory: w.AdapterMemory, Spares: w.Spare, ReloadInterval: w.ReloadInterval,
		Start: func(ctx context.Context, s pool.Start) (pool.Runner, error) {
			return worker.Start(ctx, worker.Options{
				Name: fmt.Sprint(s.ID), Command: f.program.Path, Args: w.Args,
				Model: g.cfg.Model.Path, Alias: g.cfg.Model.Name, Adapters: paths(s.Files),
				Slots: f.slots, Context: w.Context, KV: f.kv, Threads: threads(f.most), Device: s.Device, Dir: g.dir.path,
				Env:         f.env(),
				MemoryLimit: w.MemoryLimit, StartTimeout: w.StartTimeout, StopTimeout: w.StopTimeout, Log: g.log,
			})
		},
		Loaded: g.loaded, Quarantined: g.quarantined,
		CallTimeout: w.HangTimeout, StallTimeout: w.StallTimeout, SharedFate: f.service != nil,
		WatchInterval: watchInterval, Swapped: g.metrics.Swap, Log: g.log,
		Ended: func(end pool.End) { g.metrics.WorkerEnded(string(end)) },
	}
	if f.count == 0 {
		opts.Place = f.size // by what the first worker takes with all that it loads
	} else {
		opts.First = firstFiles
	}
	if g.moves {
		opts.Enter = g.before.permits.await
	}
	if w.HangTimeout == 0 {
		opts.CallTimeout, opts.WatchInterval = time.Hour, 0
	}
	if w.SelfTest {
		opts.SelfTest = pool.SelfTest(f.slots, w.StartTimeout)
	}
	return opts
}

func paths(files []pool.File) []string {
	list := make([]string, len(files))
	for i, file := range files {
		list[i] = string(file)
	}
	return list
}

// threads returns each worker's share of the processors. llama-server takes them
// all by default, and its threads spin while they wait for one another: several
// workers would slow each other down many times over.
func threads(workers int) int { return max(1, runtime.GOMAXPROCS(0)/workers) }
