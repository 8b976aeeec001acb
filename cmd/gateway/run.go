package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/loragate/loragate/internal/admin"
	"github.com/loragate/loragate/internal/front"
	"github.com/loragate/loragate/internal/proxy"
)

// run serves until a signal or a failure, and returns when everything that it started
// has ended.
func (g *gateway) run(ctx context.Context, signals <-chan os.Signal) error {
	requests, cut := context.WithCancelCause(ctx)
	defer cut(nil)
	failed := make(chan error, 4)
	if err := g.listen(requests, failed); err != nil {
		return err
	}
	starting, cancel := context.WithCancel(ctx)
	started := make(chan struct{})
	go func() {
		defer close(started)
		if err := g.start(starting, requests, failed); err != nil && starting.Err() == nil {
			failed <- err
		}
	}()
	end := func() { cancel(); <-started }
	select {
	case err := <-failed:
		end()
		g.fail(cut)
		return err
	case s := <-signals:
		end()
		g.stop(s, signals, cut)
		g.log.Info("stopped")
		return nil
	}
}

// listen opens the ports, which answer from now on that the gateway starts. requests is
// what ends those that are under way. What fails later is sent on failed.
func (g *gateway) listen(requests context.Context, failed chan<- error) error {
	certificates, err := newCertificates(g.cfg.TLS, g.log)
	if err != nil {
		return err
	}
	g.clients = &entrance{}
	if g.clients.front, err = front.Listen(g.cfg.Listen); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	g.clients.server = proxy.NewServer(requests, g.clients, g.log)
	if g.cfg.Admin.Listen != "" {
		port, err := front.Listen(g.cfg.Admin.Listen)
		if err != nil {
			g.clients.front.Close()
			return fmt.Errorf("admin.listen: %w", err)
		}
		g.admin = &entrance{front: port}
		g.admin.server = admin.New(g.admin, g.log)
		g.log.Info("admin", "url", "http://"+port.Addr().String())
		go func() { failed <- g.admin.run(nil) }()
	}
	go func() { failed <- g.clients.run(certificates.config()) }()
	return nil
}

// start opens the gateway, says on failed if its workers do not come up, and follows the
// configuration until ctx ends; an error says why it could not be opened. Signs of life
// are given until alive ends.
func (g *gateway) start(ctx, alive context.Context, failed chan<- error) error {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	if err := g.open(ctx); err != nil {
		return err
	}
	go func() {
		if err := errors.Join(g.pool.Started(ctx), g.embeddersStarted(ctx)); err != nil {
			failed <- err
			return
		}
		g.log.Info("ready", "url", g.url())
		g.tellSystemd(daemon.SdNotifyReady)
	}()
	go g.feedWatchdog(alive)
	g.watchConfig(ctx, g.load, hangup)
	return nil
}

func (g *gateway) url() string {
	scheme := "http://"
	if g.cfg.TLS.Cert != "" {
		scheme = "https://"
	}
	return scheme + g.clients.front.Addr().String()
}
