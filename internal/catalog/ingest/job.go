package ingest

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/loragate/loragate/internal/catalog"
	"github.com/loragate/loragate/internal/catalog/records"
	"github.com/loragate/loragate/internal/lora"
)

// Sources gets adapters from where they are. An error that is a *lora.Error keeps its code
// (Refused, TooLarge, Invalid: the source is at fault; Failed: it may work later); any
// other is Failed. Its text becomes Record.Reason. Several calls may run at once, and block.
type Sources interface {
	// Fetch gets a source to a local GGUF: it fetches, unpacks and converts. The file
	// must not change until release is called, which is not nil unless err is.
	Fetch(ctx context.Context, source, digest string, progress func(done, total int64)) (
		path string, release func(), err error)
	// Receive does the same with bytes that are sent.
	Receive(ctx context.Context, r io.Reader, filename, digest string, progress func(done, total int64)) (
		path string, release func(), err error)
	// Check tells whether the base can be served with the GGUF, and returns its
	// Architecture, Rank, Alpha and Warnings.
	Check(ctx context.Context, path string) (lora.Version, error)
}

// At most so many sources are read at once: of this machine, and of those that come from
// elsewhere, which are slow.
const (
	localJobs  = 2
	remoteJobs = 8
)

// job is one pending version that is being got.
type job struct {
	*records.Pending
	done   chan struct{} // closed at its end
	digest string        // of the bytes that it brought; this and err are written before done is closed
	err    error         // why what it brought does not answer, and will not
}

// jobs gets pending versions and hands them to the catalog.
type jobs struct {
	catalog interface {
		Progress(p *records.Pending, done, total int64)
		Finish(p *records.Pending, got catalog.Outcome) error
	}
	sources Sources
	store   func(ctx context.Context, path string) (v *lora.Version, release func(), err error)
	// same reports whether the file of a directory is as it was when its version became
	// due.
	same func(p *records.Pending) bool
	// print tells one state of a source from another, and outcome what came of it.
	print   func(source string) string
	outcome func(print string, answers *lora.Version) string

	local, remote chan struct{} // filled by those that run
	ctx           context.Context
	wg            sync.WaitGroup
}

// isLocal tells which sources are on this machine.
func isLocal(source string) bool { return len(source) > 0 && source[0] == '/' }

// fetch begins to get the source of a pending version.
func (js *jobs) fetch(p *records.Pending) *job {
	slots := js.remote
	if isLocal(p.Source) {
		slots = js.local
	}
	return js.begin(js.ctx, p, slots, func(ctx context.Context, progress func(done, total int64)) (
		string, func(), error) {
		return js.sources.Fetch(ctx, p.Source, p.Digest, progress)
	})
}

// receive begins to get a pending version from what is sent. When ctx ends it is given up.
func (js *jobs) receive(ctx context.Context, p *records.Pending, r io.Reader, filename string) *job {
	return js.begin(ctx, p, js.remote, func(ctx context.Context, progress func(done, total int64)) (
		string, func(), error) {
		return js.sources.Receive(ctx, r, filename, p.Digest, progress)
	})
}

// get brings a source to a local GGUF.
type get func(ctx context.Context, progress func(done, total int64)) (path string, release func(), err error)

// begin runs a job in the background, until ctx ends, or jobs do, or nobody has a use for
// the version any more.
func (js *jobs) begin(ctx context.Context, p *records.Pending, slots chan struct{}, from get) *job {
	ctx, cancel := context.WithCancelCause(ctx)
	j := &job{Pending: p, done: make(chan struct{})}
	js.wg.Go(func() {
		defer cancel(nil)
		defer close(j.done)
		for _, other := range []context.Context{js.ctx, p.Context()} {
			stop := context.AfterFunc(other, func() { cancel(context.Cause(other)) })
			defer stop()
		}
		before := js.print(p.Source)
		v, release, err := js.run(ctx, p, slots, from)
		read := js.print(p.Source)
		if read != before {
			read = ""
		}
		j.err = js.catalog.Finish(p, catalog.Outcome{
			Version: v, Err: err, Read: read,
			Print: func(answers *lora.Version) string { return js.outcome(read, answers) },
		})
		if v != nil {
			j.digest = v.Digest
			release()
		}
	})
	return j
}

// run gets a source, checks it and stores its bytes, which stay until release is called.
func (js *jobs) run(ctx context.Context, p *records.Pending, slots chan struct{}, from get) (
	v *lora.Version, release func(), err error,
) {
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	}
	path, done, err := from(ctx, func(done, total int64) { js.catalog.Progress(p, done, total) })
	if err != nil {
		return nil, nil, err
	}
	defer done()
	info, err := js.sources.Check(ctx, path)
	if err != nil {
		return nil, nil, err
	}
	v, release, err = js.store(ctx, path)
	if err == nil && p.Print != "" && !js.same(p) {
		release()
		err = lora.Errorf(lora.Failed, "it changed while it was read")
	}
	if err != nil {
		return nil, nil, err
	}
	v.Architecture, v.Rank, v.Alpha, v.Warnings = info.Architecture, info.Rank, info.Alpha, info.Warnings
	v.Created = time.Now().UTC()
	return v, release, nil
}
