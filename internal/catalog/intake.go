package catalog

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/loragate/loragate/internal/lora"
	"github.com/loragate/loragate/internal/state"
)

// job is one intake that is under way.
type job struct {
	spec   Spec  // that the record has when it ends well; whoever holds the catalog's lock owns it and cause
	cause  error // why the record has no use for it any more, or nil
	cancel context.CancelCauseFunc
	done   chan struct{} // closed at its end
	err    error         // how it ended; this and digest are written before done is closed
	digest string        // of the bytes that it brought
	// same reports whether the source is still as it was when the job began; nil
	// is always.
	same   func() bool
	source string // of spec, which never changes
	print  string // of the source, as it was read; "" is not known
}

// get brings a source to a local GGUF.
type get func(ctx context.Context, progress func(done, total int64)) (path string, release func(), err error)

// errSuperseded ends an intake when a newer change of the same model begins.
var errSuperseded = refuse(Conflict, "another change of this model took its place")

// errStopping is for changes after Close.
var errStopping = refuse(Failed, "the gateway is stopping")

// intakes bound how many sources are read at once: those of this machine, and
// those that come from elsewhere, which are slow.
const (
	localIntakes  = 2
	remoteIntakes = 8
)

// take begins the intake of a record's source. The caller holds the lock.
func (c *Catalog) take(ctx context.Context, e *entry, spec Spec, same func() bool, slots chan struct{}, from get) *job {
	c.abandon(e, errSuperseded)
	ctx, cancel := context.WithCancelCause(ctx)
	j := &job{spec: spec, source: spec.Source, cancel: cancel, done: make(chan struct{}), same: same}
	e.job, e.retry = j, false
	e.settle()
	c.wg.Go(func() {
		defer cancel(nil)
		stop := context.AfterFunc(c.ctx, func() { cancel(context.Cause(c.ctx)) })
		defer stop()
		before := sourcePrint(j.source)
		v, err := c.run(ctx, e, j, slots, from)
		if sourcePrint(j.source) == before {
			j.print = before
		}
		c.finish(e, j, v, err)
	})
	return j
}

// abandon ends a record's intake, if one is under way. The caller holds the lock.
func (c *Catalog) abandon(e *entry, cause error) {
	if e.job != nil {
		e.job.cause = cause
		e.job.cancel(cause)
		e.job = nil
	}
}

// run gets a source, checks it and stores its bytes. When it returns without
// error the caller holds c.storing for reading.
func (c *Catalog) run(ctx context.Context, e *entry, j *job, slots chan struct{}, from get) (*lora.Version, error) {
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	path, release, err := from(ctx, func(done, total int64) { c.progress(e, j, done, total) })
	if err != nil {
		return nil, err
	}
	defer release()
	info, err := c.opts.Check(ctx, path)
	if err != nil {
		return nil, err
	}
	file, err := os.Stat(path)
	if err == nil {
		err = c.fits(file.Size()) // before it takes room
	}
	if err != nil {
		return nil, err
	}
	c.storing.RLock()
	digest, size, err := c.opts.Store.Blobs().Put(ctx, path)
	if err == nil {
		err = c.fits(size)
	}
	if err == nil && j.same != nil && !j.same() {
		err = refuse(Failed, "it changed while it was read")
	}
	if err != nil {
		c.storing.RUnlock()
		return nil, err
	}
	return &lora.Version{
		Digest: digest, Path: c.opts.Store.Blobs().Path(digest), Bytes: size, Rank: info.Rank, Alpha: info.Alpha,
		Architecture: info.Architecture, Created: time.Now().UTC(),
	}, nil
}

// fits returns why a worker cannot load a file of that size, or nil.
func (c *Catalog) fits(size int64) error {
	if c.opts.MaxBytes > 0 && size > c.opts.MaxBytes {
		return refuse(TooLarge, "it has %d bytes, and a worker may load %d", size, c.opts.MaxBytes)
	}
	return nil
}

func (c *Catalog) progress(e *entry, j *job, done, total int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.job == j {
		e.progress = Progress{Done: done, Total: total}
	}
}

// finish ends an intake. If the record has no use for it nothing changes.
func (c *Catalog) finish(e *entry, j *job, v *lora.Version, err error) {
	c.mu.Lock()
	if e.job != j {
		j.err = j.cause
	} else {
		e.job = nil
		before := e.latest()
		j.err = c.conclude(e, j, v, err)
		if !c.opening && c.ctx.Err() == nil { // a start publishes once, and an end nothing
			c.publish()
		}
		if j.err == nil {
			c.logChange(before, e) // not before it is true
		}
	}
	c.mu.Unlock()
	if v != nil {
		c.storing.RUnlock()
	}
	close(j.done)
	c.opts.Changed()
}

// conclude makes what an intake brought, or why it brought nothing, the record's.
func (c *Catalog) conclude(e *entry, j *job, v *lora.Version, err error) error {
	now := time.Now().UTC()
	bad := false
	if err == nil {
		var reason string
		if reason, bad = c.st.quarantined[v.Digest]; bad {
			e.seen = v.Digest // so that the quarantine goes with this record, too
			err = refuse(Refused, "these bytes are quarantined (%s): remove the model and add it again to try once more", reason)
		}
	}
	if err == nil {
		before := *e
		e.become(j.spec)
		v.Source = j.spec.Source
		c.st.accept(e, v, c.opts.IsLoaded, now)
		e.print = c.print(j.print, e.latest())
		if err = c.store(e); err == nil {
			j.digest = v.Digest
			return nil
		}
		*e = before
	}
	err = asError(err)
	if c.ctx.Err() != nil {
		return err // not the source's fault
	}
	if asError(err).temporary() {
		c.again(e)
	}
	known := e.reason == err.Error() && e.origin != FromAPI // tried again, with no more luck
	e.refused(err.Error(), bad, now)
	if !asError(err).temporary() && !bad {
		e.print = c.print(j.print, e.latest())
	}
	if stored := c.store(e); stored != nil {
		c.complain("storing a refusal", stored, "name", e.spec.Name)
		if state.IsFull(stored) && e.origin == FromAPI && j.source == "" && len(e.versions) == 0 {
			delete(c.st.entries, e.spec.Name) // an upload of a new name: nothing of it was ever stored
		}
	}
	if !known {
		c.log.Warn("adapter rejected", "name", e.spec.Name, "reason", err, "cause", errors.Unwrap(err),
			"goes_on", e.active != nil)
	}
	return err
}

func (c *Catalog) logChange(before *lora.Version, e *entry) {
	v := e.latest()
	what := "adapter added"
	switch {
	case before == v:
		what = "adapter unchanged"
	case before != nil:
		what = "adapter replaced"
	}
	c.log.Info(what, "name", e.spec.Name, "version", v.Number, "digest", v.Digest[:12], "rank", v.Rank, "bytes", v.Bytes, "staged", e.staged != nil)
}

// full has the text of a full disk, which is the same for every file and every try.
var full state.FullError

// asError gives every error a code.
func asError(err error) *Error {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e
	case state.IsFull(err):
		return &Error{Code: Full, Message: full.Error(), Cause: err}
	case errors.Is(err, context.Canceled):
		return &Error{Code: Failed, Message: "it was given up before its end", Cause: err}
	}
	return &Error{Code: Failed, Message: err.Error(), Cause: err}
}

// source is the get of a spec's source.
func (c *Catalog) source(spec Spec) get {
	return func(ctx context.Context, progress func(done, total int64)) (string, func(), error) {
		return c.opts.Intake(ctx, spec.Source, spec.Digest, progress)
	}
}

// slotsFor picks how an intake is bounded.
func (c *Catalog) slotsFor(source string) chan struct{} {
	if len(source) > 0 && source[0] == '/' {
		return c.local
	}
	return c.remote
}

// await blocks until an intake has ended and what it brought answers.
func (c *Catalog) await(ctx context.Context, name string, j *job) (Record, error) {
	select {
	case <-j.done:
	case <-ctx.Done():
		r, _ := c.Get(name)
		return r, context.Cause(ctx)
	}
	for j.err == nil {
		c.mu.Lock()
		e, published := c.st.entries[name], c.published
		if e == nil {
			c.mu.Unlock()
			return Record{}, removed(name)
		}
		r, v := e.record(), e.latest()
		reason, bad := c.st.quarantined[j.digest]
		c.mu.Unlock()
		switch {
		case bad:
			return r, refuse(Refused, "quarantined: %s", reason)
		case v == nil || v.Digest != j.digest:
			return r, errSuperseded
		case r.Staged == nil:
			return r, nil
		}
		select {
		case <-published:
		case <-ctx.Done():
			return r, context.Cause(ctx)
		case <-c.ctx.Done():
			return r, errStopping
		}
	}
	r, _ := c.Get(name)
	return r, j.err
}
