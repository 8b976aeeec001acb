package main

import (
	"context"
	"time"
)

// stateInterval is how often the database is looked at: what happened to it is known
// within a minute.
const stateInterval = 30 * time.Second

// watchState looks at the database until ctx ends, and says once what is wrong with it.
// What is served does not depend on it; changes are refused from then on.
func (g *gateway) watchState(ctx context.Context) {
	ticker := time.NewTicker(stateInterval)
	defer ticker.Stop()
	for {
		if err := g.state.Check(); err != nil {
			g.damaged.Store(true)
			g.log.Error("the state is damaged", "error", err)
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// degraded is what /ready tells of the state; paths are not for clients.
func (g *gateway) degraded() string {
	if g.damaged.Load() {
		return "the state is damaged: changes are not taken"
	}
	return ""
}
