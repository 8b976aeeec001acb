package gateway

import (
	"context"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// tellSystemd sends the service manager a state, if there is one that wants to
// know.
func (g *gateway) tellSystemd(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		g.log.Warn("the service manager cannot be told", "state", state, "error", err)
	}
}

// feedWatchdog gives signs of life until ctx ends, if the service manager asks for
// them: as long as the pool, once there is one, can be looked at, which needs the lock that everything
// else needs.
func (g *gateway) feedWatchdog(ctx context.Context) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil || interval == 0 {
		return
	}
	ticker := time.NewTicker(interval / 3)
	defer ticker.Stop()
	for {
		if p := g.running.Load(); p != nil {
			p.Stats()
		}
		g.tellSystemd(daemon.SdNotifyWatchdog)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}
