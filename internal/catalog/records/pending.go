package records

import (
	"context"

	"github.com/loragate/loragate/internal/lora"
)

// Pending is a version that an entry waits for. Whoever ingests gets it and hands it to the
// catalog; what can be read of it here never changes.
type Pending struct {
	Name   string
	Origin lora.Origin
	Source string // "" for an upload
	Digest string // that the source must have, or ""
	Print  string // of a file of the directory: as it was when it was found
	Served bool   // an older version answers meanwhile

	entry  *Entry
	spec   lora.Spec // that the entry has when all went well; of the entry's owner
	ctx    context.Context
	cancel context.CancelCauseFunc
}

// ErrSuperseded is why a version is given up when a newer change of the same model begins.
var ErrSuperseded = lora.Errorf(lora.Conflict, "another change of this model took its place")

// Begin has an entry wait for a version, after which it is what spec says. Whatever it
// waited for before is given up.
func (e *Entry) Begin(spec lora.Spec) *Pending {
	e.Abandon(ErrSuperseded)
	p := &Pending{
		Name: spec.Name, Origin: e.Origin, Source: spec.Source, Digest: spec.Digest, Served: e.Latest() != nil,
		entry: e, spec: spec,
	}
	if e.Origin == lora.FromDirectory {
		p.Print = e.Taken
	}
	p.ctx, p.cancel = context.WithCancelCause(context.Background())
	e.Pending, e.Retry = p, false
	e.Settle()
	return p
}

// Abandon gives up the version that an entry waits for, if it does.
func (e *Entry) Abandon(cause error) {
	if e.Pending != nil {
		e.Pending.cancel(cause)
		e.Pending = nil
	}
}

// Context ends when the entry has no use for the version any more, with the cause.
func (p *Pending) Context() context.Context { return p.ctx }

// End returns the entry, which waits no longer, and what it is to become; nil if it has no
// use for the version any more.
func (p *Pending) End() (*Entry, lora.Spec) {
	if p.entry.Pending != p {
		return nil, p.spec
	}
	p.entry.Pending = nil
	return p.entry, p.spec
}

// Tell notes how far the version is.
func (p *Pending) Tell(done, total int64) {
	if p.entry.Pending == p {
		p.entry.Progress = lora.Progress{Done: done, Total: total}
	}
}
