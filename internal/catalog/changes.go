package catalog

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Put adds an adapter (from Spec.Source) or a composition (of Spec.Shares), or
// replaces the one of that name, which must be the API's own. It returns when
// the change is stored. Without wait that is before the source was fetched: the
// record is then Downloading, and what it replaces goes on serving; a
// replacement that is under way when the gateway is killed is forgotten.
//
// With wait it returns when the new version answers; the error is then of code
// Refused or TooLarge if the source cannot be served, Failed if it could not be
// got, Conflict if another change took its place. If ctx ends meanwhile, the
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
	j, err := c.putAdapter(c.ctx, spec, c.slotsFor(spec.Source), c.source(spec))
	if err != nil {
		return Record{}, err
	}
	if wait {
		return c.await(ctx, spec.Name, j)
	}
	r, _ := c.Get(spec.Name)
	return r, nil
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
	j, err := c.putAdapter(ctx, spec, c.remote, from)
	if err != nil {
		return Record{}, err
	}
	<-j.done
	record, _ := c.Get(spec.Name)
	if j.err != nil {
		return record, j.err
	}
	return record, nil
}

func (c *Catalog) putAdapter(ctx context.Context, spec Spec, slots chan struct{}, from get) (j *job, err error) {
	err = c.change(func() error {
		e := c.st.entries[spec.Name]
		if err := c.mayPut(spec, e); err != nil {
			return err
		}
		if e != nil && e.kind == KindComposition {
			return refuse(Conflict, "%s is a composition: remove it first", spec.Name)
		}
		if e == nil {
			e = &entry{kind: KindAdapter, origin: FromAPI, spec: spec, state: Downloading, updated: time.Now().UTC()}
			if spec.Source != "" { // one that waits for its source is fetched after a restart, too
				if err := c.store(e); err != nil {
					return err
				}
			}
			c.st.entries[spec.Name] = e
		}
		j = c.take(ctx, e, spec, nil, slots, from)
		return nil
	})
	return j, err
}

func (c *Catalog) mayPut(spec Spec, e *entry) error {
	if e != nil {
		if err := e.foreign(); err != nil {
			return err
		}
	}
	return c.st.clash(spec, e)
}

func (c *Catalog) putComposition(spec Spec) (r Record, err error) {
	err = c.change(func() error {
		old := c.st.entries[spec.Name]
		if err := c.mayPut(spec, old); err != nil {
			return err
		}
		if old != nil && old.kind != KindComposition {
			return refuse(Conflict, "%s is an adapter: remove it first", spec.Name)
		}
		e := &entry{kind: KindComposition, origin: FromAPI, spec: spec, updated: time.Now().UTC()}
		e.composed(&c.st)
		if err := c.store(e); err != nil {
			return err
		}
		c.st.entries[spec.Name] = e
		r = e.record()
		c.log.Info("composition set", "name", spec.Name, "state", e.state, "reason", e.reason)
		return nil
	})
	return r, err
}

// Remove removes the API's adapter or composition of that name, its versions and
// their quarantine. When it returns the name is unknown; requests that had it
// already go on.
func (c *Catalog) Remove(name string) error {
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

// remove forgets a record, whatever its origin. The caller holds the lock.
func (c *Catalog) remove(e *entry) error {
	if err := c.opts.Store.Delete(string(e.origin), e.spec.Name); err != nil {
		return &Error{Code: Failed, Message: "the change could not be stored", Cause: err}
	}
	c.abandon(e, refuse(Conflict, "%s was removed meanwhile", e.spec.Name))
	if c.st.lost[e.spec.Name] == e {
		delete(c.st.lost, e.spec.Name)
	} else {
		delete(c.st.entries, e.spec.Name)
	}
	for _, digest := range append([]string{e.seen}, digests(e)...) {
		if _, bad := c.st.quarantined[digest]; !bad || c.known(digest) {
			continue
		}
		if err := c.opts.Store.Release(digest); err != nil {
			c.log.Error("releasing a quarantine", "name", e.spec.Name, "error", err)
			continue
		}
		delete(c.st.quarantined, digest)
	}
	c.log.Info("model removed", "name", e.spec.Name, "origin", e.origin)
	return nil
}

func digests(e *entry) (list []string) {
	for _, v := range e.versions {
		list = append(list, v.Digest)
	}
	return list
}

// known reports whether a record has a version of those bytes.
func (c *Catalog) known(digest string) bool {
	for _, set := range []map[string]*entry{c.st.entries, c.st.lost} {
		for _, e := range set {
			if slices.ContainsFunc(e.versions, func(v *Version) bool { return v.Digest == digest }) {
				return true
			}
		}
	}
	return false
}

// Pin sets whether every worker has the model loaded at all times, whatever its
// origin. It holds over restarts, until the configuration's own value changes.
func (c *Catalog) Pin(name string, pin bool) (Record, error) {
	return c.edit(name, func(e *entry) error {
		e.pinned = &pin
		c.log.Info("model pinned", "name", name, "pin", pin)
		return nil
	})
}

// Rollback makes the version before the active (or staged) one active, whatever
// the adapter's origin. It holds until the source has other bytes.
func (c *Catalog) Rollback(name string) (Record, error) {
	return c.edit(name, func(e *entry) error {
		v := c.st.previous(e)
		if v == nil {
			return refuse(Conflict, "%s has no version before the present one", name)
		}
		c.abandon(e, errSuperseded)
		e.reason = ""
		e.activate(v, c.opts.IsLoaded)
		c.log.Info("adapter rolled back", "name", name, "version", v.Number, "digest", v.Digest[:12], "staged", e.staged != nil)
		return nil
	})
}

// edit changes a record and stores it, or changes nothing.
func (c *Catalog) edit(name string, f func(e *entry) error) (r Record, err error) {
	err = c.change(func() error {
		e := c.st.entries[name]
		if e == nil {
			return refuse(NotFound, "there is no adapter %q", shorten(name))
		}
		before := *e
		if err := f(e); err != nil {
			return err
		}
		e.updated = time.Now().UTC()
		if err := c.store(e); err != nil {
			*e = before
			return err
		}
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
		for _, e := range c.st.entries {
			if e.staged != nil && e.staged.Path == path {
				e.active, e.staged = e.staged, nil
				e.settle()
				c.log.Info("adapter's version answers", "name", e.spec.Name, "version", e.active.Number, "digest", e.active.Digest[:12])
			}
		}
		return nil
	})
}

// Quarantine says that the file made llama-server end. No worker is to load its
// bytes again: the version before it answers, or the model is Quarantined.
func (c *Catalog) Quarantine(path, reason string) {
	digest := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	_ = c.change(func() error {
		if err := c.opts.Store.Quarantine(digest, reason); err != nil {
			c.log.Error("storing a quarantine", "digest", digest, "error", err)
		}
		for _, e := range c.st.quarantine(digest, reason, c.opts.IsLoaded, time.Now().UTC()) {
			c.log.Error("adapter quarantined", "name", e.spec.Name, "digest", digest[:min(12, len(digest))], "goes_on", e.active != nil, "reason", reason)
			if err := c.store(e); err != nil {
				c.log.Error("storing a record", "name", e.spec.Name, "error", errors.Unwrap(err))
			}
		}
		return nil
	})
}

// sweep deletes bytes that nobody needs any more, every minute.
func (c *Catalog) sweep() {
	ticker := time.NewTicker(time.Minute)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			c.collect()
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
	for _, digest := range stored {
		c.mu.Lock()
		known := c.known(digest)
		c.mu.Unlock()
		if known || c.opts.InUse(blobs.Path(digest)) {
			continue
		}
		if err := blobs.Delete(digest); err != nil {
			c.log.Error("deleting an adapter's bytes", "digest", digest[:12], "error", err)
		}
	}
}
