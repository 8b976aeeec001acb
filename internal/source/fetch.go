package source

import (
	"context"
	"errors"
	"os"
	"path/filepath"
)

// stream is an answer to a request for a file's bytes.
type stream struct {
	body  interface{ Read([]byte) (int, error) }
	close func() error
	from  int64  // which byte body begins with: the one asked for, or 0
	total int64  // the whole file's size; -1 is not known
	etag  string // of this version of the file; "" is not known
}

// remote is one file that can be downloaded.
type remote struct {
	name   string // the file's, below its entry's files/
	size   int64  // -1 is not known beforehand
	sha256 string // "" is not known beforehand
	// open asks for the bytes from an offset on, of the version that has etag.
	// The server may send all bytes of another version instead.
	open func(ctx context.Context, from int64, etag string) (*stream, error)
}

// plan is what there is to download for a source.
type plan struct {
	files     []remote // one file, or a PEFT adapter's: the weights last
	peft      bool
	format    string // what the file's name says it is
	validator string // "": the downloaded file's ETag
}

// errNotModified is returned by a remote that still has the cached version.
var errNotModified = errors.New("not modified")

// fetch gets r into the cache. The entry is in use. Of one key there is only
// one call at a time.
func (f *Fetcher) fetch(ctx context.Context, r Ref, key, digest string, report func(done, total int64)) (*entry, error) {
	cached := f.cache.latest(key)
	e, err := f.refresh(ctx, r, key, digest, cached, report)
	if cached == nil {
		return e, err
	}
	var own *Error
	if errors.As(err, &own) && own.Temporary && digest != "" && digest == cached.Digest {
		f.log.Warn("taking the cached adapter: its source cannot be asked", "source", r.String(), "error", err)
		return cached, nil
	}
	if e != cached {
		f.cache.release(cached)
	}
	return e, err
}

// refresh returns cached if the source has not changed since, else a new entry.
func (f *Fetcher) refresh(ctx context.Context, r Ref, key, digest string, cached *entry, report func(done, total int64)) (*entry, error) {
	if r.Kind == Local {
		return f.unpackLocal(ctx, r, key, digest, cached)
	}
	if cached == nil || !r.immutable() {
		e, err := f.update(ctx, r, key, digest, cached, report)
		if !errors.Is(err, errNotModified) {
			return e, err
		}
	}
	if digest != "" && digest != cached.Digest {
		return nil, mismatch(r.String(), cached.Digest, digest)
	}
	f.log.Debug("the cached adapter is current", "source", r.String())
	return cached, nil
}

// update downloads r, or returns errNotModified if cached is what it has.
func (f *Fetcher) update(ctx context.Context, r Ref, key, digest string, cached *entry, report func(done, total int64)) (*entry, error) {
	for range 3 {
		p, err := f.plan(ctx, r, cached)
		if err != nil {
			return nil, err
		}
		if cached != nil && p.validator != "" && p.validator == cached.Validator {
			return nil, errNotModified
		}
		e, err := f.download(ctx, r, key, digest, p, report)
		if !errors.Is(err, errReplaced) {
			return e, err
		}
	}
	return nil, fail(Cut, "%s: it is replaced again and again while it is being downloaded; try again later", r).temporary()
}

func (f *Fetcher) plan(ctx context.Context, r Ref, cached *entry) (*plan, error) {
	switch r.Kind {
	case HuggingFace:
		return f.planHub(ctx, r)
	case S3:
		return f.planObjects(ctx, r)
	default:
		return f.planWeb(r, cached), nil
	}
}

// download gets all files of a plan and makes an entry of them.
func (f *Fetcher) download(ctx context.Context, r Ref, key, digest string, p *plan, report func(done, total int64)) (*entry, error) {
	what, dir := r.String(), f.cache.partial(key)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, diskError(what, err)
	}
	m := meta{Key: key, Source: what, Validator: p.validator, Whole: !p.peft}
	got, err := f.transferAll(ctx, what, dir, digest, p, report)
	if err != nil {
		if !resumable(err) {
			_ = os.RemoveAll(dir)
		}
		return nil, err
	}
	if m.Digest = got.sha256; m.Validator == "" {
		m.Validator = got.etag
	}
	e, err := f.assemble(ctx, dir, p, m)
	// Broken or not, the parts have served: what is wrong with them stays so.
	_ = os.RemoveAll(dir)
	return e, err
}

// resumable tells whether the parts of a failed download are worth keeping.
func resumable(err error) bool {
	var own *Error
	return errors.As(err, &own) && (own.Temporary || own.Code == Canceled)
}

// transferAll downloads a plan's files into dir. It returns what is known of
// the last one: the file itself, or the weights.
func (f *Fetcher) transferAll(ctx context.Context, what, dir, digest string, p *plan, report func(done, total int64)) (got received, err error) {
	var before, all int64
	for _, file := range p.files {
		all += max(file.size, 0)
	}
	for i, file := range p.files {
		if i == len(p.files)-1 && digest != "" {
			if file.sha256 != "" && file.sha256 != digest {
				return got, mismatch(what, file.sha256, digest)
			}
			file.sha256 = digest
		}
		t := &transfer{
			fetcher: f, what: what, remote: file, path: filepath.Join(dir, file.name),
			limit: f.options.MaxBytes - before,
			report: func(done, total int64) {
				if len(p.files) > 1 {
					total = all
				}
				report(before+done, max(total, 0))
			},
		}
		if got, err = t.run(ctx); err != nil {
			return got, err
		}
		before += got.bytes
	}
	return got, nil
}

// assemble makes an entry of complete files in dir.
func (f *Fetcher) assemble(ctx context.Context, dir string, p *plan, m meta) (*entry, error) {
	tmp, err := f.cache.scratch()
	if err != nil {
		return nil, diskError(m.Source, err)
	}
	if p.peft {
		m.Path, m.PEFT = filesDir, true
		err = moveAll(dir, filepath.Join(tmp, filesDir), p.files)
	} else {
		path := filepath.Join(dir, p.files[0].name)
		m.Path, m.PEFT, err = f.place(ctx, m.Source, p.format, path, tmp)
	}
	return f.keep(tmp, m, err)
}

// keep makes an entry of tmp, unless it could not be filled.
func (f *Fetcher) keep(tmp string, m meta, err error) (*entry, error) {
	var e *entry
	if err == nil {
		e, err = f.cache.add(tmp, m)
	}
	if err != nil {
		_ = os.RemoveAll(tmp)
		return nil, diskError(m.Source, err)
	}
	return e, nil
}

func moveAll(from, to string, files []remote) error {
	if err := os.Mkdir(to, 0o700); err != nil {
		return err
	}
	for _, file := range files {
		if err := os.Rename(filepath.Join(from, file.name), filepath.Join(to, file.name)); err != nil {
			return err
		}
	}
	return nil
}

// place puts the adapter that the file at path is, or holds, below dir/files.
// name is the file's for its source. The path it returns is relative to dir.
// It moves a GGUF file away, and leaves an archive.
func (f *Fetcher) place(ctx context.Context, what, name, path, dir string) (string, bool, error) {
	is, err := settle(what, name, path)
	if err != nil {
		return "", false, err
	}
	files := filepath.Join(dir, filesDir)
	if err := os.Mkdir(files, 0o700); err != nil {
		return "", false, diskError(what, err)
	}
	if is == gguf {
		err := os.Rename(path, filepath.Join(files, "adapter.gguf"))
		return filepath.Join(filesDir, "adapter.gguf"), false, err
	}
	u := unpacker{ctx: ctx, what: what, left: f.options.MaxBytes, openFile: f.openFile}
	if err := u.unpack(path, is, files); err != nil {
		return "", false, err
	}
	found, peft, err := pick(what, files)
	return filepath.Join(filesDir, found), peft, err
}
