package fetch

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/loragate/loragate/internal/fetch/failure"
	"github.com/loragate/loragate/internal/fulldisk"
)

// TestUploadToAFullDisk leaves nothing of an upload that has no room.
func TestUploadToAFullDisk(t *testing.T) {
	disk := fulldisk.New(t, "2m")
	if disk == nil {
		return
	}
	f := newFetcher(t, Options{Store: newStore(t, filepath.Join(disk.Dir))})
	_, _, err := f.Receive(t.Context(), bytes.NewReader(someGGUF(1, 4<<20)), "x.gguf", "", nil)
	wantError(t, err, failure.DiskFull, "no space left")
	if left := leftovers(t, f); left != nil {
		t.Errorf("left over: %v", left)
	}
}
