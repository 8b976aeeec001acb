package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
)

// inPlace returns a GGUF file or PEFT directory of this machine as it is, and
// nil for an archive.
func (f *Fetcher) inPlace(ctx context.Context, r Ref, digest string) (*Artifact, error) {
	info, err := os.Stat(r.Path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fail(NotFound, "%s: there is no such file or directory", r.Path).because(err)
	}
	if err != nil {
		return nil, fail(BadSource, "%s: cannot be read: %v", r.Path, err).because(err)
	}
	file := r.Path
	switch {
	case info.IsDir():
		if file = filepath.Join(r.Path, peftWeights); !isFile(filepath.Join(r.Path, peftConfig)) {
			return nil, fail(BadSource, "%s: the directory has no %s, so it holds no PEFT adapter", r.Path, peftConfig)
		}
	case !info.Mode().IsRegular():
		return nil, fail(BadSource, "%s: neither a file nor a directory", r.Path)
	case byName(r.Path) == unknown:
		return nil, fail(BadSource, "%s: none of %s; for a PEFT adapter name its directory", r.Path, formats)
	case byName(r.Path) != gguf:
		return nil, nil
	}
	if digest != "" {
		if got, err := hashFile(ctx, r.Path, file); err != nil {
			return nil, err
		} else if got != digest {
			return nil, mismatch(r.Path, got, digest)
		}
	}
	return &Artifact{Path: r.Path, PEFT: info.IsDir()}, nil
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

// unpackLocal gets the archive r into the cache, unless it is there and the
// archive has not changed since.
func (f *Fetcher) unpackLocal(ctx context.Context, r Ref, key, digest string, cached *entry) (*entry, error) {
	info, err := os.Stat(r.Path)
	if err != nil {
		return nil, fail(NotFound, "%s: cannot be read: %v", r.Path, err).because(err)
	}
	validator := fmt.Sprintf("%d %d", info.Size(), info.ModTime().UnixNano())
	current := cached != nil && cached.Validator == validator
	got := ""
	if current {
		got = cached.Digest
	} else if got, err = hashFile(ctx, r.Path, r.Path); err != nil {
		return nil, err
	}
	if digest != "" && got != digest {
		return nil, mismatch(r.Path, got, digest)
	}
	if current {
		return cached, nil
	}
	tmp, err := f.cache.scratch()
	if err != nil {
		return nil, diskError(r.Path, err)
	}
	m := meta{Key: key, Source: r.Path, Validator: validator, Digest: got, Whole: true}
	m.Path, m.PEFT, err = f.place(ctx, r.Path, r.Path, r.Path, tmp)
	return f.keep(tmp, m, err)
}

// hashFile returns the SHA-256 of the file called name, a part of what.
func hashFile(ctx context.Context, what, name string) (string, error) {
	file, err := os.Open(name)
	if err != nil {
		return "", fail(BadSource, "%s: cannot be read: %v", what, err).because(err)
	}
	defer func() { _ = file.Close() }()
	sum := sha256.New()
	if _, err := io.Copy(sum, &reader{ctx, file}); err != nil {
		if ctx.Err() != nil {
			return "", canceled(ctx, what)
		}
		return "", fail(BadSource, "%s: cannot be read: %v", what, err).because(err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// reader ends with its context.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r *reader) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(b)
}

// receive writes an upload to dir and finds the adapter in it. The artifact
// owns dir; on an error the caller removes it.
func (f *Fetcher) receive(ctx context.Context, r io.Reader, name, digest, dir string, progress func(done, total int64)) (*Artifact, error) {
	what := "the upload"
	if name != "" && name != "." && name != string(filepath.Separator) {
		what = fmt.Sprintf("the upload %q", name)
	}
	path := filepath.Join(dir, "upload")
	got, err := f.save(ctx, what, path, r, progress)
	if err != nil {
		return nil, err
	}
	if digest != "" && got != digest {
		return nil, mismatch(what, got, digest)
	}
	found, peft, err := f.place(ctx, what, name, path, dir)
	if err != nil {
		return nil, diskError(what, err)
	}
	// What was unpacked is all that is needed; a GGUF was moved away.
	_ = os.Remove(path)
	remove := sync.OnceFunc(func() { _ = os.RemoveAll(dir) })
	return &Artifact{Path: filepath.Join(dir, found), PEFT: peft, release: remove}, nil
}

// save writes r to path and returns its SHA-256.
func (f *Fetcher) save(ctx context.Context, what, path string, r io.Reader, progress func(done, total int64)) (string, error) {
	file, err := f.openFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", diskError(what, err)
	}
	w := &upload{what: what, file: file, sum: sha256.New(), left: f.options.MaxBytes, limit: f.options.MaxBytes, progress: progress}
	_, err = io.CopyBuffer(w, &reader{ctx, r}, make([]byte, 256<<10))
	if cerr := file.Close(); err == nil && cerr != nil {
		return "", diskError(what, cerr)
	}
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return "", fail(TooLarge, "%s: larger than the %d bytes that an upload may have", what, large.Limit).because(err)
	case err != nil:
		return "", transferError(ctx, what, err)
	}
	return hex.EncodeToString(w.sum.Sum(nil)), nil
}

// upload writes to file and watches over size and digest.
type upload struct {
	what        string
	file        *os.File
	sum         hash.Hash
	left, limit int64
	progress    func(done, total int64)
}

func (u *upload) Write(b []byte) (int, error) {
	if u.left -= int64(len(b)); u.left < 0 {
		return 0, fail(TooLarge, "%s: larger than the %d bytes that an adapter may have", u.what, u.limit)
	}
	n, err := u.file.Write(b)
	u.sum.Write(b[:n])
	if err != nil {
		return n, diskError(u.what, err)
	}
	if u.progress != nil {
		u.progress(u.limit-u.left, 0)
	}
	return n, nil
}
