// Package source brings an adapter from where a user says it is onto the local
// disk: from a path, an https:// URL, the Hugging Face Hub, S3, or an upload.
//
// A digest is the SHA-256 of the one file that a source names: of the GGUF, or
// of the archive as it is downloaded. For a directory (a local one, or the PEFT
// files of a Hub repository or of an S3 prefix) it is that of
// adapter_model.safetensors.
package source

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	peftConfig  = "adapter_config.json"
	peftWeights = "adapter_model.safetensors"
)

// HuggingFaceOptions say how to reach the Hub.
type HuggingFaceOptions struct {
	Endpoint string // "" is https://huggingface.co
	Token    string // sent to Endpoint only, never on to where it redirects; "" is none
}

// S3Options say how to reach an object store. Credentials come from the
// environment, as for AWS's own tools; without any, requests are anonymous.
type S3Options struct {
	Endpoint string // host[:port] or URL; "" is AWS
	Region   string // "" asks the server
	Insecure bool   // plain HTTP
}

// Options are what New needs. Only CacheDir has no default.
type Options struct {
	CacheDir    string // made if absent; no other process may use it
	CacheBytes  int64  // what the cache may hold; 0 is 10 GiB. Entries in use may exceed it
	MaxBytes    int64  // the largest adapter, packed and unpacked; 0 is 4 GiB
	HuggingFace HuggingFaceOptions
	S3          S3Options
	Client      *http.Client // nil is a default; it must not have a short Timeout, which would bound whole downloads
	Log         *slog.Logger // nil is none
}

// Fetcher fetches adapters. Its methods may be called at once from many goroutines.
type Fetcher struct {
	options Options
	log     *slog.Logger
	cache   *cache
	flights flights
	hub     *hub
	client  *http.Client
	objects func() (*objects, error) // made at the first s3://

	// What tests replace.
	sleep    func(context.Context, time.Duration) error
	openFile func(name string, flag int, perm os.FileMode) (*os.File, error)
	stall    time.Duration
}

// New opens the cache, and clears away what a crash left in it. Partial
// downloads stay, to be resumed. Its error is an *Error.
func New(o Options) (*Fetcher, error) {
	if o.CacheDir == "" {
		return nil, fail(BadSource, "the cache needs a directory")
	}
	if o.CacheBytes < 0 || o.MaxBytes < 0 {
		return nil, fail(BadSource, "the cache's size and the largest adapter's cannot be negative")
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 10 << 30
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 4 << 30
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	store, err := openCache(o.CacheDir, o.CacheBytes, o.Log, time.Now)
	if err != nil {
		return nil, err
	}
	f := &Fetcher{
		options: o, log: o.Log, cache: store, client: newClient(o.Client),
		sleep: sleep, openFile: os.OpenFile, stall: time.Minute,
	}
	f.flights.running = map[string]*flight{}
	if f.hub, err = newHub(o.HuggingFace); err != nil {
		return nil, err
	}
	f.objects = sync.OnceValues(func() (*objects, error) { return newObjects(o.S3, f.client.Transport) })
	return f, nil
}

// Artifact is an adapter on the local disk. It stays there, unchanged by the
// cache, until Release. What Path names must not be written to.
type Artifact struct {
	Path string // a GGUF file or, if PEFT, a directory with adapter_config.json
	PEFT bool

	release func()
}

// Release says that the artifact is not needed any more: from now on it may be
// evicted or, if it was uploaded, is removed. Further calls do nothing.
func (a *Artifact) Release() {
	if a.release != nil {
		a.release()
	}
}

// Fetch gets the adapter that ref names, see Parse, and blocks until it is
// there. A source that is cached and has not changed is not fetched again. With
// a digest, "" for none, other bytes are an error, and a cached file of that
// digest is taken without asking the network. The same source fetched several
// times at once is downloaded once.
//
// progress, if not nil, is told how many bytes are there of how many; a total
// of 0 is not known. It must not block, and is not called after Fetch returned.
// The error is an *Error.
func (f *Fetcher) Fetch(ctx context.Context, ref, digest string, progress func(done, total int64)) (*Artifact, error) {
	r, err := Parse(ref)
	if err != nil {
		return nil, err
	}
	if digest, err = parseDigest(digest); err != nil {
		return nil, err
	}
	if r.Kind == Local {
		if a, err := f.inPlace(ctx, r, digest); a != nil || err != nil {
			return a, err
		}
	}
	e := f.cache.byDigest(digest)
	if e == nil {
		e, err = f.join(ctx, r, digest, progress)
	}
	if err != nil {
		return nil, err
	}
	return &Artifact{
		Path: filepath.Join(e.dir, e.Path), PEFT: e.PEFT,
		release: sync.OnceFunc(func() { f.cache.release(e) }),
	}, nil
}

// Receive writes an upload to disk and checks it. filename's extension says
// what it must be; without a known one, the content does. A PEFT adapter must
// be packed into an archive. It blocks until r ends and does not interrupt r's
// Read: ctx is looked at between reads. For digest and progress see Fetch.
func (f *Fetcher) Receive(ctx context.Context, r io.Reader, filename, digest string, progress func(done, total int64)) (*Artifact, error) {
	digest, err := parseDigest(digest)
	if err != nil {
		return nil, err
	}
	dir, err := f.cache.scratch()
	if err != nil {
		return nil, diskError("the upload", err)
	}
	a, err := f.receive(ctx, r, filepath.Base(filename), digest, dir, progress)
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	return a, nil
}

// sleep waits for d or for ctx's end, whose error it returns.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
