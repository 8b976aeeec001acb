package proxy

import (
	"github.com/loragate/loragate/internal/pool"
	"github.com/loragate/loragate/internal/proxy/relay"
)

// Pool is what the proxy needs of a pool; *pool.Pool is the real one.
type Pool interface {
	relay.Pool
	Any() (pool.Runner, error)
	Facts() pool.Facts
	Stats() pool.Stats
}
