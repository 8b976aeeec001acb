package ingest

import (
	"context"
	"log/slog"
	"os"
	"sync"

	"github.com/loragate/loragate/internal/lora"
	"github.com/loragate/loragate/internal/state"
)

// shelf keeps the bytes of versions, and deletes those that nobody needs.
type shelf struct {
	blobs *state.Blobs
	limit int64 // the largest file that a worker can load; 0 is no bound
	log   *slog.Logger
	// storing is held for reading from when bytes are stored until a record has
	// them, and for writing while bytes that no record has are deleted.
	storing sync.RWMutex
}

// put stores a file's bytes. They stay at least until release is called, which is not nil
// unless err is.
func (s *shelf) put(ctx context.Context, path string) (v *lora.Version, release func(), err error) {
	file, err := os.Stat(path)
	if err == nil {
		err = s.fits(file.Size()) // before it takes room
	}
	if err != nil {
		return nil, nil, err
	}
	s.storing.RLock()
	digest, size, err := s.blobs.Put(ctx, path)
	if err == nil {
		err = s.fits(size)
	}
	if err != nil {
		s.storing.RUnlock()
		return nil, nil, err
	}
	return &lora.Version{Digest: digest, Path: s.blobs.Path(digest), Bytes: size}, s.storing.RUnlock, nil
}

// fits returns why a worker cannot load a file of that size, or nil.
func (s *shelf) fits(size int64) error {
	if s.limit > 0 && size > s.limit {
		return lora.Errorf(lora.TooLarge, "it has %d bytes, and a worker may load %d", size, s.limit)
	}
	return nil
}

// collect deletes the bytes that are not among the known digests and that no worker may
// still open. It asks once nothing is being stored.
func (s *shelf) collect(known func() map[string]bool, inUse func(path string) bool) {
	s.storing.Lock()
	defer s.storing.Unlock()
	stored, err := s.blobs.List()
	if err != nil {
		s.log.Error("listing stored adapters", "error", err)
		return
	}
	needed := known()
	for _, digest := range stored {
		if needed[digest] || inUse(s.blobs.Path(digest)) {
			continue
		}
		if err := s.blobs.Delete(digest); err != nil {
			s.log.Error("deleting an adapter's bytes", "digest", digest[:12], "error", err)
		}
	}
}
