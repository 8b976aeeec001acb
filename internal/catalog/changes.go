package catalog

import (
	"cmp"
	"context"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/loragate/loragate/internal/lora"
	"github.com/loragate/loragate/internal/state"
)

// Put adds an adapter (from Spec.Source) or a composition (of Spec.Shares), or
// replaces the one of that name, which must be the API's own. It returns when
// the change is stored. Without wait that is before the source was fetched: the
// record is then Downloading, and what it replaces goes on serving; a
// replacement that is under way when the gateway is killed is forgotten.
//
// On a full disk it is refused with Full, and nothing is changed.
//
// With wait it returns when the new version answers; the error is then of code
// Refused or TooLarge if the source cannot be served, Failed if it could not be
// got, Full if there was no room for it, Conflict if another change took its place. If ctx ends meanwhile, the
// intake goes on.
//
// A source that cannot be served leaves what it would have replaced as it was;
// if the name is new, a rejected record is left.
func (c *Catalog) Put(ctx context.Context, spec Spec, wait bool) (Record, error) {
	if err := validate(spec); err != nil {
		return Record{}, err
	}
	if len(spec.Shares) > 0 {
		return c.putComposition(spec)
	}
	if spec.Source == "" {
		return Record{}, refuse(Invalid, "%s: an adapter needs a source", spec.Name)
	}
	r, j, err := c.putAdapter(c.ctx, spec, c.slotsFor(spec.Source), c.source(spec))
	if err != nil || !wait {
		return r, err
	}
	return c.await(ctx, spec.Name, j)
}

// Upload is Put with the bytes of a GGUF or an archive read from r; filename
// tells which. Spec.Source must be empty. It returns when the version is stored
// and published: the record is Ready, or Loading if an older version serves
// until a worker has loaded it. r is not read after it returns. When ctx ends
// the upload is given up.
func (c *Catalog) Upload(ctx context.Context, spec Spec, r io.Reader, filename string) (Record, error) {
	if err := validate(spec); err != nil {
		return Record{}, err
	}
	if spec.Source != "" || len(spec.Shares) > 0 {
		return Record{}, refuse(Invalid, "%s: an upload has no source and no parts", spec.Name)
	}
	from := func(ctx context.Context, progress func(done, total int64)) (string, func(), error) {
		return c.opts.Receive(ctx, r, filename, spec.Digest, progress)
	}
	_, j, err := c.putAdapter(ctx, spec, c.remote, from)
	if err != nil {
		return Record{}, err
	}
	<-j.done
	record, ok := c.Get(spec.Name)
	if j.err == nil && !ok {
		return Record{}, removed(spec.Name)
	}
	return record, j.err
}

func (c *Catalog) putAdapter(ctx context.Context, spec Spec, slots chan struct{}, from get) (r Record, j *job, err error) {
	if err := c.opts.Store.Room(); err != nil { // before anything is fetched
		return Record{}, nil, asError(err)
	}
	err = c.change(func() error {
		e, err := c.mayPut(spec, KindAdapter)
		if err != nil {
			return err
		}
		if e == nil {
			e = &entry{kind: KindAdapter, origin: FromAPI}
		}
		if e.latest() == nil || c.st.lost[spec.Name] == e { // there is nothing that goes on serving
			next := *e
			next.become(spec)
			next.state, next.reason, next.updated = Downloading, "", time.Now().UTC()
			if spec.Source != "" { // one that waits for its source is fetched after a restart, too
				if err := c.store(&next); err != nil {
					return err
				}
			}
			*e = next
			delete(c.st.lost, spec.Name)
			c.st.entries[spec.Name] = e
		}
		j = c.take(ctx, e, spec, nil, slots, from)
		r = e.record()
		return nil
	})
	return r, j, err
}

// mayPut returns the record that a spec of the API replaces, nil for none, or why
// it cannot be put.
func (c *Catalog) mayPut(spec Spec, kind Kind) (*entry, error) {
	e := c.st.entries[spec.Name]
	if e != nil {
		if err := e.foreign(); err != nil {
			return nil, err
		}
	} else {
		e = c.st.lost[spec.Name]
	}
	if err := cmp.Or(c.st.clash(spec, e), c.st.reserved(spec, e)); err != nil {
		return nil, err
	}
	if e != nil && e.kind != kind {
		return nil, refuse(Conflict, "%s is %s: remove it first", spec.Name, map[Kind]string{KindAdapter: "an adapter", KindComposition: "a composition"}[e.kind])
	}
	return e, nil
}

func (c *Catalog) putComposition(spec Spec) (r Record, err error) {
	err = c.change(func() error {
		old, err := c.mayPut(spec, KindComposition)
		if err != nil {
			return err
		}
		e := &entry{kind: KindComposition, origin: FromAPI, updated: time.Now().UTC()}
		if old != nil {
			e.pinned, e.spec.Pin = old.pinned, old.spec.Pin
		}
		e.become(spec)
		e.composed(&c.st)
		if err := c.store(e); err != nil {
			return err
		}
		delete(c.st.lost, spec.Name)
		c.st.entries[spec.Name] = e
		r = e.record()
		c.log.Info("composition set", "name", spec.Name, "state", e.state, "reason", e.reason)
		return nil
	})
	return r, err
}

// removed is what those learn who waited for a model that is gone.
func removed(name string) *Error { return refuse(Conflict, "%s was removed meanwhile", name) }

// Remove removes the API's adapter or composition of that name, its versions and
// their quarantine, also on a full disk. When it returns the name is unknown; requests
// that had it already go on, and its bytes are deleted when no worker may open them any
// more.
func (c *Catalog) Remove(name string) error {
	defer func() {
		select {
		case c.freed <- struct{}{}:
		default: // it is to be looked at already
		}
	}()
	return c.change(func() error {
		e := c.st.entries[name]
		if lost := c.st.lost[name]; lost != nil {
			e = lost
		}
		if e == nil {
			return refuse(NotFound, "there is no adapter %q", shorten(name))
		}
		if err := e.foreign(); err != nil {
			return err
		}
		return c.remove(e)
	})
}

// remove forgets records, whatever their origin: all of them, or none if the
// store fails. The caller holds the lock.
func (c *Catalog) remove(gone ...*entry) error {
	u := c.forgetting(gone)
	if err := c.commit(u); err != nil {
		return err
	}
	c.drop(gone, u.Release)
	return nil
}

// forgetting returns the update that forgets records, and with them the
// quarantine of bytes that no other record knows. The caller holds the lock.
func (c *Catalog) forgetting(gone []*entry) (u state.Update) {
	for _, e := range gone {
		u.Forget = append(u.Forget, state.Key{Origin: string(e.origin), Name: e.spec.Name})
		for digest := range c.st.quarantined {
			if e.knows(digest) && !c.st.known(digest, gone) {
				u.Release = append(u.Release, digest)
			}
		}
	}
	return u
}

// drop takes records out once that is stored. The caller holds the lock.
func (c *Catalog) drop(gone []*entry, released []string) {
	for _, e := range gone {
		name := e.spec.Name
		c.abandon(e, removed(name))
		for _, set := range []map[string]*entry{c.st.entries, c.st.lost} {
			if set[name] == e {
				delete(set, name)
			}
		}
		c.log.Info("model removed", "name", name, "origin", e.origin)
	}
	for _, digest := range released {
		delete(c.st.quarantined, digest)
	}
}

// Pin sets whether every worker has the model loaded at all times, whatever its
// origin. It holds over restarts, until the configuration's own value changes.
func (c *Catalog) Pin(name string, pin bool) (Record, error) {
	r, err := c.edit(name, func(e *entry) error {
		e.pinned = &pin
		return nil
	})
	if err == nil {
		c.log.Info("model pinned", "name", name, "pin", pin)
	}
	return r, err
}

// Rollback makes the version before the active (or staged) one active, whatever
// the adapter's origin. It holds until the source has other bytes.
func (c *Catalog) Rollback(name string) (Record, error) {
	var v *lora.Version
	r, err := c.edit(name, func(e *entry) error {
		if v = c.st.previous(e); v == nil {
			return refuse(Conflict, "%s has no version before the present one", name)
		}
		e.job, e.reason = nil, ""
		e.activate(v, c.opts.IsLoaded)
		return nil
	})
	if err == nil {
		c.log.Info("adapter rolled back", "name", name, "version", v.Number, "digest", v.Digest[:12], "staged", r.Staged != nil)
	}
	return r, err
}

// edit changes a record and stores it, or changes nothing. f gets a copy; if it
// takes the intake from it, that ends.
func (c *Catalog) edit(name string, f func(e *entry) error) (r Record, err error) {
	err = c.change(func() error {
		e := c.st.entries[name]
		if e == nil {
			return refuse(NotFound, "there is no adapter %q", shorten(name))
		}
		next := *e
		if err := f(&next); err != nil {
			return err
		}
		next.updated = time.Now().UTC()
		if err := c.store(&next); err != nil {
			return err
		}
		if next.job == nil {
			c.abandon(e, errSuperseded)
		}
		*e = next
		r = e.record()
		return nil
	})
	return r, err
}

// Loaded says that a worker has loaded the file: if it is that of a staged
// version, that becomes active. It may call Changed.
func (c *Catalog) Loaded(path string) {
	if !c.snap.Load().staged[path] {
		return
	}
	_ = c.change(func() error {
		c.takeOver(func(other string) bool { return other == path })
		return nil
	})
}

// takeOver makes the staged versions active whose files are loaded. The caller
// holds the lock.
func (c *Catalog) takeOver(loaded func(path string) bool) (changed bool) {
	for _, e := range c.st.entries {
		if e.staged == nil || !loaded(e.staged.Path) {
			continue
		}
		e.active, e.staged, changed = e.staged, nil, true
		e.settle()
		c.log.Info("adapter's version answers", "name", e.spec.Name, "version", e.active.Number, "digest", e.active.Digest[:12])
		next := *e
		if !next.prune(c.st.keep) {
			continue
		}
		if err := c.store(&next); err != nil {
			c.complain("storing a record", err, "name", e.spec.Name)
			continue
		}
		*e = next
	}
	return changed
}

// Quarantine says that the file made llama-server end. No worker is to load its
// bytes again: the version before it answers, or the model is Quarantined.
func (c *Catalog) Quarantine(path, reason string) {
	digest := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	_ = c.change(func() error {
		u := state.Update{Quarantine: map[string]string{digest: reason}}
		for _, e := range c.st.quarantine(digest, reason, c.opts.IsLoaded, time.Now().UTC()) {
			u.Put = append(u.Put, e.stored())
			c.log.Error("adapter quarantined", "name", e.spec.Name, "digest", digest[:min(12, len(digest))], "goes_on", e.active != nil, "reason", reason)
		}
		if err := c.commit(u); err != nil {
			c.complain("storing a quarantine", err, "digest", digest) // it holds until the gateway ends
		}
		return nil
	})
}

// sweep deletes bytes that nobody needs any more, every minute and when a model was
// removed, and tries sources of the configuration again that failed, every minute.
func (c *Catalog) sweep() {
	ticker := time.NewTicker(time.Minute)
	defer ticker.Stop()
	for {
		select {
		case <-c.freed:
			c.collect()
		case <-ticker.C:
			c.collect()
			c.retry()
		case <-c.ctx.Done():
			return
		}
	}
}

// collect deletes bytes of which no record has a version and that no worker may
// still open.
func (c *Catalog) collect() {
	c.storing.Lock()
	defer c.storing.Unlock()
	blobs := c.opts.Store.Blobs()
	stored, err := blobs.List()
	if err != nil {
		c.log.Error("listing stored adapters", "error", err)
		return
	}
	c.mu.Lock()
	known := c.st.digests() // none comes while storing is held
	c.mu.Unlock()
	for _, digest := range stored {
		if known[digest] || c.opts.InUse(blobs.Path(digest)) {
			continue
		}
		if err := blobs.Delete(digest); err != nil {
			c.log.Error("deleting an adapter's bytes", "digest", digest[:12], "error", err)
		}
	}
}

// retry takes sources of the configuration in that failed through no fault of
// theirs. Those of the directory are tried again at a rescan, those of the API
// when somebody asks for it.
func (c *Catalog) retry() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil || c.opts.Store.Trouble().Full { // on a full disk nothing comes of it
		return
	}
	for _, e := range c.st.entries {
		if e.origin == FromConfig && e.retry && e.job == nil {
			c.take(c.ctx, e, e.spec, nil, c.slotsFor(e.spec.Source), c.source(e.spec)) // its end is published
		}
	}
}
