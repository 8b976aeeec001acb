package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"github.com/loragate/loragate/internal/auth"
	"github.com/loragate/loragate/internal/catalog"
	"github.com/loragate/loragate/internal/config"
	"github.com/loragate/loragate/internal/front"
	"github.com/loragate/loragate/internal/logsink"
	"github.com/loragate/loragate/internal/metrics"
	"github.com/loragate/loragate/internal/pool"
	"github.com/loragate/loragate/internal/proxy"
	"github.com/loragate/loragate/internal/state"
	"github.com/loragate/loragate/internal/usage"
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
		log, level, sink := newLogger(cfg, cmd.ErrOrStderr())
		defer sink.Close() // after everything that logs has ended
		g, err := openUnlessStopped(signals, func(ctx context.Context) (*gateway, error) {
			return newGateway(ctx, cfg, log, level)
		})
		if err != nil {
			return err
		}
		hangup := make(chan os.Signal, 1)
		signal.Notify(hangup, syscall.SIGHUP)
		defer signal.Stop(hangup)
		ctx, cancel := context.WithCancel(cmd.Context())
		watched := make(chan struct{})
		go func() {
			defer close(watched)
			g.watchConfig(ctx, func() (*config.Config, error) { return config.Load(*file) }, hangup)
		}()
		defer func() { cancel(); <-watched }()
		return g.run(signals)
	}
	return cmd
}

// openUnlessStopped opens a gateway, which takes a while with many adapters; a
// signal ends that.
func openUnlessStopped(signals <-chan os.Signal, open func(context.Context) (*gateway, error)) (*gateway, error) {
	ctx, cancel := context.WithCancelCause(context.Background())
	opened := make(chan struct{})
	defer cancel(nil)
	go func() {
		select {
		case s := <-signals:
			cancel(fmt.Errorf("stopped by signal: %s", s))
		case <-opened:
		}
	}()
	g, err := open(ctx)
	close(opened)
	return g, err
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
	cfg      *config.Config // as it was at the start
	fleet    *fleet
	log      *slog.Logger
	level    *slog.LevelVar
	dir      *runtimeDir
	state    *state.DB
	models   *catalog.Catalog
	listener net.Listener
	clients  *front.Listener // the listener, with a bound

	certificates *certificates // nil for plain HTTP

	admin     net.Listener // nil for none
	metrics   *metrics.Metrics
	auth      *auth.Auth
	token     adminToken
	usage     *usage.Recorder
	pool      *pool.Pool
	embedders []*pool.Pool // as in the configuration
	proxy     *proxy.Proxy

	running  atomic.Pointer[pool.Pool] // the pool, for the catalog, which is there before it
	damaged  atomic.Bool               // the state is; see watchState
	changing sync.Mutex                // held while a change of the catalog is passed on
}

// newGateway opens the files and the port and starts the workers, which come up
// in the background. What fails here fails before a model is loaded. It blocks
// while adapters are looked at, until ctx ends.
func newGateway(ctx context.Context, cfg *config.Config, log *slog.Logger, level *slog.LevelVar) (*gateway, error) {
	for _, warning := range cfg.Warnings {
		log.Warn(warning)
	}
	program, err := findProgram(ctx, cfg)
	if err != nil {
		return nil, err
	}
	g := &gateway{cfg: cfg, log: log, level: level, token: adminToken{configured: cfg.Admin.Token}}
	if g.fleet, err = planFleet(ctx, cfg, log, program); err != nil {
		return nil, err
	}
	if err := g.open(ctx); err != nil {
		g.close()
		return nil, err
	}
	g.metrics = newMetrics(g)
	g.pool = pool.New(g.poolOptions(), stock(g.models))
	g.running.Store(g.pool)
	g.catalogChanged() // it may have, meanwhile
	g.clients = front.Listen(g.listener, g.mostClients())
	g.proxy = proxy.New(proxy.Options{
		Catalog: g.models, Pool: g.pool, Alias: cfg.Model.Name,
		Bounds:  proxy.Bounds{Context: cfg.Workers.Context, Grammar: cfg.Limits.Grammar, Fields: cfg.Limits.Fields},
		MaxBody: cfg.Limits.Body, MaxText: cfg.Limits.Text, Memory: bodyMemory(cfg, "/"), LongestToken: g.longestToken(), ReadTimeout: cfg.Limits.Read, WriteTimeout: cfg.Limits.Write,
		Generation: cfg.Limits.Generation, RemoteMedia: cfg.Limits.RemoteMedia, Adapters: g.vllm(), AdminToken: g.token.value,
		Auth: g.auth, Embedders: g.startEmbedders(), Rules: rules(cfg), DefaultModel: cfg.Catalog.DefaultModel,
		Origins: cfg.CORS.Origins, Local: cfg.Local(), Hosts: cfg.Auth.Hosts, LogPrompts: cfg.Log.Prompts, Degraded: g.degraded, Observer: observer{g.metrics, g.usage}, Log: log,
	})
	log.Info("starting", "version", version, "models", len(g.models.Models()), "workers", cfg.Workers.Count, "slots", g.fleet.slots, "kv", g.fleet.kv,
		"llama_server", program.Path, "build", program.Build)
	return g, nil
}

// vllm is what vLLM's endpoints for adapters work on, or nil if they are off.
func (g *gateway) vllm() proxy.Adapters {
	if !g.cfg.Catalog.VLLMEndpoints {
		return nil
	}
	return g.models
}

// open opens what newGateway needs.
func (g *gateway) open(ctx context.Context) (err error) {
	if g.listener, err = net.Listen("tcp", g.cfg.Listen); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if g.cfg.Admin.Listen != "" {
		if g.admin, err = net.Listen("tcp", g.cfg.Admin.Listen); err != nil {
			return fmt.Errorf("admin.listen: %w", err)
		}
	}
	if g.certificates, err = newCertificates(g.cfg.TLS, g.log); err != nil {
		return err
	}
	if g.dir, err = newRuntimeDir(g.cfg.Workers.RuntimeDir); err != nil {
		return err
	}
	if err := g.openCatalog(ctx); err != nil {
		return err
	}
	return g.openAccounts()
}

// close closes what was opened.
func (g *gateway) close() {
	for _, l := range []net.Listener{g.listener, g.admin} {
		if l != nil {
			l.Close()
		}
	}
	if g.models != nil {
		g.models.Close()
	}
	if g.usage != nil {
		g.usage.Close()
	}
	if g.state != nil {
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

func (g *gateway) poolOptions() pool.Options {
	w, f := g.cfg.Workers, g.fleet
	opts := pool.Options{
		Count: f.count, Slots: f.slots, Adjacent: f.kv == worker.SplitKV,
		Devices: f.devices, Together: f.together(),
		Queue: g.cfg.Scheduler.Queue, MaxWait: g.cfg.Scheduler.MaxWait,
		Quantum: schedulerTime(g.cfg.Scheduler.Quantum), Spread: schedulerTime(g.cfg.Scheduler.Spread), HeadStart: g.cfg.Scheduler.HeadStart,
		MaxLoaded: w.MaxLoaded, Memory: w.AdapterMemory, Spares: w.Spare, ReloadInterval: w.ReloadInterval,
		Start: func(ctx context.Context, s pool.Start) (pool.Runner, error) {
			return worker.Start(ctx, worker.Options{
				Name: fmt.Sprint(s.ID), Command: f.program.Path, Args: w.Args,
				Model: g.cfg.Model.Path, Alias: g.cfg.Model.Name, Adapters: paths(s.Files),
				Slots: f.slots, Context: w.Context, KV: f.kv, Threads: threads(f.most), Device: s.Device, Dir: g.dir.path, Env: f.env(),
				MemoryLimit: w.MemoryLimit, StartTimeout: w.StartTimeout, StopTimeout: w.StopTimeout, Log: g.log,
			})
		},
		Loaded: g.loaded, Spoiled: g.spoiled,
		CallTimeout: w.HangTimeout, StallTimeout: w.StallTimeout, SharedFate: f.service != nil, WatchInterval: watchInterval, Swapped: g.metrics.Swap, Log: g.log,
		Ended: func(end pool.End) { g.metrics.WorkerEnded(string(end)) },
	}
	if f.count == 0 {
		opts.Place = f.size
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

// run serves until a signal or a failure, and returns when everything that it
// started has ended.
func (g *gateway) run(signals <-chan os.Signal) error {
	server := g.proxy.Server()
	server.ConnState = g.clients.State
	failed := make(chan error, 3)
	go func() { failed <- g.serveClients(server) }()
	admin := g.serveAdmin(failed)
	defer admin.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		if err := errors.Join(g.pool.Started(ctx), g.embeddersStarted(ctx)); err != nil {
			failed <- err
			return
		}
		g.log.Info("ready", "url", g.url())
		g.tellSystemd(daemon.SdNotifyReady)
	}()
	go g.feedWatchdog(ctx)
	looked := make(chan struct{})
	go func() {
		defer close(looked)
		g.watchState(ctx)
	}()

	var err error
	select {
	case err = <-failed:
	case s := <-signals:
		g.tellSystemd(daemon.SdNotifyStopping)
		g.proxy.Drain() // before it is said
		g.log.Info("stopping, running requests may end", "signal", s.String(), "limit", g.cfg.Limits.Drain)
		hurry, stop := g.secondSignal(signals)
		defer stop()
		g.drain(hurry, server)
	}
	server.Close()
	g.pool.Close()
	for _, p := range g.embedders {
		p.Close()
	}
	cancel()
	<-looked // before the state is closed
	g.close()
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	g.log.Info("stopped")
	return nil
}

// serveClients serves the main listener, with TLS if that is configured.
func (g *gateway) serveClients(server *http.Server) error {
	if g.certificates == nil {
		return server.Serve(g.clients)
	}
	server.TLSConfig = g.certificates.config()
	// Streams are made for HTTP/1.1: a connection each, with deadlines of its own.
	server.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
	return server.ServeTLS(g.clients, "", "")
}

func (g *gateway) url() string {
	if g.certificates != nil {
		return "https://" + g.listener.Addr().String()
	}
	return "http://" + g.listener.Addr().String()
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

// drain blocks until the running requests have ended, the limit is over or ctx ends.
// New ones are refused already.
func (g *gateway) drain(ctx context.Context, server *http.Server) {
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Limits.Drain)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		g.log.Warn("requests were cut short", "error", err)
	}
}
