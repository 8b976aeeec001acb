package state

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Blobs are files that are named after the SHA-256 of their bytes, which never
// change. It is safe for concurrent use.
type Blobs struct{ dir string }

const (
	blobSuffix    = ".gguf"
	partialPrefix = ".partial-" // what is being written
)

var digestPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

func openBlobs(dir string) (*Blobs, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	left, err := filepath.Glob(filepath.Join(dir, partialPrefix+"*"))
	if err != nil {
		return nil, err
	}
	for _, path := range left { // by a process that was killed
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	return &Blobs{dir: dir}, nil
}

// Put copies a file, unless its bytes are there, and returns the digest of the
// bytes that are stored, even if the file changed meanwhile, and how many there
// are. When it returns they survive whatever happens; after an error, or when ctx
// ended, nothing is left.
func (b *Blobs) Put(ctx context.Context, path string) (digest string, size int64, err error) {
	// Reading twice spares writing what is known, which is nearly all at a start: no
	// disk is worn, and a full one keeps nothing from being taken in again.
	if digest, size, err = sum(ctx, path, io.Discard); err != nil {
		return "", 0, err
	}
	if b.whole(ctx, digest) {
		return digest, size, b.sync()
	}
	partial, err := os.CreateTemp(b.dir, partialPrefix)
	if err != nil {
		return "", 0, explain(err)
	}
	defer func() {
		partial.Close()
		os.Remove(partial.Name()) // it has its name by now, unless something failed
	}()
	if digest, size, err = sum(ctx, path, partial); err != nil {
		return "", 0, explain(err)
	}
	if err := errors.Join(partial.Chmod(0o400), partial.Sync()); err != nil {
		return "", 0, explain(err)
	}
	if err := os.Rename(partial.Name(), b.Path(digest)); err != nil {
		return "", 0, explain(err)
	}
	return digest, size, b.sync()
}

// sum copies a file to w and returns the digest and the number of its bytes.
func sum(ctx context.Context, path string, w io.Writer) (digest string, size int64, err error) {
	source, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer source.Close()
	h := sha256.New()
	size, err = io.Copy(io.MultiWriter(w, h), &untilDone{ctx, source})
	return hex.EncodeToString(h.Sum(nil)), size, err
}

// whole reports whether the bytes are there and undamaged: what the disk, or
// somebody, did to a file is mended by putting its bytes again.
func (b *Blobs) whole(ctx context.Context, digest string) bool {
	found, _, err := sum(ctx, b.Path(digest), io.Discard)
	return err == nil && found == digest
}

// untilDone reads until ctx ends.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u *untilDone) Read(p []byte) (int, error) {
	if err := context.Cause(u.ctx); err != nil {
		return 0, err
	}
	return u.r.Read(p)
}

// sync makes the names in the directory durable.
func (b *Blobs) sync() error {
	dir, err := os.Open(b.dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// Path returns where the bytes with that digest are, or would be.
func (b *Blobs) Path(digest string) string { return filepath.Join(b.dir, digest+blobSuffix) }

// Has reports whether the bytes are there, so many of them. It does not read them.
func (b *Blobs) Has(digest string, size int64) bool {
	info, err := os.Stat(b.Path(digest))
	return err == nil && info.Mode().IsRegular() && info.Size() == size
}

// Delete removes the bytes; they need not be there.
func (b *Blobs) Delete(digest string) error {
	if err := os.Remove(b.Path(digest)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// List returns the digests of all bytes that are there.
func (b *Blobs) List() ([]string, error) {
	files, err := os.ReadDir(b.dir)
	if err != nil {
		return nil, err
	}
	var digests []string
	for _, f := range files {
		if digest, ok := strings.CutSuffix(f.Name(), blobSuffix); ok && digestPattern.MatchString(digest) {
			digests = append(digests, digest)
		}
	}
	return digests, nil
}
