// Package records has what is known of all adapters and compositions, and the rules by
// which that changes: who may have which name, which version answers, what goes. It is
// pure: it asks for nothing, waits for nothing and stores nothing. The catalog owns it, and
// carries out what follows.
package records

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/loragate/loragate/internal/lora"
)

// Entry is an adapter or a composition. Pin is what its spec says; see Pinning.
type Entry struct {
	lora.Record
	Pinned *bool  // what an operator said, in place of Pin
	Seen   string // the digest of the bytes that its source had last
	Print  string // of those bytes' source and of what became of them, in the words of who ingests
	Taken  string // the print of its file on this machine, as it was last taken in; not of the API's

	Pending *Pending // the version that is being got, or nil
	Retry   bool     // that failed last time, through no fault of the source
	// Unfinished says that a version was being got when the gateway ended.
	Unfinished bool
}

// Pinning says whether every worker is to have it loaded.
func (e *Entry) Pinning() bool {
	if e.Pinned != nil {
		return *e.Pinned
	}
	return e.Pin
}

// Become gives an entry another description.
func (e *Entry) Become(s lora.Spec) {
	if e.Pin != s.Pin {
		e.Pinned = nil // the newer word holds
	}
	s.Aliases, s.Shares = slices.Clone(s.Aliases), slices.Clone(s.Shares)
	e.Spec = s
}

// knows reports whether it has a version of those bytes, or its source had them last.
func (e *Entry) knows(digest string) bool { return e.Seen == digest || e.Has(digest) }

// Copy returns the record, for others.
func (e *Entry) Copy() lora.Record {
	r := e.Record
	r.Pin = e.Pinning()
	r.Aliases, r.Shares, r.Versions = slices.Clone(r.Aliases), slices.Clone(r.Shares), slices.Clone(r.Versions)
	return r
}

// Foreign returns why the API may not change an entry, or nil.
func (e *Entry) Foreign() error {
	switch e.Origin {
	case lora.FromDirectory:
		return lora.Errorf(lora.Conflict, "%s comes from the directory: change its file %s there",
			e.Name, filepath.Base(e.Source))
	case lora.FromConfig:
		return lora.Errorf(lora.Conflict, "%s comes from the configuration: change it there", e.Name)
	}
	return nil
}

func (e *Entry) describe() string {
	switch e.Origin {
	case lora.FromDirectory:
		return fmt.Sprintf("the file %s of the directory", filepath.Base(e.Source))
	case lora.FromConfig:
		return fmt.Sprintf("%q of the configuration", e.Name)
	default:
		return fmt.Sprintf("%q", e.Name)
	}
}

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

// Accept takes checked bytes in as the newest version and makes that the one that
// answers, unless it is so already. Of the versions, keep stay.
func (e *Entry) Accept(v *lora.Version, keep int, isLoaded func(string) bool, now time.Time) {
	e.learn(v)
	unchanged := e.Seen == v.Digest && e.Latest() != nil && e.Has(v.Digest)
	e.Seen, e.Updated, e.Reason = v.Digest, now, ""
	if unchanged && e.Origin != lora.FromAPI {
		e.Settle() // whatever an operator rolled back to goes on
		return
	}
	e.Activate(e.newest(v), isLoaded)
	e.Prune(keep)
}

// learn gives the version of v's bytes, if there is one, the warnings that are known of them
// by now. Others may read the one before.
func (e *Entry) learn(v *lora.Version) {
	for i, old := range e.Versions {
		if old.Digest != v.Digest || slices.Equal(old.Warnings, v.Warnings) {
			continue
		}
		next := *old
		next.Warnings = v.Warnings
		e.Versions = slices.Clone(e.Versions) // the caller may put the old ones back
		e.Versions[i] = &next
		for _, at := range []**lora.Version{&e.Active, &e.Staged} {
			if *at == old {
				*at = &next
			}
		}
	}
}

// newest returns the version of v's bytes: the newest, with a number of its own, or the
// one that answers. What came before it is so what a rollback goes to.
func (e *Entry) newest(v *lora.Version) *lora.Version {
	versions := slices.Clone(e.Versions) // the caller may put the old ones back
	last := len(versions) - 1
	if i := slices.IndexFunc(versions, func(x *lora.Version) bool { return x.Digest == v.Digest }); i >= 0 {
		if i == last || versions[i] == e.Latest() {
			return versions[i]
		}
		v.Number = versions[last].Number
		versions = slices.Delete(versions, i, i+1)
	} else if last >= 0 {
		v.Number = versions[last].Number
	}
	v.Number++
	e.Versions = append(versions, v)
	return v
}

// Activate makes v the version that answers: at once, or when a worker has loaded it if
// that is so of the one before.
func (e *Entry) Activate(v *lora.Version, isLoaded func(string) bool) {
	e.Staged = nil
	if e.Active != nil && e.Active.Path != v.Path && isLoaded(e.Active.Path) && !isLoaded(v.Path) {
		e.Staged = v
	} else {
		e.Active = v
	}
	e.Settle()
}

// TakeOver makes a staged version the one that answers if its file is loaded, and reports
// whether it does.
func (e *Entry) TakeOver(loaded func(path string) bool) bool {
	if e.Staged == nil || !loaded(e.Staged.Path) {
		return false
	}
	e.Active, e.Staged = e.Staged, nil
	e.Settle()
	return true
}

// Settle sets the state that follows from the versions.
func (e *Entry) Settle() {
	e.Progress = lora.Progress{}
	switch {
	case e.Pending != nil:
		e.State = lora.Downloading
	case e.Staged != nil:
		e.State = lora.Loading
	case e.Active != nil:
		e.State = lora.Ready
	case e.State != lora.Quarantined:
		e.State = lora.Rejected
	}
}

// Prune forgets the oldest versions, but none from the active one on, and reports whether
// there were any. While a version is staged all are kept.
func (e *Entry) Prune(keep int) bool {
	excess := min(len(e.Versions)-keep, slices.Index(e.Versions, e.Active))
	if excess <= 0 || e.Staged != nil {
		return false
	}
	e.Versions = slices.Clone(e.Versions[excess:])
	return true
}

// Refuse notes that the source cannot be served, perhaps because its bytes are
// quarantined.
func (e *Entry) Refuse(reason string, quarantined bool, now time.Time) {
	e.Reason, e.Updated, e.Print = reason, now, ""
	if e.State = lora.Rejected; quarantined {
		e.State = lora.Quarantined
	}
	e.Settle()
}
