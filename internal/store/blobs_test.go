package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"testing"
	"time"
)

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func digestOf(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}

func TestBlobs(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "source")
	if err := os.WriteFile(source, []byte("bytes"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := digestOf("bytes")
	b := open(t, dir).Blobs
	long := time.Unix(1, 0)
	for _, again := range []bool{false, true} { // the second writes nothing, and so needs no room
		digest, size, err := b.Put(t.Context(), source)
		if err != nil || digest != want || size != 5 || !b.Has(want, 5) {
			t.Fatalf("%s, %d, %v", digest, size, err)
		}
		if info, err := os.Stat(b.dir); err != nil || info.ModTime().Equal(long) != again {
			t.Errorf("again %t: the folder was changed at %v, %v", again, info.ModTime(), err)
		}
		if err := os.Chtimes(b.dir, long, long); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(source, []byte("other bytes"), 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(b.Path(want)); err != nil || string(text) != "bytes" {
		t.Errorf("after the source changed it has %q, %v", text, err)
	}
	// A file that was cut, by a full disk or a bad restore, is written anew.
	if err := errors.Join(os.Chmod(b.Path(want), 0o600), os.Truncate(b.Path(want), 2),
		os.WriteFile(source, []byte("bytes"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if b.Has(want, 5) {
		t.Error("a file that was cut counts as there")
	}
	if _, _, err := b.Put(t.Context(), source); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(b.Path(want)); err != nil || string(text) != "bytes" {
		t.Errorf("after it was cut and put again it has %q, %v", text, err)
	}
	// So is one with other bytes, of the same number.
	if err := errors.Join(os.Remove(b.Path(want)), os.WriteFile(b.Path(want), []byte("bites"), 0o400)); err != nil {
		t.Fatal(err)
	}
	if digest, size, err := b.Put(t.Context(), source); err != nil || digest != want || size != 5 {
		t.Fatal(digest, size, err)
	}
	if text, err := os.ReadFile(b.Path(want)); err != nil || string(text) != "bytes" {
		t.Errorf("after it was damaged and put again it has %q, %v", text, err)
	}
	if list, err := b.List(); err != nil || !reflect.DeepEqual(list, []string{want}) {
		t.Errorf("%v, %v", list, err)
	}
	if err := errors.Join(b.Delete(want), b.Delete(want)); err != nil || b.Has(want, 5) {
		t.Errorf("deleted twice: %v", err)
	}
}

func TestWhatIsNotWholeIsNotThere(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	source := filepath.Join(dir, "source")
	if err := os.WriteFile(source, []byte("bytes"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := d.Blobs.Put(ctx, source); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	if _, _, err := d.Blobs.Put(t.Context(), filepath.Join(dir, "nothing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of nothing: %v", err)
	}
	left := filepath.Join(dir, "work", "123")
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil { // as a killed process leaves it
		t.Fatal(err)
	}
	d = open(t, dir)
	if list, err := d.Blobs.List(); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	for _, folder := range []string{"blobs", "work"} {
		if files, err := os.ReadDir(filepath.Join(dir, folder)); err != nil || len(files) != 0 {
			t.Errorf("left are %v, %v", files, err)
		}
	}
}

// TestOneOfManyStoresTheSame puts the same bytes from many goroutines.
func TestOneOfManyStoresTheSame(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir).Blobs
	source := filepath.Join(dir, "source")
	if err := os.WriteFile(source, bytes.Repeat([]byte("bytes"), 1<<16), 0o600); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	found := make([]string, 8)
	for i := range found {
		group.Go(func() {
			digest, size, err := b.Put(t.Context(), source)
			if err != nil || !b.Has(digest, size) {
				t.Errorf("%s, %d, %v", digest, size, err)
			}
			found[i] = digest
		})
	}
	group.Wait()
	files, err := os.ReadDir(filepath.Join(dir, "blobs"))
	if err != nil || len(files) != 1 || files[0].Name() != found[0]+blobSuffix {
		t.Errorf("there are %v, %v", files, err)
	}
}

// TestBlobsThatCannotBeWritten leave nothing behind.
func TestBlobsThatCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir).Blobs
	source := filepath.Join(dir, "source")
	put := func(content string) error {
		if err := os.WriteFile(source, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, err := b.Put(t.Context(), source)
		return err
	}
	if err := put("known"); err != nil {
		t.Fatal(err)
	}
	// Renames onto a folder that is not empty fail, as would writes on a full disk.
	blocked := b.Path(digestOf("blocked"))
	if err := os.MkdirAll(filepath.Join(blocked, "something"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := put("blocked"); err == nil {
		t.Error("what has no place is stored")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "work", "*")); len(left) > 0 {
		t.Errorf("left are %v", left)
	}
	away := filepath.Join(dir, "away")
	if err := os.Rename(filepath.Join(dir, "blobs"), away); err != nil {
		t.Fatal(err)
	}
	if err := put("new"); err == nil {
		t.Error("it is stored in a folder that is not there")
	}
	if err := os.Rename(away, filepath.Join(dir, "blobs")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(put("new"), put("known")); err != nil {
		t.Errorf("after the folder is back: %v", err)
	}
}

// scratch writes a file of the store.
func scratch(t *testing.T, s *Store, content string) string {
	t.Helper()
	dir, err := s.Scratch()
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "file"), []byte(content), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "file")
}

// TestHeldBlobs are not deleted while somebody needs them, and put again without a copy.
func TestHeldBlobs(t *testing.T) {
	s := open(t, t.TempDir())
	b := s.Blobs
	path := scratch(t, s, "bytes")
	blob, err := b.Keep(t.Context(), path, digestOf("bytes"))
	if err != nil || blob != (Blob{digestOf("bytes"), b.Path(digestOf("bytes"))}) {
		t.Fatal(blob, err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file was copied: %v", err)
	}
	before, _ := os.Stat(blob.Path)
	digest, size, err := b.Put(t.Context(), blob.Path)
	after, _ := os.Stat(blob.Path)
	if err != nil || digest != blob.Digest || size != 5 || !os.SameFile(before, after) {
		t.Errorf("%s, %d, %v", digest, size, err)
	}
	path = scratch(t, s, "bytes")
	if same, err := b.Keep(t.Context(), path, blob.Digest); err != nil || same != blob {
		t.Errorf("kept again: %v, %v", same, err)
	}
	if now, err := os.Stat(blob.Path); err != nil || !os.SameFile(before, now) {
		t.Errorf("what was there was replaced: %v", err)
	}
	b.Release(blob.Digest)
	again, ok := b.Take(t.Context(), blob.Digest)
	if !ok || again != blob {
		t.Errorf("taken is %v, %t", again, ok)
	}
	for range 2 {
		if err := b.Delete(blob.Digest); err != nil || !b.Has(blob.Digest, 5) {
			t.Errorf("what is held is gone: %v", err)
		}
		b.Release(blob.Digest)
	}
	if err := b.Delete(blob.Digest); err != nil || b.Has(blob.Digest, 5) {
		t.Errorf("what nobody holds is still there: %v", err)
	}
	if _, ok := b.Take(t.Context(), blob.Digest); ok {
		t.Error("what is not there is taken")
	}
	// A file of the store that was damaged is not taken, and a path of it not believed.
	if err := os.WriteFile(blob.Path, []byte("bites"), 0o400); err != nil {
		t.Fatal(err)
	}
	if _, ok := b.Take(t.Context(), blob.Digest); ok {
		t.Error("what is damaged is taken")
	}
	if digest, _, err := b.Put(t.Context(), blob.Path); err != nil || digest != digestOf("bites") {
		t.Errorf("%s, %v", digest, err)
	}
	if _, err := b.Keep(t.Context(), path+"-none", digestOf("bytes")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	if len(b.held) != 0 {
		t.Errorf("still held: %v", b.held)
	}
}

// TestOpenClearsAway what a killed process left, and keeps what can be gone on with.
func TestOpenClearsAway(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	work := scratch(t, s, "half")
	old, err := s.Partials.Dir("old")
	young, err2 := s.Partials.Dir("young")
	ago := time.Now().Add(-2 * partialAge)
	blob, err3 := s.Blobs.Keep(t.Context(), scratch(t, s, "bytes"), digestOf("bytes"))
	if err := errors.Join(err, err2, err3, os.Chtimes(old, ago, ago),
		s.Origins.Remember("there", Origin{Digest: "d", Whole: true, Blob: blob.Digest}),
		s.Origins.Remember("part", Origin{Digest: "d", Blob: blob.Digest}),
		s.Origins.Remember("gone", Origin{Digest: "d", Whole: true, Blob: digestOf("gone")}),
		os.WriteFile(filepath.Join(dir, "origins", "broken.json"), []byte("{"), 0o600)); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	for path, want := range map[string]bool{work: false, old: false, young: true} {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", path, err == nil, want)
		}
	}
	want := Origin{Digest: "d", Whole: true, Blob: blob.Digest}
	if got, ok := s.Origins.Recall("there"); !ok || got != want {
		t.Errorf("%+v, %t", got, ok)
	}
	if got := s.Origins.ByDigest("d"); !reflect.DeepEqual(got, []Origin{want}) {
		t.Errorf("%+v", got)
	}
	if _, ok := s.Origins.Recall("gone"); ok {
		t.Error("what is gone is still known")
	}
	if left, err := os.ReadDir(filepath.Join(dir, "origins")); err != nil || len(left) != 2 {
		t.Errorf("left are %v, %v", left, err)
	}
}
