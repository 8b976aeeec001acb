package fetch

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/loragate/loragate/internal/fetch/failure"
	"github.com/loragate/loragate/internal/store"
)

// known is a source whose blob is in the store, held.
type known struct {
	store.Origin
	blob store.Blob
}

// recall returns what is known of a source, nil if its bytes are not in the store.
func (f *Fetcher) recall(ctx context.Context, key string) *known {
	if origin, ok := f.store.Origins.Recall(key); ok {
		return f.take(ctx, origin)
	}
	return nil
}

// stored returns what has been made of bytes with that digest, whichever source they came
// from, nil if that is not in the store.
func (f *Fetcher) stored(ctx context.Context, digest string) *known {
	if digest == "" {
		return nil
	}
	if k := f.take(ctx, store.Origin{Digest: digest, Whole: true, Blob: digest}); k != nil {
		return k
	}
	for _, origin := range f.store.Origins.ByDigest(digest) {
		if k := f.take(ctx, origin); k != nil {
			return k
		}
	}
	return nil
}

// take returns a source whose blob is there, unless another maker would make another one.
func (f *Fetcher) take(ctx context.Context, origin store.Origin) *known {
	if origin.Maker != "" && origin.Maker != f.maker.name {
		return nil
	}
	blob, ok := f.store.Blobs.Take(ctx, origin.Blob)
	if !ok {
		return nil
	}
	return &known{origin, blob}
}

// fetch gets r into the store. The blob is held. Of one source there is only
// one call at a time.
func (f *Fetcher) fetch(ctx context.Context, r Ref, digest string, report reporter) (store.Blob, error) {
	past := f.recall(ctx, r.id())
	blob, err := f.update(ctx, r, digest, past, report)
	var own *failure.Error
	switch {
	case past == nil && errors.Is(err, errNotModified):
		return blob, failure.HTTPStatus.New("%s: the server says that it is what it was, which nobody asked", r)
	case past == nil:
		return blob, err
	case errors.Is(err, errNotModified) && digest != "" && digest != past.Digest:
		err = failure.Mismatch(r.String(), past.Digest, digest)
	case errors.Is(err, errNotModified):
		f.log.Debug("the stored adapter is current", "source", r.String())
		return past.blob, nil
	case errors.As(err, &own) && own.Temporary && digest != "" && digest == past.Digest:
		f.log.Warn("taking the stored adapter: its source cannot be asked", "source", r.String(), "error", err)
		return past.blob, nil
	}
	f.store.Blobs.Release(past.blob.Digest)
	return blob, err
}

// update gets r into the store, or returns errNotModified if what is known of it is what it
// has.
func (f *Fetcher) update(
	ctx context.Context, r Ref, digest string, past *known, report reporter,
) (store.Blob, error) {
	validator := ""
	if past != nil {
		validator = past.Validator
		if r.immutable() {
			return store.Blob{}, errNotModified
		}
	}
	if r.Kind == Local {
		return f.unpackLocal(ctx, r, digest, validator)
	}
	for range 3 {
		p, err := f.plan(ctx, r, validator)
		if err != nil {
			return store.Blob{}, err
		}
		if p.validator != "" && p.validator == validator {
			return store.Blob{}, errNotModified
		}
		blob, err := f.download(ctx, r, digest, p, report)
		if !errors.Is(err, errReplaced) {
			return blob, err
		}
	}
	return store.Blob{}, failure.Cut.New(
		"%s: it is replaced again and again while it is being downloaded; try again later", r).ForNow()
}

// plan asks what there is to download for r.
func (f *Fetcher) plan(ctx context.Context, r Ref, validator string) (p *plan, err error) {
	ask := func() (*plan, error) { return f.web.plan(r.url, r.String(), validator), nil }
	switch r.Kind {
	case HuggingFace:
		ask = func() (*plan, error) { return f.hub.plan(ctx, r) }
	case S3:
		objects, err := f.objects()
		if err != nil {
			return nil, err
		}
		ask = func() (*plan, error) { return objects.plan(ctx, r) }
	}
	err = f.retry.persist(ctx, r.String(), func() (bool, error) {
		p, err = ask()
		return false, err
	})
	return p, err
}

// unpackLocal gets the archive r into the store, or returns errNotModified if it still is as
// the validator says.
func (f *Fetcher) unpackLocal(ctx context.Context, r Ref, digest, validator string) (store.Blob, error) {
	state, err := stateOf(r.Path)
	if err != nil {
		return store.Blob{}, err
	}
	if state == validator {
		return store.Blob{}, errNotModified
	}
	got, err := hashFile(ctx, r.Path, r.Path)
	if err != nil {
		return store.Blob{}, err
	}
	if digest != "" && got != digest {
		return store.Blob{}, failure.Mismatch(r.Path, got, digest)
	}
	blob, by, err := f.maker.fromFile(ctx, r.Path, r.Path, r.Path, got)
	if err == nil {
		f.remember(r, store.Origin{Validator: state, Digest: got, Whole: true, Maker: by, Blob: blob.Digest})
	}
	return blob, err
}

// download gets all files of a plan and makes a blob of them. What the store has already is
// not downloaded.
func (f *Fetcher) download(ctx context.Context, r Ref, digest string, p *plan, report reporter) (store.Blob, error) {
	last := &p.files[len(p.files)-1]
	if digest != "" {
		if last.sha256 != "" && last.sha256 != digest {
			return store.Blob{}, failure.Mismatch(r.String(), last.sha256, digest)
		}
		last.sha256 = digest
	} else if !p.peft {
		if k := f.stored(ctx, last.sha256); k != nil {
			k.Validator = p.validator
			f.remember(r, k.Origin)
			return k.blob, nil
		}
	}
	dir, err := f.store.Partials.Dir(r.id())
	if err != nil {
		return store.Blob{}, failure.OnDisk(r.String(), err)
	}
	got, err := f.transferAll(ctx, r.String(), dir, p.files, report)
	if err != nil {
		if !resumable(err) {
			f.store.Partials.Remove(r.id())
		}
		return store.Blob{}, err
	}
	// Broken or not, the partial files have served: what is wrong with them stays so.
	defer f.store.Partials.Remove(r.id())
	origin := store.Origin{Validator: p.validator, Digest: got.sha256, Whole: !p.peft}
	if origin.Validator == "" {
		origin.Validator = got.etag
	}
	var blob store.Blob
	if p.peft {
		origin.Maker = f.maker.name
		blob, err = f.maker.fromFolder(ctx, r.String(), dir)
	} else {
		blob, origin.Maker, err = f.maker.fromFile(ctx, r.String(), p.format, filepath.Join(dir, last.name), got.sha256)
	}
	if err == nil {
		origin.Blob = blob.Digest
		f.remember(r, origin)
	}
	return blob, err
}

// transferAll downloads files into dir. It returns what is known of the last one: the file
// itself, or the weights.
func (f *Fetcher) transferAll(
	ctx context.Context, what, dir string, files []remote, report reporter,
) (got received, err error) {
	var before, all int64
	for _, file := range files {
		all += max(file.size, 0)
	}
	for _, file := range files {
		t := f.transfer(what, filepath.Join(dir, file.name))
		t.remote = file
		t.limit -= before
		t.report = func(done, total int64) {
			if len(files) > 1 {
				total = all
			}
			report(before+done, max(total, 0))
		}
		if got, err = t.run(ctx); err != nil {
			return got, err
		}
		before += got.bytes
	}
	return got, nil
}

// remember notes where a blob came from. That it could not be noted costs a download at
// most.
func (f *Fetcher) remember(r Ref, origin store.Origin) {
	origin.Source = r.String()
	if err := f.store.Origins.Remember(r.id(), origin); err != nil {
		f.log.Warn("it cannot be noted where an adapter came from", "source", origin.Source, "error", err)
	}
}
