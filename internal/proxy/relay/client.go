package relay

import (
	"github.com/loragate/loragate/internal/pool"
	"github.com/loragate/loragate/internal/proxy/sse"
)

// Client is who gets an answer. One goroutine at a time uses it.
type Client interface {
	// Leased is told of each lease that the request gets, before it runs.
	Leased(l *pool.Lease)
	// SendWhole sends a whole answer.
	SendWhole(text []byte) error
	// BeginStream sends the head of a stream of events and returns what sends these.
	BeginStream() *sse.Sender
	// FirstEvent is told that the first event of a stream is about to be sent.
	FirstEvent()
	// Provenance is, as a comment in a stream, what the head would tell of the lease.
	Provenance() []byte
	// LogAttrs are what the log says of who asked what.
	LogAttrs() []any
}
