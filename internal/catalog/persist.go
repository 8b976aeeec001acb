package catalog

import (
	"errors"
	"fmt"
	"time"

	"github.com/loragate/loragate/internal/state"
	"github.com/loragate/loragate/internal/store"
)

// stored is a record as it is kept. A version that waits for a worker is kept as
// the one that answers: after a restart nothing is loaded yet.
func (e *entry) stored() state.Adapter {
	a := state.Adapter{
		Name: e.spec.Name, Kind: string(e.kind), Origin: string(e.origin), Source: e.spec.Source, WantDigest: e.spec.Digest,
		Scale: e.spec.Scale, Settings: e.spec.Settings, Shares: e.spec.Shares,
		Pin: e.spec.Pin, Pinned: e.pinned, Preload: e.spec.Preload,
		Seen: e.seen, Print: e.print, State: string(e.state), Reason: e.reason, Updated: e.updated,
	}
	if v := e.latest(); v != nil {
		a.Active = v.Number
	}
	for _, v := range e.versions {
		a.Versions = append(a.Versions, *v)
	}
	return a
}

// restored is a record as it was kept, with the versions whose files are there.
func restored(a state.Adapter, blobs *store.Blobs) *entry {
	e := &entry{
		spec: Spec{
			Name: a.Name, Source: a.Source, Digest: a.WantDigest, Scale: a.Scale, Settings: a.Settings,
			Shares: a.Shares, Pin: a.Pin, Preload: a.Preload,
		},
		kind: Kind(a.Kind), origin: Origin(a.Origin), pinned: a.Pinned,
		seen: a.Seen, print: a.Print, state: State(a.State), reason: a.Reason, updated: a.Updated,
	}
	for _, v := range a.Versions {
		if !blobs.Has(v.Digest, v.Bytes) {
			continue
		}
		version := &v
		version.Path = blobs.Path(v.Digest)
		e.versions = append(e.versions, version)
		if v.Number == a.Active {
			e.active = version
		}
	}
	if e.active == nil && a.Active != 0 {
		e.reason = fmt.Sprintf("the file of version %d is not in the state directory any more", a.Active)
	}
	e.unfinished = e.state == Downloading && e.spec.Source != ""
	e.settle()
	return e
}

// stray is the record of something that cannot have its name.
func stray(spec Spec, origin Origin, reason string, at time.Time) Record {
	return Record{Spec: spec, Kind: KindAdapter, Origin: origin, State: Rejected, Reason: reason, Updated: at}
}

// store keeps a record.
func (c *Catalog) store(e *entry) error {
	return c.commit(state.Update{Put: []state.Adapter{e.stored()}})
}

// unlessFull is an error of the store while the catalog opens, but nil for a full disk,
// which keeps nothing that is stored from being served: what could not be stored follows
// from what is configured, and is done again at the next start.
func unlessFull(err error) error {
	if state.IsFull(err) {
		return nil
	}
	return err
}

// complain logs that something could not be stored. That the disk is full is said once,
// by whoever watches the state.
func (c *Catalog) complain(what string, err error, about ...any) {
	if !state.IsFull(err) {
		c.log.Error(what, append(about, "error", errors.Unwrap(err))...)
	}
}

// commit keeps a change, in whole or not at all.
func (c *Catalog) commit(u state.Update) error {
	err := c.opts.Store.Apply(u)
	if state.IsFull(err) {
		return asError(err)
	}
	if err != nil {
		return &Error{Code: Failed, Message: "the change could not be stored", Cause: err}
	}
	return nil
}
