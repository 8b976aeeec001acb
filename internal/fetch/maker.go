package fetch

import (
	"context"
	"os"
	"path/filepath"

	"github.com/loragate/loragate/internal/fetch/archive"
	"github.com/loragate/loragate/internal/fetch/failure"
	"github.com/loragate/loragate/internal/store"
)

// maker makes a blob, which is always a GGUF, of what was fetched.
type maker struct {
	store   *store.Store
	limit   int64 // bytes that an archive may have, unpacked
	convert func(ctx context.Context, dir, out string) error
	name    string // of convert
}

// fromFile makes a blob, held, of the adapter that the file at path is, or has in it. name
// is the file's for its source, digest that of its bytes. A GGUF file is moved away, unless
// its blob is there; an archive stays. by is the maker's name if it had to convert, else "".
func (m *maker) fromFile(ctx context.Context, what, name, path, digest string) (blob store.Blob, by string, err error) {
	is, err := archive.Settle(what, name, path)
	if err != nil {
		return blob, "", err
	}
	if is == archive.GGUF {
		blob, err = m.keep(ctx, what, path, digest)
		return blob, "", err
	}
	dir, err := m.store.Scratch()
	if err != nil {
		return blob, "", failure.OnDisk(what, err)
	}
	defer os.RemoveAll(dir)
	if err := archive.Unpack(ctx, what, path, is, dir, m.limit); err != nil {
		return blob, "", err
	}
	found, peft, err := archive.Pick(what, dir)
	if err != nil {
		return blob, "", err
	}
	if path = filepath.Join(dir, found); peft {
		blob, err = m.fromFolder(ctx, what, path)
		return blob, m.name, err
	}
	blob, err = m.keep(ctx, what, path, "")
	return blob, "", err
}

// fromFolder makes a blob, held, of the PEFT adapter in dir. An error of the conversion is
// returned as it is.
func (m *maker) fromFolder(ctx context.Context, what, dir string) (store.Blob, error) {
	work, err := m.store.Scratch()
	if err != nil {
		return store.Blob{}, failure.OnDisk(what, err)
	}
	defer os.RemoveAll(work)
	out := filepath.Join(work, "adapter.gguf")
	switch err := m.convert(ctx, dir, out); {
	case err != nil && ctx.Err() != nil:
		return store.Blob{}, failure.GivenUp(ctx, what)
	case store.IsFull(err):
		return store.Blob{}, failure.OnDisk(what, err)
	case err != nil:
		return store.Blob{}, err
	}
	return m.keep(ctx, what, out, "")
}

// keep makes a blob, held, of a GGUF file of the store; for digest see store.Blobs.Keep.
func (m *maker) keep(ctx context.Context, what, path, digest string) (store.Blob, error) {
	blob, err := m.store.Blobs.Keep(ctx, path, digest)
	switch {
	case err != nil && ctx.Err() != nil:
		return blob, failure.GivenUp(ctx, what)
	case err != nil:
		return blob, failure.OnDisk(what, err)
	}
	return blob, nil
}
