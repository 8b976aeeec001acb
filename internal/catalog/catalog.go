// Package catalog knows every model that a client can name and what it takes to
// serve it. Models come from the watched directory, the configuration and the
// admin API, and change while the gateway runs.
package catalog

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/loragate/loragate/internal/lora"
	"github.com/loragate/loragate/internal/state"
)

// Options says what a catalog is made of, and what it works with. Functions
// without a word on it may be called from several goroutines at once and may
// block.
type Options struct {
	BaseName string
	BasePath string // the base model's GGUF

	// Dir is watched: each *.gguf, each folder with a PEFT adapter and each archive
	// (.zip, .tar, .tar.gz, .tgz) of one in it is an adapter. "" is none.
	Dir    string
	Settle time.Duration // for how long a file must not change before it is read; 0 is 500 ms
	Rescan time.Duration // how often Dir is read without being told of a change; 0 is never

	Entries      []Spec // the configuration's adapters and compositions, as for Configure
	Adhoc        bool   // expressions such as "coding@0.7+chat@0.3" are models
	KeepVersions int    // how many versions of an adapter are kept, the active one included; 0 is 3
	MaxBytes     int64  // the largest GGUF that a worker can load; 0 is no bound

	// Store keeps what must survive a restart. The catalog does not close it.
	Store *state.DB

	// Intake gets a source to a local GGUF: it fetches, unpacks and converts. The
	// file must not change until release is called, which is not nil unless err is.
	// An error that is an *Error keeps its code (Refused, TooLarge, Invalid: the
	// source is at fault; Failed: it may work later); any other is Failed. Its text
	// becomes Record.Reason.
	Intake func(ctx context.Context, source, digest string, progress func(done, total int64)) (path string, release func(), err error)
	// Receive does the same with bytes that are sent.
	Receive func(ctx context.Context, r io.Reader, filename, digest string, progress func(done, total int64)) (path string, release func(), err error)
	// Check tells whether the base can be served with the GGUF; errors are as of
	// Intake.
	Check func(ctx context.Context, path string) (CheckInfo, error)

	// Opening is told how many of the models that there are have been read, while Open
	// blocks. It must not block. nil: nobody is.
	Opening func(done, total int)
	// Changed is called after every change of Models, Stock or List, from any
	// goroutine, with no lock held. It must not block.
	Changed func()
	// IsLoaded tells whether a worker has the file loaded or is loading it. It must
	// not call the catalog's blocking methods. nil: none is.
	IsLoaded func(path string) bool
	// InUse tells whether a worker may still open the file, for a request or when it
	// starts; one that has it loaded does not.
	// Like IsLoaded.
	InUse func(path string) bool

	Log *slog.Logger // nil: nothing is logged
}

// CheckInfo is what Check finds in an adapter's GGUF.
type CheckInfo struct {
	Architecture string
	Rank         int
	Alpha        float64
}

// Catalog is the set of models. It is safe for concurrent use. Resolve, Models,
// Base and Stock never block; all others may wait for the disk.
type Catalog struct {
	opts Options
	base *Model
	log  *slog.Logger

	snap atomic.Pointer[snapshot] // what Resolve, Models and Stock answer from

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // every goroutine of the catalog

	local, remote chan struct{} // filled by intakes that run
	freed         chan struct{} // filled when bytes may be needed by nobody any more
	// storing is held for reading from when bytes are stored until a record has
	// them, and for writing while bytes that no record has are deleted.
	storing sync.RWMutex

	mu        sync.Mutex
	st        records
	adhoc     bool
	published chan struct{} // closed at the next publish
	opening   bool          // nothing is published until all has been taken in
	known     int           // models that were as before at the start, and were not read
	dir       folder
}

// Open reads what is stored, the directory and the configuration's list, and
// returns when each source has been taken in once, but for remote ones of which a
// version is kept; until then it blocks. Sources that cannot be served are
// rejected records. An error means that the base or the directory is missing,
// that the list clashes with itself or is invalid, or that the store failed; or
// that ctx ended.
func Open(ctx context.Context, opts Options) (*Catalog, error) {
	c, err := newCatalog(opts)
	if err != nil {
		return nil, err
	}
	if err := c.open(ctx); err != nil {
		c.Close()
		return nil, err
	}
	c.collect()
	c.wg.Go(c.sweep)
	return c, nil
}

func newCatalog(opts Options) (*Catalog, error) {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Changed == nil {
		opts.Changed = func() {}
	}
	if opts.Opening == nil {
		opts.Opening = func(int, int) {}
	}
	none := func(string) bool { return false }
	if opts.IsLoaded == nil {
		opts.IsLoaded = none
	}
	if opts.InUse == nil {
		opts.InUse = none
	}
	opts.KeepVersions = cmp.Or(opts.KeepVersions, 3)
	opts.Settle = cmp.Or(opts.Settle, 500*time.Millisecond)
	info, err := os.Stat(opts.BasePath)
	if err != nil {
		return nil, fmt.Errorf("base model: %w", err)
	}
	c := &Catalog{
		opts: opts, log: opts.Log,
		base:  &Model{Name: opts.BaseName, Kind: KindBase, Target: opts.BaseName, Created: info.ModTime(), Settings: lora.Settings{Weight: 1}},
		local: make(chan struct{}, localIntakes), remote: make(chan struct{}, remoteIntakes),
		freed: make(chan struct{}, 1),
		adhoc: opts.Adhoc, published: make(chan struct{}),
		st: records{
			base: opts.BaseName, keep: opts.KeepVersions,
			entries: make(map[string]*entry), lost: make(map[string]*entry), strays: make(map[string]Record),
		},
		dir: newFolder(opts.Dir),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.snap.Store(c.st.build(c.base, c.adhoc))
	return c, nil
}

// open takes everything in that is there at the start.
func (c *Catalog) open(ctx context.Context) (err error) {
	if c.st.quarantined, err = c.opts.Store.Quarantined(); err != nil {
		return err
	}
	c.mu.Lock()
	c.opening = true
	jobs, err := c.begin()
	done := c.known
	c.mu.Unlock()
	if err != nil {
		return err
	}
	total := done + len(jobs)
	for _, j := range jobs {
		c.opts.Opening(done, total)
		select {
		case <-j.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		done++
	}
	c.mu.Lock()
	c.opening = false
	c.publish()
	c.mu.Unlock()
	c.opts.Changed()
	if c.opts.Dir != "" {
		c.watch()
	}
	return nil
}

// begin fills the records. The configuration comes before the directory, and both
// before the API: what is written in files is what somebody sees.
func (c *Catalog) begin() ([]*job, error) {
	kept, err := c.opts.Store.Adapters()
	if err != nil {
		return nil, err
	}
	past := make(past)
	for _, a := range kept {
		e := restored(a, c.opts.Store.Blobs())
		past[pastKey{Origin(a.Origin), a.Name}] = e
		if e.active == nil {
			continue
		}
		if reason, bad := c.st.quarantined[e.active.Digest]; bad {
			c.st.withdraw(e, e.active.Digest, reason, c.opts.IsLoaded, e.updated)
		}
		if e.prune(c.st.keep) {
			err = cmp.Or(err, unlessFull(c.store(e)))
		}
	}
	if err != nil {
		return nil, err
	}
	jobs, err := c.configure(c.opts.Entries, past)
	if err != nil {
		return nil, err
	}
	more, err := c.lookAtFolder(past, true)
	if err != nil {
		return nil, err
	}
	c.restore(past)
	return append(jobs, more...), unlessFull(c.forget(past))
}

// past is what was kept of models before a restart.
type past map[pastKey]*entry

type pastKey struct {
	origin Origin
	name   string
}

// restore takes the API's own models in from what was kept.
func (c *Catalog) restore(past past) {
	for key, e := range past {
		if key.origin == FromAPI {
			c.st.lost[key.name] = e
		}
	}
	c.reclaim()
	for name, e := range c.st.lost { // what is left
		c.log.Error("a model of the API lost its name", "name", name, "reason", c.st.clash(e.spec, nil))
	}
}

// reclaim gives the API's own models the names that are free now. The caller
// holds the lock.
func (c *Catalog) reclaim() {
	for _, name := range slices.Sorted(maps.Keys(c.st.lost)) {
		e := c.st.lost[name]
		if c.st.clash(e.spec, nil) != nil {
			continue
		}
		delete(c.st.lost, name)
		c.st.entries[name] = e
		if e.kind == KindAdapter && len(e.versions) == 0 && e.unfinished {
			c.take(c.ctx, e, e.spec, nil, c.slotsFor(e.spec.Source), c.source(e.spec))
		}
	}
}

// forget deletes what was kept of models that are gone.
func (c *Catalog) forget(past past) error {
	var gone []*entry
	for key, e := range past {
		if now := c.st.entries[key.name]; key.origin != FromAPI && (now == nil || now.origin != key.origin) {
			gone = append(gone, e)
		}
	}
	return c.remove(gone...)
}

// Close stops watching and every intake, and waits for them. Resolve, Models,
// Stock and List go on answering; changes are refused.
func (c *Catalog) Close() {
	c.cancel()
	c.wg.Wait()
}

// publish makes the present records what is answered from. The caller holds the
// lock, and calls Changed once it has let go of it.
func (c *Catalog) publish() {
	c.reclaim() // whatever changed may have freed names
	c.snap.Store(c.st.build(c.base, c.adhoc))
	// A worker may have loaded a version before it was known to be staged.
	if c.takeOver(c.opts.IsLoaded) {
		c.snap.Store(c.st.build(c.base, c.adhoc))
	}
	if c.st.freed() {
		c.dir.lookAgain()
	}
	close(c.published)
	c.published = make(chan struct{})
}

// change runs a change of the records, publishes them, and tells that they
// changed.
func (c *Catalog) change(f func() error) error {
	c.mu.Lock()
	err := c.ctx.Err()
	if err != nil {
		err = errStopping
	} else if err = f(); err == nil {
		c.publish()
	}
	c.mu.Unlock()
	if err == nil {
		c.opts.Changed()
	}
	return err
}

// Resolve returns the model of that name, or of that expression. The error is an
// *UnknownError (which is ErrUnknown), a *QuarantinedError, or an *Error of code
// Invalid for an expression that makes no sense. It takes no lock; a name costs
// one look-up.
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

// List returns all records, by name. A file of the directory that cannot have
// its name is a record, too: two can have one name.
func (c *Catalog) List() []Record {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.st.list()
}

// Get returns the record of the adapter or composition of that name; aliases and
// the base have none.
func (c *Catalog) Get(name string) (Record, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.st.entries[name]; e != nil {
		return e.record(), true
	}
	if e := c.st.lost[name]; e != nil {
		return c.st.withoutName(e), true
	}
	return Record{}, false
}

// SetAdhoc says whether expressions are models.
func (c *Catalog) SetAdhoc(adhoc bool) {
	_ = c.change(func() error {
		c.adhoc = adhoc
		return nil
	})
}
