package ingest

import (
	"context"
	"log/slog"
	"os"
	"sync"

	"github.com/loragate/loragate/internal/lora"
	"github.com/loragate/loragate/internal/store"
)

// blobs keeps the bytes of versions, and deletes those that nobody needs.
type blobs struct {
	store *store.Blobs
	limit int64 // the largest file that a worker can load; 0 is no bound
	log   *slog.Logger
	// storing is held for reading from when bytes are stored until a record has
	// them, and for writing while bytes that no record has are deleted.
	storing sync.RWMutex
}

// put stores a file's bytes. They stay at least until release is called, which is not nil
// unless err is.
func (b *blobs) put(ctx context.Context, path string) (v *lora.Version, release func(), err error) {
	file, err := os.Stat(path)
	if err == nil {
		err = b.fits(file.Size()) // before it takes room
	}
	if err != nil {
		return nil, nil, err
	}
	b.storing.RLock()
	digest, size, err := b.store.Put(ctx, path)
	if err == nil {
		err = b.fits(size)
	}
	if err != nil {
		b.storing.RUnlock()
		return nil, nil, err
	}
	return &lora.Version{Digest: digest, Path: b.store.Path(digest), Bytes: size}, b.storing.RUnlock, nil
}

// fits returns why a worker cannot load a file of that size, or nil.
func (b *blobs) fits(size int64) error {
	if b.limit > 0 && size > b.limit {
		return lora.Errorf(lora.TooLarge, "it has %d bytes, and a worker may load %d", size, b.limit)
	}
	return nil
}

// collect deletes the bytes that are not among the known digests and that no worker may
// still open. It asks once nothing is being stored.
func (b *blobs) collect(known func() map[string]bool, inUse func(path string) bool) {
	b.storing.Lock()
	defer b.storing.Unlock()
	stored, err := b.store.List()
	if err != nil {
		b.log.Error("listing stored adapters", "error", err)
		return
	}
	needed := known()
	for _, digest := range stored {
		if needed[digest] || inUse(b.store.Path(digest)) {
			continue
		}
		if err := b.store.Delete(digest); err != nil {
			b.log.Error("deleting an adapter's bytes", "digest", digest[:12], "error", err)
		}
	}
}
