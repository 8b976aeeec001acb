package catalog

import (
	"cmp"

	"github.com/loragate/loragate/internal/catalog/records"
	"github.com/loragate/loragate/internal/lora"
)

// load takes in what the store has.
func (c *Catalog) load() error {
	quarantined, err := c.store.Quarantined()
	if err != nil {
		return err
	}
	kept, err := c.store.Adapters()
	if err != nil {
		return err
	}
	c.records = records.New(c.base.Name, quarantined)
	for _, a := range kept {
		e := restored(a, c.store.Blobs())
		c.records.Restore(e, c.opts.IsLoaded)
		if e.Active != nil && e.Prune(c.opts.KeepVersions) {
			err = cmp.Or(err, unlessFull(c.store.put(e)))
		}
	}
	c.rebuild()
	return err
}

// Kept returns what was kept over the restart of a model of that origin, nil for none and
// after Restore. It must not be changed.
func (c *Catalog) Kept(origin lora.Origin, name string) *records.Entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.records.Kept(origin, name)
}

// Restore takes in what the API put before the restart, and forgets what neither the
// configuration nor the directory have any more. It returns how many models of these are
// as they were before.
func (c *Catalog) Restore() (reused int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	gone := c.records.Opened()
	c.enqueue(c.records.Reclaim()...)
	for e := range c.records.Lost() {
		c.log.Error("a model of the API lost its name", "name", e.Name, "reason", c.records.Clash(&e.Spec, nil))
	}
	return c.records.Reused(), unlessFull(c.remove(gone...))
}

// Opened publishes all that there is, for the first time.
func (c *Catalog) Opened() {
	c.mu.Lock()
	c.opening = false
	c.publish()
	c.mu.Unlock()
	c.opts.Changed()
}
