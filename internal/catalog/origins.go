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
// the restart is what their sources have.
func (c *Catalog) Configure(list []lora.Spec, known map[string]bool) error {
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
