package catalog

import (
	"time"

	"github.com/loragate/loragate/internal/catalog/records"
	"github.com/loragate/loragate/internal/lora"
)

// Due returns the versions that are pending and that it has not returned before. Whoever
// asks gets them, and ends each by Finish.
func (c *Catalog) Due() []*records.Pending {
	c.mu.Lock()
	defer c.mu.Unlock()
	due := c.due
	c.due = nil
	return due
}

// Begin adds an adapter of the API, or replaces the one of that name, which must be the
// API's own, once its version is there: the caller gets that and ends it by Finish. What it
// replaces goes on serving. A new one is stored as Downloading if it has a source, and is
// due once more after a restart. On a full disk it is refused with Full, and nothing is
// changed.
func (c *Catalog) Begin(spec lora.Spec) (r lora.Record, p *records.Pending, err error) {
	if err := c.store.Room(); err != nil { // before anything is fetched
		return lora.Record{}, nil, asError(err)
	}
	err = c.change(func() error {
		e, err := c.records.MayPut(&spec)
		if err != nil {
			return err
		}
		if e == nil {
			e = &records.Entry{Record: lora.Record{Kind: lora.KindAdapter, Origin: lora.FromAPI}}
		}
		if e.Latest() == nil || c.records.Entry(spec.Name) != e { // there is nothing that goes on serving
			next := *e
			next.Become(spec)
			next.State, next.Reason, next.Updated = lora.Downloading, "", time.Now().UTC()
			if spec.Source != "" { // one that waits for its source is fetched after a restart, too
				if err := c.store.put(&next); err != nil {
					return err
				}
			}
			*e = next
			c.records.Put(e)
		}
		p = e.Begin(spec)
		r = e.Copy()
		return nil
	})
	return r, p, err
}

// Retry makes those versions due again that the configuration's sources failed to bring
// through no fault of theirs. Those of the directory are due when it is followed again,
// those of the API when somebody asks for it.
func (c *Catalog) Retry() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil || c.store.Trouble().Full { // on a full disk nothing comes of it
		return
	}
	for e := range c.records.Named() {
		if e.Origin == lora.FromConfig && e.Retry && e.Pending == nil {
			c.enqueue(e.Begin(e.Spec)) // its end is published
		}
	}
}

// Progress notes how far a pending version is, in bytes; a total of 0 is not known.
func (c *Catalog) Progress(p *records.Pending, done, total int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p.Tell(done, total)
}
