package catalog

import (
	"path/filepath"
	"strings"
	"time"

	"github.com/loragate/loragate/internal/catalog/records"
	"github.com/loragate/loragate/internal/lora"
	"github.com/loragate/loragate/internal/state"
)

// Compose adds a composition of the API, or replaces the one of that name. It returns when
// the change is stored.
func (c *Catalog) Compose(spec lora.Spec) (r lora.Record, err error) {
	err = c.change(func() error {
		old, err := c.records.MayPut(&spec)
		if err != nil {
			return err
		}
		e := &records.Entry{Record: lora.Record{Kind: lora.KindComposition, Origin: lora.FromAPI}}
		e.Updated = time.Now().UTC()
		if old != nil {
			e.Pinned, e.Pin = old.Pinned, old.Pin
		}
		e.Become(spec)
		c.records.Compose(e)
		if err := c.store.put(e); err != nil {
			return err
		}
		c.records.Put(e)
		r = e.Copy()
		c.log.Info("composition set", "name", spec.Name, "state", e.State, "reason", e.Reason)
		return nil
	})
	return r, err
}

// Remove removes the API's adapter or composition of that name, its versions and
// their quarantine, also on a full disk. When it returns the name is unknown; requests
// that had it already go on, and its bytes are deleted when no worker may open them any
// more.
func (c *Catalog) Remove(name string) error {
	defer fill(c.signals.Bytes)
	return c.change(func() error {
		e := c.records.Own(name)
		if e == nil {
			if r, stray := c.records.Get(name); stray {
				return (&records.Entry{Record: r}).Foreign()
			}
			return unknown(name)
		}
		if err := e.Foreign(); err != nil {
			return err
		}
		return c.remove(e)
	})
}

// unknown is for a change of what there is not.
func unknown(name string) error {
	return lora.Errorf(lora.NotFound, "there is no adapter %q", lora.Shorten(name))
}

// Pin sets whether every worker has the model loaded at all times, whatever its
// origin. It holds over restarts, until the configuration's own value changes.
func (c *Catalog) Pin(name string, pin bool) (lora.Record, error) {
	r, err := c.edit(name, func(e *records.Entry) error {
		e.Pinned = &pin
		return nil
	})
	if err == nil {
		c.log.Info("model pinned", "name", name, "pin", pin)
	}
	return r, err
}

// Rollback makes the version before the active (or staged) one active, whatever
// the adapter's origin. It holds until the source has other bytes.
func (c *Catalog) Rollback(name string) (lora.Record, error) {
	var v *lora.Version
	r, err := c.edit(name, func(e *records.Entry) error {
		if v = c.records.Previous(e); v == nil {
			return lora.Errorf(lora.Conflict, "%s has no version before the present one", name)
		}
		e.Pending, e.Reason = nil, ""
		e.Activate(v, c.opts.IsLoaded)
		return nil
	})
	if err == nil {
		c.log.Info("adapter rolled back", "name", name, "version", v.Number, "digest", v.Digest[:12],
			"staged", r.Staged != nil)
	}
	return r, err
}

// edit changes a record and stores it, or changes nothing. f gets a copy; if it
// takes from it what it waits for, that is given up.
func (c *Catalog) edit(name string, f func(e *records.Entry) error) (r lora.Record, err error) {
	err = c.change(func() error {
		e := c.records.Entry(name)
		if e == nil {
			return unknown(name)
		}
		next := *e
		if err := f(&next); err != nil {
			return err
		}
		next.Updated = time.Now().UTC()
		if err := c.store.put(&next); err != nil {
			return err
		}
		if next.Pending == nil {
			e.Abandon(records.ErrSuperseded)
		}
		*e = next
		r = e.Copy()
		return nil
	})
	return r, err
}

// Quarantine says that the file made llama-server end. No worker is to load its
// bytes again: the version before it answers, or the model is Quarantined.
func (c *Catalog) Quarantine(path, reason string) {
	digest := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	_ = c.change(func() error {
		u := state.Update{Quarantine: map[string]string{digest: reason}}
		for _, e := range c.records.Quarantine(digest, reason, c.opts.IsLoaded, time.Now().UTC()) {
			u.Put = append(u.Put, stored(e))
			c.log.Error("adapter quarantined", "name", e.Name, "digest", digest[:min(12, len(digest))],
				"goes_on", e.Active != nil, "reason", reason)
		}
		if err := c.store.commit(u); err != nil {
			c.store.complain("storing a quarantine", err, "digest", digest) // it holds until the gateway ends
		}
		return nil
	})
}

// Digests returns those of all versions, of which somebody may need the bytes.
func (c *Catalog) Digests() map[string]bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.records.Digests()
}
