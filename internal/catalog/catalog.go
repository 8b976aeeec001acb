// Package catalog knows every model that a client can name and what it takes to
// serve it. It owns the records of adapters and compositions, keeps them over
// restarts, and publishes each change as an immutable snapshot, which requests
// read. Where new versions come from is the business of package ingest: the
// catalog says which are pending, and is handed what became of them.
package catalog

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"github.com/loragate/loragate/internal/catalog/records"
	"github.com/loragate/loragate/internal/lora"
	"github.com/loragate/loragate/internal/state"
)

// Options says what a catalog is made of, and what it works with. Functions
// without a word on it may be called from several goroutines at once and may
// block.
type Options struct {
	BaseName string
	BasePath string // the base model's GGUF

	Adhoc        bool // expressions such as "coding@0.7+chat@0.3" are models
	KeepVersions int  // how many versions of an adapter are kept, the active one included; 0 is 3

	// Store keeps what must survive a restart. The catalog does not close it.
	Store *state.DB

	// Changed is called after every change of Models, Stock or List, from any
	// goroutine, with no lock held. It must not block.
	Changed func()
	// IsLoaded tells whether a worker has the file loaded or is loading it. It must
	// not call the catalog's blocking methods. nil: none is.
	IsLoaded func(path string) bool

	Log *slog.Logger // nil: nothing is logged
}

// Catalog is the set of models. It is safe for concurrent use. Resolve, Models,
// Base and Stock never block; all others may wait for the disk.
type Catalog struct {
	opts  Options
	base  *Model
	log   *slog.Logger
	store rows

	snap atomic.Pointer[snapshot] // what Resolve, Models and Stock answer from

	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	signals Signals

	mu        sync.Mutex
	records   *records.Set
	due       []*records.Pending // that nobody has begun to get
	adhoc     bool
	published chan struct{} // closed at the next publish
	opening   bool          // nothing is published until all has been taken in
}

// Signals tell whoever ingests that there is something to do. Each holds one signal, so
// that nobody waits to give it.
type Signals struct {
	Due   chan struct{} // Due has something
	Names chan struct{} // a name is free that a file of the directory could not have
	Bytes chan struct{} // nobody may need some bytes any more
}

func newSignals() Signals {
	return Signals{make(chan struct{}, 1), make(chan struct{}, 1), make(chan struct{}, 1)}
}

func fill(signal chan struct{}) {
	select {
	case signal <- struct{}{}:
	default: // it is to be looked at already
	}
}

// Signals returns the catalog's.
func (c *Catalog) Signals() Signals { return c.signals }

// New returns a catalog that knows what the store has. It answers with the base
// alone until Opened: until then Configure and Follow say what of the store goes on.
func New(opts Options) (*Catalog, error) {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Changed == nil {
		opts.Changed = func() {}
	}
	if opts.IsLoaded == nil {
		opts.IsLoaded = func(string) bool { return false }
	}
	opts.KeepVersions = cmp.Or(opts.KeepVersions, 3)
	info, err := os.Stat(opts.BasePath)
	if err != nil {
		return nil, fmt.Errorf("base model: %w", err)
	}
	c := &Catalog{
		opts: opts, log: opts.Log, store: rows{opts.Store, opts.Log}, signals: newSignals(),
		base: &Model{
			Name: opts.BaseName, Kind: lora.KindBase, Target: opts.BaseName, Created: info.ModTime(),
			Settings: lora.Settings{Weight: 1},
		},
		adhoc: opts.Adhoc, published: make(chan struct{}), opening: true,
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	if err := c.load(); err != nil {
		return nil, err
	}
	return c, nil
}

// Close refuses changes from now on and ends what waits for one. Resolve, Models,
// Stock and List go on answering.
func (c *Catalog) Close() { c.cancel() }

// publish makes the present records what is answered from. The caller holds the
// lock, and calls Changed once it has let go of it.
func (c *Catalog) publish() {
	c.enqueue(c.records.Reclaim()...) // whatever changed may have freed names
	c.rebuild()
	// A worker may have loaded a version before it was known to be staged.
	if c.takeOver(c.opts.IsLoaded) {
		c.rebuild()
	}
	if c.records.Freed() {
		fill(c.signals.Names)
	}
	close(c.published)
	c.published = make(chan struct{})
}

// rebuild makes the snapshot that of the present records. The caller holds the lock.
func (c *Catalog) rebuild() { c.snap.Store(build(c.records, c.base, c.adhoc)) }

// takeOver makes the staged versions active whose files are loaded. The caller
// holds the lock.
func (c *Catalog) takeOver(loaded func(path string) bool) (changed bool) {
	for e := range c.records.Named() {
		if !e.TakeOver(loaded) {
			continue
		}
		changed = true
		c.log.Info("adapter's version answers", "name", e.Name, "version", e.Active.Number,
			"digest", e.Active.Digest[:12])
		next := *e
		if !next.Prune(c.opts.KeepVersions) {
			continue
		}
		if err := c.store.put(&next); err != nil {
			c.store.complain("storing a record", err, "name", e.Name)
			continue
		}
		*e = next
	}
	return changed
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

// change runs a change of the records, publishes them, and tells that they
// changed.
func (c *Catalog) change(f func() error) error {
	c.mu.Lock()
	err := c.ctx.Err()
	if err != nil {
		err = errStopping
	} else if err = f(); err == nil && !c.opening {
		c.publish()
	}
	c.mu.Unlock()
	if err == nil {
		c.opts.Changed()
	}
	return err
}

// errStopping is for changes after Close.
var errStopping = lora.Errorf(lora.Failed, "the gateway is stopping")

// enqueue makes versions due. The caller holds the lock.
func (c *Catalog) enqueue(list ...*records.Pending) {
	for _, p := range list {
		c.due = append(c.due, p)
		fill(c.signals.Due)
	}
}

// remove forgets records, whatever their origin: all of them, or none if the
// store fails. The caller holds the lock.
func (c *Catalog) remove(gone ...*records.Entry) error {
	u := c.forgetting(gone)
	if err := c.store.commit(u); err != nil {
		return err
	}
	c.drop(gone, u.Release)
	return nil
}

// forgetting returns the update that forgets records, and with them the
// quarantine of bytes that no other record knows. The caller holds the lock.
func (c *Catalog) forgetting(gone []*records.Entry) (u state.Update) {
	for _, e := range gone {
		u.Forget = append(u.Forget, state.Key{Origin: e.Origin, Name: e.Name})
	}
	u.Release = c.records.Releasing(gone)
	return u
}

// drop takes records out once that is stored. The caller holds the lock.
func (c *Catalog) drop(gone []*records.Entry, released []string) {
	for _, e := range gone {
		e.Abandon(Removed(e.Name))
		c.records.Drop(e)
		c.log.Info("model removed", "name", e.Name, "origin", e.Origin)
	}
	c.records.Release(released)
}

// Removed is what those learn who waited for a model that is gone.
func Removed(name string) *lora.Error {
	return lora.Errorf(lora.Conflict, "%s was removed meanwhile", name)
}

// Resolve returns the model of that name, or of that expression. The error is a
// *lora.Error: NotFound, InQuarantine for a model whose only version makes llama-server
// end, or Invalid for an expression that makes no sense. It takes no lock; a name costs one
// look-up.
func (c *Catalog) Resolve(name string) (*Model, error) { return c.snap.Load().resolve(name) }

// Models returns all models, the base first, then by name, aliases included and
// expressions not. The slice must not be changed.
func (c *Catalog) Models() []*Model { return c.snap.Load().models }

// Base returns the base model.
func (c *Catalog) Base() *Model { return c.base }

// Stock returns the files that workers may be asked to load, each once, by path:
// those of active versions, and of staged ones, which are marked Preload. The
// slice must not be changed.
func (c *Catalog) Stock() []Stock { return c.snap.Load().stock }

// List returns all records, by name. A file of the directory that cannot be served or
// have its name is a record, too: two can have one name.
func (c *Catalog) List() []lora.Record {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.records.List()
}

// Get returns the record of the adapter or composition of that name, else of the file of the
// directory that List has under it; aliases and the base have none.
func (c *Catalog) Get(name string) (lora.Record, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.records.Get(name)
}

// SetAdhoc says whether expressions are models.
func (c *Catalog) SetAdhoc(adhoc bool) {
	_ = c.change(func() error {
		c.adhoc = adhoc
		return nil
	})
}
