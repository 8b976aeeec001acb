// Package fetch brings an adapter from where a user says it is into the store: from a path,
// an https:// URL, the Hugging Face Hub, S3, or an upload. Archives are unpacked and PEFT
// adapters converted on the way, so that what comes out is always one GGUF file.
//
// A digest is the SHA-256 of the one file that a source names: of the GGUF, or
// of the archive as it is downloaded. For a directory (a local one, or the PEFT
// files of a Hub repository or of an S3 prefix) it is that of
// adapter_model.safetensors.
package fetch

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/loragate/loragate/internal/fetch/failure"
	"github.com/loragate/loragate/internal/store"
)

// Options are what New needs. Store and Convert have no default.
type Options struct {
	Store       *store.Store // the fetcher does not close it
	MaxBytes    int64        // the largest adapter, packed and unpacked; 0 is 4 GiB
	HuggingFace HuggingFaceOptions
	S3          S3Options
	Client      *http.Client // nil is a default; it must not have a short Timeout, which would bound whole downloads
	Log         *slog.Logger // nil is none

	// Convert makes a GGUF file at out of the PEFT adapter in dir, as Converter does.
	// Its errors come out of Fetch and Receive as they are, unless ctx ended or the disk is
	// full.
	Convert func(ctx context.Context, dir, out string) error
	// Converter names what Convert makes: under another name an adapter is converted again.
	Converter string
}

// Fetcher fetches adapters. Its methods may be called at once from many goroutines.
type Fetcher struct {
	log     *slog.Logger
	store   *store.Store
	maker   *maker
	flights *flights
	retry   *retrier
	web     *web
	hub     *hub
	objects func() (*objects, error) // made at the first s3://
}

// New returns a fetcher. Its error is a *failure.Error.
func New(o Options) (*Fetcher, error) {
	if o.MaxBytes < 0 {
		return nil, failure.BadSource.New("the largest adapter's size cannot be negative")
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 4 << 30
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	f := &Fetcher{
		log: o.Log, store: o.Store,
		maker:   &maker{store: o.Store, limit: o.MaxBytes, convert: o.Convert, name: o.Converter},
		flights: newFlights(o.Store.Blobs),
		retry:   &retrier{log: o.Log, sleep: sleep},
		web:     &web{client: newClient(o.Client), stall: time.Minute},
	}
	var err error
	if f.hub, err = newHub(f.web, o.HuggingFace); err != nil {
		return nil, err
	}
	f.objects = sync.OnceValues(func() (*objects, error) { return newObjects(o.S3, f.web) })
	return f, nil
}

// Fetch gets the adapter that ref names, see Parse, and blocks until it is there: a GGUF file,
// which must not be written to. One of the store stays there until release, which may be
// called several times; one that a user has on this machine is the user's. A source
// whose bytes are in the store and that has not changed is not fetched again. With a digest,
// "" for none, other bytes are an error, and what the store has of that digest is taken
// without asking the network. The same source fetched several times at once is downloaded
// once.
//
// progress, if not nil, is told how many bytes are there of how many; a total
// of 0 is not known. It must not block, and is not called after Fetch returned.
// The error is a *failure.Error, or one of Options.Convert.
func (f *Fetcher) Fetch(
	ctx context.Context, ref, digest string, progress func(done, total int64),
) (path string, release func(), err error) {
	r, err := Parse(ref)
	if err == nil {
		digest, err = parseDigest(digest)
	}
	if err != nil {
		return "", nil, err
	}
	if r.Kind == Local {
		switch is, err := lookAt(ctx, r.Path, digest); {
		case err != nil:
			return "", nil, err
		case is == aGGUF:
			return r.Path, func() {}, nil
		case is == aFolder:
			return f.handOver(f.maker.fromFolder(ctx, r.Path, r.Path))
		}
	}
	if k := f.stored(ctx, digest); k != nil {
		return f.handOver(k.blob, nil)
	}
	run := func(ctx context.Context, report reporter) (store.Blob, error) {
		return f.fetch(ctx, r, digest, report)
	}
	blob, err := f.flights.join(ctx, r.id(), digest, progress, run)
	if err != nil && ctx.Err() != nil {
		err = failure.GivenUp(ctx, r.String())
	}
	return f.handOver(blob, err)
}

// handOver gives the hold of a blob to a caller.
func (f *Fetcher) handOver(blob store.Blob, err error) (path string, release func(), _ error) {
	if err != nil {
		return "", nil, err
	}
	return blob.Path, sync.OnceFunc(func() { f.store.Blobs.Release(blob.Digest) }), nil
}

// Receive gets an upload into the store and checks it. filename's extension says
// what it must be; without a known one, the content does. A PEFT adapter must
// be packed into an archive. It blocks until r ends and does not interrupt r's
// Read: ctx is looked at between reads. For all else see Fetch.
func (f *Fetcher) Receive(
	ctx context.Context, r io.Reader, filename, digest string, progress func(done, total int64),
) (path string, release func(), err error) {
	if digest, err = parseDigest(digest); err != nil {
		return "", nil, err
	}
	what, name := "the upload", filepath.Base(filename)
	if name != "." && name != string(filepath.Separator) {
		what = fmt.Sprintf("the upload %q", name)
	}
	dir, err := f.store.Scratch()
	if err != nil {
		return "", nil, failure.OnDisk(what, err)
	}
	defer os.RemoveAll(dir)
	t := f.transfer(what, filepath.Join(dir, "upload"))
	if progress != nil {
		t.report = func(done, _ int64) { progress(done, 0) }
	}
	got, err := t.receive(ctx, r)
	if err != nil {
		return "", nil, err
	}
	if digest != "" && got.sha256 != digest {
		return "", nil, failure.Mismatch(what, got.sha256, digest)
	}
	blob, _, err := f.maker.fromFile(ctx, what, name, t.path, got.sha256)
	return f.handOver(blob, err)
}

// transfer returns one that reports to nobody.
func (f *Fetcher) transfer(what, path string) *transfer {
	return &transfer{
		remote: remote{name: filepath.Base(path), size: -1},
		retry:  f.retry, stall: f.web.stall, what: what, path: path,
		limit: f.maker.limit, most: f.maker.limit, report: func(int64, int64) {},
	}
}
