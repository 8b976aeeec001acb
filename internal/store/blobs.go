package store

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
	"sync"
)

// Blobs are files that are named after the SHA-256 of their bytes, which never change. It is
// safe for concurrent use.
type Blobs struct {
	dir  string
	work string // for copies that are not complete

	// mu guards held, and is held while a file gets or loses its name.
	mu   sync.Mutex
	held map[string]int // how many need the bytes to stay, by digest
}

// Blob names bytes that are there. They are not deleted while somebody holds them.
type Blob struct {
	Digest string // SHA-256 in hex
	Path   string
}

const blobSuffix = ".gguf"

var digestPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

func openBlobs(dir, work string) (*Blobs, error) {
	return &Blobs{dir: dir, work: work, held: map[string]int{}}, os.MkdirAll(dir, 0o700)
}

// Put copies a file, unless its bytes are there, and returns the digest of the bytes that
// are stored, even if the file changed meanwhile, and how many there are. Of a blob that is
// held nothing is read. When it returns the bytes survive whatever happens; after an error,
// or when ctx ended, nothing is left.
func (b *Blobs) Put(ctx context.Context, path string) (digest string, size int64, err error) {
	if digest = b.own(path); digest != "" {
		info, err := os.Stat(path)
		if err != nil {
			return "", 0, err
		}
		return digest, info.Size(), nil
	}
	// Reading twice spares writing what is known, which is nearly all at a start: no
	// disk is worn, and a full one keeps nothing from being taken in again.
	if digest, size, err = Sum(ctx, path, io.Discard); err != nil {
		return "", 0, err
	}
	if b.whole(ctx, digest) {
		return digest, size, b.sync()
	}
	partial, err := os.CreateTemp(b.work, "")
	if err != nil {
		return "", 0, err
	}
	defer func() {
		partial.Close()
		os.Remove(partial.Name()) // it has its name by now, unless something failed
	}()
	if digest, size, err = Sum(ctx, path, partial); err != nil {
		return "", 0, err
	}
	return digest, size, b.name(partial, digest)
}

// own returns the digest of a blob that is held, by its path, or "".
func (b *Blobs) own(path string) string {
	digest, ok := strings.CutSuffix(filepath.Base(path), blobSuffix)
	b.mu.Lock()
	defer b.mu.Unlock()
	if !ok || b.held[digest] == 0 || path != b.Path(digest) {
		return ""
	}
	return digest
}

// name makes a file's bytes durable and gives it the name of its digest.
func (b *Blobs) name(file *os.File, digest string) error {
	if err := errors.Join(file.Chmod(0o400), file.Sync()); err != nil {
		return err
	}
	b.mu.Lock()
	err := os.Rename(file.Name(), b.Path(digest))
	b.mu.Unlock()
	if err != nil {
		return err
	}
	return b.sync()
}

// Keep makes a blob of a file of the store, such as one in Scratch's folder, that nobody
// writes to any more. digest is that of its bytes; "" is not known, and takes reading them. If
// the blob is there already it stays as it is, and so does the file; else the file has become
// it. The blob is held: Release must be called.
func (b *Blobs) Keep(ctx context.Context, path, digest string) (Blob, error) {
	if digest == "" {
		var err error
		if digest, _, err = Sum(ctx, path, io.Discard); err != nil {
			return Blob{}, err
		}
	}
	if blob, ok := b.Take(ctx, digest); ok {
		return blob, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return Blob{}, err
	}
	defer file.Close()
	b.Hold(digest, 1)
	if err := b.name(file, digest); err != nil {
		b.Release(digest)
		return Blob{}, err
	}
	return Blob{digest, b.Path(digest)}, nil
}

// Take returns a blob, held, if it is there and undamaged, which takes reading it.
func (b *Blobs) Take(ctx context.Context, digest string) (Blob, bool) {
	b.Hold(digest, 1)
	if !b.whole(ctx, digest) {
		b.Release(digest)
		return Blob{}, false
	}
	return Blob{digest, b.Path(digest)}, true
}

// Hold keeps bytes from being deleted until as many calls of Release.
func (b *Blobs) Hold(digest string, calls int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held[digest] += calls
}

// Release takes one hold back.
func (b *Blobs) Release(digest string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held[digest]--; b.held[digest] <= 0 {
		delete(b.held, digest)
	}
}

// Sum copies a file to w and returns the digest and the number of its bytes. It ends with
// ctx, and then with its cause.
func Sum(ctx context.Context, path string, w io.Writer) (digest string, size int64, err error) {
	source, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer source.Close()
	h := sha256.New()
	size, err = io.Copy(io.MultiWriter(w, h), UntilDone(ctx, source))
	return hex.EncodeToString(h.Sum(nil)), size, err
}

// whole reports whether the bytes are there and undamaged: what the disk, or
// somebody, did to a file is mended by putting its bytes again.
func (b *Blobs) whole(ctx context.Context, digest string) bool {
	found, _, err := Sum(ctx, b.Path(digest), io.Discard)
	return err == nil && found == digest
}

// UntilDone returns a reader of r that fails with ctx's cause once ctx has ended. It is looked
// at between reads.
func UntilDone(ctx context.Context, r io.Reader) io.Reader { return &untilDone{ctx, r} }

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

// Dir returns the folder of the files.
func (b *Blobs) Dir() string { return b.dir }

// Path returns where the bytes with that digest are, or would be.
func (b *Blobs) Path(digest string) string { return filepath.Join(b.dir, digest+blobSuffix) }

// Has reports whether the bytes are there, so many of them. It does not read them.
func (b *Blobs) Has(digest string, size int64) bool {
	info, err := os.Stat(b.Path(digest))
	return err == nil && info.Mode().IsRegular() && info.Size() == size
}

func (b *Blobs) exists(digest string) bool {
	info, err := os.Stat(b.Path(digest))
	return err == nil && info.Mode().IsRegular()
}

// Delete removes the bytes, unless somebody holds them; they need not be there.
func (b *Blobs) Delete(digest string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held[digest] > 0 {
		return nil
	}
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
