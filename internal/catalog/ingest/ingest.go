// Package ingest brings in what the catalog is to serve: it follows the watched
// directory, the configuration's list and what the API adds, gets each version that is
// pending, has it converted and checked, stores its bytes, and hands it to the catalog. It
// tries again what failed for no fault of its source, and deletes bytes that nobody needs.
package ingest

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/loragate/loragate/internal/catalog"
	"github.com/loragate/loragate/internal/lora"
	"github.com/loragate/loragate/internal/store"
)

// Options says what is ingested, and how. Functions may be called from several goroutines
// at once and may block, unless there is a word on it.
type Options struct {
	// Catalog is handed the versions. It is not used by anybody else before Open has
	// returned, and ends with Close.
	Catalog  *catalog.Catalog
	BasePath string       // the base model's GGUF
	Blobs    *store.Blobs // where versions' bytes are stored

	// Dir is watched: each *.gguf, each folder with a PEFT adapter and each archive
	// (.zip, .tar, .tar.gz, .tgz) of one in it is an adapter. "" is none.
	Dir    string
	Settle time.Duration // for how long a file must not change before it is read; 0 is 500 ms
	// Rescan is how often Dir is read without being told of a change, and the files of
	// Entries are looked at; 0 is never.
	Rescan time.Duration

	Entries  []lora.Spec // the configuration's adapters and compositions, as for Catalog.Configure
	MaxBytes int64       // the largest GGUF that a worker can load; 0 is no bound

	Sources Sources

	// Opening is told how many of the models that there are have been read, while Open
	// blocks. It must not block. nil: nobody is.
	Opening func(done, total int)
	// InUse tells whether a worker may still open the file, for a request or when it
	// starts; one that has it loaded does not. It must not call the catalog's blocking
	// methods. nil: none may.
	InUse func(path string) bool

	Log *slog.Logger // nil: nothing is logged
}

// Ingest is safe for concurrent use. All its methods may wait for the disk.
type Ingest struct {
	catalog *catalog.Catalog
	opts    Options
	blobs   *blobs
	prints  prints
	jobs    *jobs
	folder  *folder
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
}

// Open reads what is stored, the directory and the configuration's list, and
// returns when each source has been taken in once, but for remote ones of which a
// version is kept; until then it blocks. Sources that cannot be served are
// rejected records. An error means that the base or the directory is missing,
// that the list clashes with itself or is invalid, or that the store failed; or
// that ctx ended.
func Open(ctx context.Context, opts Options) (*Ingest, error) {
	in := newIngest(opts)
	if err := in.open(ctx); err != nil {
		in.Close()
		return nil, err
	}
	in.collect()
	in.jobs.wg.Go(in.sweep)
	return in, nil
}

func newIngest(opts Options) *Ingest {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Opening == nil {
		opts.Opening = func(int, int) {}
	}
	if opts.InUse == nil {
		opts.InUse = func(string) bool { return false }
	}
	ctx, cancel := context.WithCancel(context.Background())
	in := &Ingest{
		catalog: opts.Catalog, opts: opts, ctx: ctx, cancel: cancel,
		blobs:  &blobs{store: opts.Blobs, limit: opts.MaxBytes, log: opts.Log},
		prints: prints{base: opts.BasePath},
	}
	in.folder = &folder{
		path: opts.Dir, settle: cmp.Or(opts.Settle, 500*time.Millisecond), rescan: opts.Rescan, log: opts.Log,
		look: opts.Catalog.Signals().Names, follow: opts.Catalog.Follow,
	}
	in.jobs = &jobs{
		catalog: in.catalog, sources: opts.Sources, store: in.blobs.put,
		same: sameFile, print: sourcePrint, outcome: in.prints.outcome,
		ctx: ctx, local: make(chan struct{}, localJobs), remote: make(chan struct{}, remoteJobs),
	}
	return in
}

// open takes everything in that is there at the start. The configuration comes before the
// directory, and both before the API: what is written in files is what somebody sees.
func (in *Ingest) open(ctx context.Context) error {
	if err := in.catalog.Configure(in.opts.Entries, in.known(in.opts.Entries)); err != nil {
		return err
	}
	if in.opts.Dir != "" {
		found, err := scan(in.opts.Dir)
		if err != nil {
			return fmt.Errorf("adapters.dir: %w", err)
		}
		for i := range found {
			f := &found[i]
			f.Settled, f.Known = true, in.unchanged(lora.FromDirectory, f.Name, f.Path, f.Print)
		}
		in.catalog.Follow(found)
	}
	done, err := in.catalog.Restore()
	if err != nil {
		return err
	}
	var waits []*job
	for _, j := range in.start() {
		// One that the API put goes on in the background, as do those of which a version
		// can be served whatever becomes of their source.
		if j.Origin != lora.FromAPI && (isLocal(j.Source) || !j.Served) {
			waits = append(waits, j)
		}
	}
	total := done + len(waits)
	for _, j := range waits {
		in.opts.Opening(done, total)
		select {
		case <-j.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		done++
	}
	in.catalog.Opened()
	if in.opts.Dir != "" {
		watcher := in.folder.watch()
		in.jobs.wg.Go(func() { in.folder.run(in.ctx, watcher) })
	}
	if in.opts.Rescan > 0 {
		list := &listed{rescan: in.opts.Rescan, settle: in.folder.settle, catalog: in.catalog}
		in.jobs.wg.Go(func() { list.run(in.ctx) })
	}
	return nil
}

// start begins to get what is due.
func (in *Ingest) start() (begun []*job) {
	for _, p := range in.catalog.Due() {
		begun = append(begun, in.jobs.fetch(p))
	}
	return begun
}

// collect deletes bytes of which no record has a version and that no worker may
// still open.
func (in *Ingest) collect() { in.blobs.collect(in.catalog.Digests, in.opts.InUse) }

// known has the prints of those sources of the configuration's list that are as they were
// before a restart.
func (in *Ingest) known(list []lora.Spec) map[string]string {
	known := make(map[string]string)
	for _, s := range list {
		if print := sourcePrint(s.Source); in.unchanged(lora.FromConfig, s.Name, s.Source, print) {
			known[s.Name] = print
		}
	}
	return known
}

func (in *Ingest) unchanged(origin lora.Origin, name, source, print string) bool {
	return in.prints.unchanged(in.catalog.Kept(origin, name), source, print, in.blobs.fits)
}

// Close stops watching and everything that is being got, and waits for it; the catalog
// refuses changes from then on.
func (in *Ingest) Close() {
	in.catalog.Close()
	in.cancel()
	in.jobs.wg.Wait()
}
