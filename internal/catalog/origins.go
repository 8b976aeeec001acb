package catalog

import (
	"time"

	"github.com/loragate/loragate/internal/catalog/records"
	"github.com/loragate/loragate/internal/lora"
	"github.com/loragate/loragate/internal/state"
)

// Configure replaces the configuration's list, all or nothing: it is refused
// (Invalid, Conflict; all problems joined) for specs that make no sense and names
// that are taken, never for a source. Versions of sources that are new or changed
// are due, but for those of the names that are known: what was kept of these over
// the restart is what their sources have, with these prints.
func (c *Catalog) Configure(list []lora.Spec, known map[string]string) error {
	return c.change(func() error {
		plans, gone, err := c.records.Configure(list, known, time.Now().UTC())
		if err != nil {
			return err
		}
		u := c.forgetting(gone)
		for i := range plans {
			if p := &plans[i]; !p.Get { // others are stored when they end
				u.Put = append(u.Put, stored(&p.Next))
			}
		}
		if err := c.store.commit(u); err != nil && !(c.opening && state.IsFull(err)) {
			return err
		}
		c.drop(gone, u.Release)
		for _, p := range plans {
			if pending := c.records.Adopt(p); pending != nil {
				c.enqueue(pending)
			}
		}
		return nil
	})
}

// Configured returns the sources of the configuration's adapters, by name.
func (c *Catalog) Configured() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	sources := make(map[string]string)
	for e := range c.records.Named() {
		if e.Origin == lora.FromConfig && e.Kind == lora.KindAdapter {
			sources[e.Name] = e.Source
		}
	}
	return sources
}

// Recheck makes those versions of the configuration due whose files have other prints than
// when they were taken in, and had them before, too. waiting says that there are others.
func (c *Catalog) Recheck(prints, before map[string]string) (waiting bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil || c.store.Trouble().Full { // on a full disk nothing comes of it
		return false
	}
	begun, waiting := c.records.Recheck(prints, before)
	c.enqueue(begun...) // their ends are published
	return waiting
}

// Follow makes the directory's models those of the files that were found in it. Versions
// of those that are new or changed are due if they have settled; the prints of the others
// are returned, by path.
func (c *Catalog) Follow(found []records.File) (waiting map[string]string) {
	c.mu.Lock()
	if c.ctx.Err() != nil {
		c.mu.Unlock()
		return nil
	}
	then := c.records.Follow(found, time.Now().UTC())
	c.enqueue(then.Begun...)
	changed := then.Changed
	for _, e := range then.Gone {
		if err := c.remove(e); err != nil {
			c.store.complain("removing a model whose file is gone", err, "name", e.Name)
			continue
		}
		changed = true
	}
	for _, r := range then.Strays {
		c.log.Warn("adapter rejected", "name", r.Name, "source", r.Source, "reason", r.Reason)
	}
	if changed && !c.opening {
		c.publish()
	}
	c.mu.Unlock()
	if changed {
		c.opts.Changed()
	}
	return then.Waiting
}
