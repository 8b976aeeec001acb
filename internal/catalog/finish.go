package catalog

import (
	"context"
	"errors"
	"time"

	"github.com/loragate/loragate/internal/catalog/records"
	"github.com/loragate/loragate/internal/lora"
	"github.com/loragate/loragate/internal/state"
)

// Outcome is what became of a pending version.
type Outcome struct {
	Version *lora.Version // checked, its bytes stored; nil unless Err is
	Err     error         // a *lora.Error keeps its code, any other is Failed
	Read    string        // the print of the source as it was read; "" if it changed meanwhile, or has none
	// Print tells what was read and what became of it, given the version that answers
	// since, nil for none. It may look at files.
	Print func(answers *lora.Version) string
}

// Finish makes what was got, or why nothing was, the record's. The error says why it is
// not what answers, or will. If the record has no use for it nothing changes. The version's
// bytes must stay until it returns.
func (c *Catalog) Finish(p *records.Pending, got Outcome) error {
	c.mu.Lock()
	e, spec := p.End()
	err := context.Cause(p.Context())
	if e != nil {
		before := e.Latest()
		if e.Origin == lora.FromConfig {
			e.Taken = got.Read
		}
		err = c.conclude(e, p, spec, got)
		if !c.opening && c.ctx.Err() == nil { // a start publishes once, and an end nothing
			c.publish()
		}
		if err == nil {
			c.logChange(before, e) // not before it is true
		}
	}
	c.mu.Unlock()
	c.opts.Changed()
	return err
}

// conclude is Finish for a record that has waited.
func (c *Catalog) conclude(e *records.Entry, p *records.Pending, spec lora.Spec, got Outcome) error {
	bad, err := false, got.Err
	if err == nil {
		bad, err = c.accept(e, spec, got)
	}
	if err == nil {
		return nil
	}
	failed := asError(err)
	if c.ctx.Err() != nil {
		return failed // not the source's fault
	}
	known := e.Reason == failed.Message && e.Origin != lora.FromAPI // tried again, with no more luck
	e.Refuse(failed.Message, bad, time.Now().UTC())
	if failed.Temporary() {
		e.Retry, e.Taken = true, "" // the source is looked at once more
	} else if !bad {
		e.Print = got.Print(e.Latest())
	}
	if stored := c.store.put(e); stored != nil {
		c.store.complain("storing a refusal", stored, "name", e.Name)
		if state.IsFull(stored) && e.Origin == lora.FromAPI && p.Source == "" && len(e.Versions) == 0 {
			c.records.Drop(e) // an upload of a new name: nothing of it was ever stored
		}
	}
	if !known {
		c.log.Warn("adapter rejected", "name", e.Name, "reason", failed, "cause", errors.Unwrap(failed),
			"goes_on", e.Active != nil)
	}
	return failed
}

// accept makes a version the record's, and the record what spec says, or changes nothing.
// bad says that its bytes are quarantined.
func (c *Catalog) accept(e *records.Entry, spec lora.Spec, got Outcome) (bad bool, err error) {
	v := got.Version
	if reason, bad := c.records.Quarantined(v.Digest); bad {
		e.Seen = v.Digest // so that the quarantine goes with this record, too
		return true, lora.Errorf(lora.Refused,
			"these bytes are quarantined (%s): remove the model and add it again to try once more", reason)
	}
	before := *e
	e.Become(spec)
	v.Source = spec.Source
	e.Accept(v, c.opts.KeepVersions, c.opts.IsLoaded, time.Now().UTC())
	e.Print = got.Print(e.Latest())
	if err := c.store.put(e); err != nil {
		*e = before
		return false, err
	}
	return false, nil
}

func (c *Catalog) logChange(before *lora.Version, e *records.Entry) {
	v := e.Latest()
	what := "adapter added"
	switch {
	case before != nil && before.Number == v.Number:
		what = "adapter unchanged"
	case before != nil:
		what = "adapter replaced"
	}
	c.log.Info(what, "name", e.Name, "version", v.Number, "digest", v.Digest[:12], "rank", v.Rank, "bytes", v.Bytes,
		"staged", e.Staged != nil)
	if len(v.Warnings) > 0 && before != v {
		c.log.Warn("adapter may not do what it was trained for", "name", e.Name, "version", v.Number,
			"warnings", v.Warnings)
	}
}

// Answers blocks until the version of those bytes, which Finish took, answers for the name.
// The error says why it will not.
func (c *Catalog) Answers(ctx context.Context, name, digest string) (lora.Record, error) {
	for {
		c.mu.Lock()
		e, published := c.records.Entry(name), c.published
		if e == nil {
			c.mu.Unlock()
			return lora.Record{}, Removed(name)
		}
		r, v := e.Copy(), e.Latest()
		reason, bad := c.records.Quarantined(digest)
		c.mu.Unlock()
		switch {
		case bad:
			return r, lora.Errorf(lora.Refused, "quarantined: %s", reason)
		case v == nil || v.Digest != digest:
			return r, records.ErrSuperseded
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
}
