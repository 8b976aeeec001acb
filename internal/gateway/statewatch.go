package gateway

import (
	"context"
	"time"

	"github.com/loragate/loragate/internal/state"
)

// stateInterval is how often the state is looked at: what happened to it is known within
// a minute, and that there is room again without anybody having tried a change.
const stateInterval = 30 * time.Second

// watchState looks at the state until ctx ends, and says once what is wrong with it, and
// when it no longer is. What is served does not depend on it.
func (g *gateway) watchState(ctx context.Context) {
	ticker := time.NewTicker(stateInterval)
	defer ticker.Stop()
	var said state.Trouble
	for look := true; ; {
		if look {
			_ = g.state.Check() // Trouble has it
		}
		said = g.sayTrouble(said)
		select {
		case <-g.state.Changed():
			look = false
		case <-ticker.C:
			look = true
		case <-ctx.Done():
			return
		}
	}
}

// sayTrouble logs what is wrong with the state that was not said, and returns what is.
func (g *gateway) sayTrouble(said state.Trouble) state.Trouble {
	now := g.state.Trouble()
	if now.Damage != nil && said.Damage == nil {
		g.log.Error("the state is damaged", "error", now.Damage)
	}
	switch {
	case now.Full && !said.Full:
		g.log.Error("the disk of the state is full: what is stored is served, adapters and keys can be removed but not "+
			"added, usage is kept in memory",
			"dir", g.state.Dir())
	case said.Full && !now.Full:
		g.log.Info("the disk of the state has room again: changes are taken, usage is written", "dir", g.state.Dir())
		g.needToken()
	}
	return now
}

// degraded is what /ready tells of the state; paths are not for clients.
func (g *gateway) degraded() string {
	switch trouble := g.state.Trouble(); {
	case trouble.Damage != nil:
		return "the state is damaged: changes are not taken"
	case trouble.Full:
		return "the disk of the state is full: adapters and keys can be removed but not added"
	}
	return ""
}
