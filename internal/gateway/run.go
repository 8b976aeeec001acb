package gateway

import (
	"context"
	"errors"
	"os"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/loragate/loragate/internal/admin"
	"github.com/loragate/loragate/internal/proxy"
)

// run serves until a signal or a failure, and returns when everything that it started
// has ended.
func (g *gateway) run(ctx context.Context, signals <-chan os.Signal) error {
	requests, cut := context.WithCancelCause(ctx)
	defer cut(nil)
	certificates, signalled, err := g.meet(ctx, signals)
	if err != nil || signalled {
		return err
	}
	failed := make(chan error, 4)
	if err := g.listen(requests, certificates, failed); err != nil {
		return err
	}
	starting, cancel := context.WithCancel(ctx)
	heirs := make(chan heir)
	started := make(chan struct{})
	go func() {
		defer close(started)
		if err := g.start(starting, requests, heirs, failed); err != nil && starting.Err() == nil {
			failed <- err
		}
	}()
	end := func() { cancel(); <-started }
	for {
		select {
		case err := <-failed:
			end()
			g.fail(cut)
			return err
		case s := <-signals:
			end()
			g.stop(s, signals, cut)
		case h := <-heirs:
			if err := g.leavePorts(h); err != nil {
				g.log.Warn(ServesOn, "pid", h.pid, "error", err)
				h.conn.Close()
				continue
			}
			end()
			if err := g.handOver(h, signals, cut); err != nil {
				return err
			}
		}
		g.log.Info("stopped")
		return nil
	}
}

// meet reads the certificates, and, to replace a gateway, looks for what would keep this
// one from serving, and connects to the other if there is one. It blocks while that takes
// over from another, and reports whether a signal came meanwhile.
func (g *gateway) meet(ctx context.Context, signals <-chan os.Signal) (c *certificates, signalled bool, err error) {
	if !g.replace {
		c, err = newCertificates(g.cfg.TLS, g.log)
		return c, false, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	met := make(chan error, 1)
	go func() {
		var err error
		if g.program, c, err = preflight(ctx, g.cfg, g.log); err == nil {
			g.before, g.ports, err = succeed(ctx, g.cfg, g.log)
		}
		met <- err
	}()
	select {
	case err := <-met:
		return c, false, err
	case <-signals:
		cancel()
		<-met
		g.ports.close()
		return nil, true, nil
	}
}

// listen opens the ports, which answer from now on that the gateway starts. requests is
// what ends those that are under way. What fails later is sent on failed.
func (g *gateway) listen(requests context.Context, certificates *certificates, failed chan<- error) (err error) {
	p := g.ports
	if !g.replace {
		if p, err = openPorts(g.cfg, nil); err != nil {
			return err
		}
	}
	g.clients = newEntrance()
	g.clients.front = p.clients
	if g.before != nil {
		g.clients.hold = g.cfg.Scheduler.MaxWait
	}
	g.clients.most = g.mostClients()
	g.clients.server = proxy.NewServer(requests, g.clients, g.log)
	if p.admin != nil {
		g.admin = newEntrance()
		g.admin.front, g.admin.hold = p.admin, g.clients.hold
		g.admin.server = admin.New(g.admin, g.log)
		g.log.Info("admin", "url", "http://"+p.admin.Addr().String())
		go func() { failed <- g.admin.run(nil) }()
	}
	go func() { failed <- g.clients.run(certificates.config()) }()
	return nil
}

// start opens the gateway, says on failed if its workers do not come up, and follows the
// configuration until ctx ends; an error says why it could not be opened. Signs of life
// are given until alive ends.
func (g *gateway) start(ctx, alive context.Context, heirs chan<- heir, failed chan<- error) error {
	if g.before != nil { // the service manager takes it for the one before
		go g.feedWatchdog(alive)
	}
	if err := g.open(ctx); err != nil {
		return err
	}
	looked := make(chan struct{})
	go func() { defer close(looked); g.watchState(ctx) }()
	defer func() { <-looked }() // before the state is closed
	closed := g.handovers(ctx, heirs)
	defer func() { <-closed }() // before an heir has its own
	go g.followReplace(ctx)
	go func() {
		if err := g.sayReady(ctx); err != nil {
			failed <- err
		}
	}()
	if g.before == nil {
		go g.feedWatchdog(alive)
	}
	g.watchConfig(ctx, g.load, g.hangups)
	return nil
}

// sayReady says that the gateway serves, once its workers are up: of one that takes over
// the first, since the others may have to wait for the gateway before. An error says why
// they are not.
func (g *gateway) sayReady(ctx context.Context) error {
	if g.before == nil {
		if err := errors.Join(g.pool.Started(ctx), g.embeddersStarted(ctx)); err != nil {
			return err
		}
	} else if err := g.pool.Serves(ctx); err != nil {
		return err
	}
	for _, e := range g.entrances() {
		e.arrive()
	}
	g.log.Info("ready", "url", g.url())
	if g.before != nil {
		g.before.tellReady(ctx)
	}
	g.tellSystemd(daemon.SdNotifyReady)
	return nil
}

func (g *gateway) url() string {
	scheme := "http://"
	if g.cfg.TLS.Cert != "" {
		scheme = "https://"
	}
	return scheme + g.clients.front.Addr().String()
}
