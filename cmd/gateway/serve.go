package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/loragate/loragate/internal/catalog"
	"github.com/loragate/loragate/internal/config"
	"github.com/loragate/loragate/internal/metrics"
	"github.com/loragate/loragate/internal/pool"
	"github.com/loragate/loragate/internal/proxy"
	"github.com/loragate/loragate/internal/worker"
)

func serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the configured models",
		Long: "Serve the configured models until SIGTERM or SIGINT. The first signal lets running\n" +
			"requests end, up to limits.drain; a second one stops at once.",
		Args: cobra.NoArgs,
	}
	file := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.Load(*file)
		if err != nil {
			return err
		}
		signals := make(chan os.Signal, 2)
		signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
		defer signal.Stop(signals)
		g, err := newGateway(cfg, newLogger(cfg, cmd))
		if err != nil {
			return err
		}
		return g.run(signals)
	}
	return cmd
}

func newLogger(cfg *config.Config, cmd *cobra.Command) *slog.Logger {
	opts := &slog.HandlerOptions{Level: cfg.Log.Level}
	if cfg.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(cmd.ErrOrStderr(), opts))
	}
	return slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), opts))
}

func openCatalog(cfg *config.Config) (*catalog.Catalog, error) {
	entries := make([]catalog.Entry, len(cfg.Adapters.List))
	for i, a := range cfg.Adapters.List {
		entries[i] = catalog.Entry{
			Name: a.Name, Path: a.Path, Scale: a.Scale, Aliases: a.Aliases,
			Weight: a.Weight, MaxConcurrency: a.MaxConcurrency,
		}
	}
	return catalog.Open(catalog.Options{
		BaseName: cfg.Model.Name, BasePath: cfg.Model.Path,
		Dir: cfg.Adapters.Dir, Entries: entries,
	})
}

// gateway is everything that one process serves with.
type gateway struct {
	cfg      *config.Config
	log      *slog.Logger
	models   *catalog.Catalog
	dir      *runtimeDir
	listener net.Listener
	admin    net.Listener // nil for none
	metrics  *metrics.Metrics
	pool     *pool.Pool
	proxy    *proxy.Proxy
}

// newGateway opens the files and the port and starts the workers, which come up
// in the background. What fails here fails before a model is loaded.
func newGateway(cfg *config.Config, log *slog.Logger) (*gateway, error) {
	for _, warning := range cfg.Warnings {
		log.Warn(warning)
	}
	command, err := cfg.ResolveCommand()
	if err != nil {
		return nil, err
	}
	models, err := openCatalog(cfg)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.File, err)
	}
	listener, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	g := &gateway{cfg: cfg, log: log, models: models, listener: listener}
	if err := g.open(); err != nil {
		g.close()
		return nil, err
	}
	g.metrics = newMetrics(g)
	g.pool = pool.New(g.poolOptions(command))
	g.proxy = proxy.New(proxy.Options{
		Catalog: models, Pool: g.pool, Alias: cfg.Model.Name,
		MaxBody: cfg.Limits.Body, ReadTimeout: cfg.Limits.Read, WriteTimeout: cfg.Limits.Write,
		Generation: cfg.Limits.Generation,
		Observer:   observer{g.metrics}, Log: log,
	})
	log.Info("starting", "version", version, "models", len(models.Models()), "workers", cfg.Workers.Count, "llama_server", command)
	return g, nil
}

// open opens what newGateway has not opened yet.
func (g *gateway) open() (err error) {
	if g.cfg.Admin.Listen != "" {
		if g.admin, err = net.Listen("tcp", g.cfg.Admin.Listen); err != nil {
			return fmt.Errorf("admin.listen: %w", err)
		}
	}
	g.dir, err = newRuntimeDir(g.cfg.Workers.RuntimeDir)
	return err
}

// close closes what was opened.
func (g *gateway) close() {
	g.listener.Close()
	if g.admin != nil {
		g.admin.Close()
	}
}

// watchInterval is how often each worker is asked for a sign of life.
const watchInterval = 5 * time.Second

func (g *gateway) poolOptions(command string) pool.Options {
	w := g.cfg.Workers
	files := g.models.Files()
	opts := pool.Options{
		Count: w.Count, Slots: w.Slots,
		Devices: w.Devices,
		Queue:   g.cfg.Scheduler.Queue, MaxWait: g.cfg.Scheduler.MaxWait,
		Quantum: g.cfg.Scheduler.Quantum, Spread: g.cfg.Scheduler.Spread,
		Start: func(ctx context.Context, id int) (pool.Runner, error) {
			return worker.Start(ctx, worker.Options{
				Name: fmt.Sprint(id), Command: command, Args: w.Args,
				Model: g.cfg.Model.Path, Alias: g.cfg.Model.Name, Adapters: files,
				Slots: w.Slots, Context: w.Context, Threads: threads(w.Count), Device: device(w.Devices, id), Dir: g.dir.path,
				StartTimeout: w.StartTimeout, StopTimeout: w.StopTimeout, Log: g.log,
			})
		},
		CallTimeout: w.HangTimeout, WatchInterval: watchInterval, Swapped: g.metrics.Swap, Log: g.log,
	}
	if w.HangTimeout == 0 {
		opts.CallTimeout, opts.WatchInterval = time.Hour, 0
	}
	if w.SelfTest {
		opts.SelfTest = pool.SelfTest(w.Slots, testTargets(g.models), w.StartTimeout)
	}
	return opts
}

// device returns what a worker runs on; "" leaves it to llama-server.
func device(devices []string, worker int) string {
	if len(devices) == 0 {
		return ""
	}
	return devices[worker%len(devices)]
}

// threads returns each worker's share of the processors. llama-server takes them
// all by default, and its threads spin while they wait for one another: several
// workers would slow each other down many times over.
func threads(workers int) int { return max(1, runtime.NumCPU()/workers) }

// testTargets picks what the self-test swaps between: the base and two adapters,
// which is all it takes, however many there are.
func testTargets(models *catalog.Catalog) []pool.Target {
	targets := []pool.Target{{Identity: pool.Base}}
	for _, a := range models.Adapters() {
		if len(targets) == 3 {
			break
		}
		targets = append(targets, proxy.TargetOf(a))
	}
	return targets
}

// run serves until a signal or a failure, and returns when everything that it
// started has ended.
func (g *gateway) run(signals <-chan os.Signal) error {
	server := g.proxy.Server()
	failed := make(chan error, 3)
	go func() { failed <- server.Serve(g.listener) }()
	admin := g.serveAdmin(failed)
	defer admin.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		if err := g.pool.Started(ctx); err != nil {
			failed <- err
			return
		}
		g.log.Info("ready", "url", "http://"+g.listener.Addr().String())
	}()

	var err error
	select {
	case err = <-failed:
	case s := <-signals:
		g.log.Info("stopping, running requests may end", "signal", s.String(), "limit", g.cfg.Limits.Drain)
		hurry, stop := g.secondSignal(signals)
		defer stop()
		g.drain(hurry, server)
	}
	server.Close()
	g.pool.Close()
	g.dir.remove()
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	g.log.Info("stopped")
	return nil
}

// secondSignal returns a context that ends with the next signal, which also
// kills the workers. Its stop function must be called.
func (g *gateway) secondSignal(signals <-chan os.Signal) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		select {
		case s := <-signals:
			g.log.Warn("stopping at once", "signal", s.String())
			cancel()
			g.pool.Kill("stopped at once")
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// drain refuses new requests and blocks until the running ones have ended, the
// limit is over or ctx ends.
func (g *gateway) drain(ctx context.Context, server *http.Server) {
	g.proxy.Drain()
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Limits.Drain)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		g.log.Warn("requests were cut short", "error", err)
	}
}
