package state

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func open(t *testing.T, dir string) *DB {
	t.Helper()
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestRecordsSurvive(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "state")
	d := open(t, dir)
	pinned := false
	want := Adapter{
		Name: "team/a", Kind: "adapter", Origin: "api", Source: "/a", WantDigest: "d", Scale: .5, Aliases: []string{"x"}, Weight: 2,
		MaxConcurrency: 3, Pin: true, Pinned: &pinned, Preload: true, Shares: []Share{{"b", .5}}, Active: 2, Seen: "e", State: "ready", Reason: "r",
		Versions: []Version{{Number: 2, Digest: "e", Bytes: 1, Rank: 8, Alpha: 16, Architecture: "llama", Source: "/a", Created: time.Unix(5, 6).UTC()}},
		Updated:  time.Unix(7, 8).UTC(),
	}
	other := Adapter{Name: want.Name, Origin: "directory"}
	for _, a := range []Adapter{{Name: "gone"}, {Name: want.Name, Origin: "api", Source: "/older"}, other, want} {
		if err := d.Put(a); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(d.Delete("", "gone"), d.Delete("", "never"), d.Quarantine("one", "old"), d.Quarantine("one", "bad"), d.Quarantine("two", "bad"), d.Release("two"), d.Close()); err != nil {
		t.Fatal(err)
	}
	d = open(t, dir)
	if got, err := d.Adapters(); err != nil || !reflect.DeepEqual(got, []Adapter{want, other}) {
		t.Errorf("%+v, %v; want %+v and %+v", got, err, want, other)
	}
	if got, err := d.Quarantined(); err != nil || !reflect.DeepEqual(got, map[string]string{"one": "bad"}) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestOneAtATime(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	var locked *LockedError
	if _, err := Open(dir); !errors.As(err, &locked) || locked.PID != os.Getpid() {
		t.Errorf("a second one: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
}

func TestDatabasesThatCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "loragate.db")
	if err := os.WriteFile(file, []byte(strings.Repeat("no database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "move it away") || !strings.Contains(err.Error(), file) {
		t.Errorf("a damaged one: %v", err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	d := open(t, dir)
	if _, err := d.SQL().Exec("PRAGMA user_version = 1000"); err != nil {
		t.Fatal(err)
	}
	d.Close()
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "run a newer one") {
		t.Errorf("one of a newer gateway: %v", err)
	}
}

func TestBlobs(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "source")
	if err := os.WriteFile(source, []byte("bytes"), 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("bytes"))
	want := hex.EncodeToString(sum[:])
	b := open(t, dir).Blobs()
	for range 2 { // the second finds it there
		digest, size, err := b.Put(t.Context(), source)
		if err != nil || digest != want || size != 5 || !b.Has(want) {
			t.Fatalf("%s, %d, %v", digest, size, err)
		}
	}
	if err := os.WriteFile(source, []byte("other bytes"), 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(b.Path(want)); err != nil || string(text) != "bytes" {
		t.Errorf("after the source changed it has %q, %v", text, err)
	}
	// A file that was cut, by a full disk or a bad restore, is written anew.
	if err := errors.Join(os.Chmod(b.Path(want), 0o600), os.Truncate(b.Path(want), 2), os.WriteFile(source, []byte("bytes"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Put(t.Context(), source); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(b.Path(want)); err != nil || string(text) != "bytes" {
		t.Errorf("after it was cut and put again it has %q, %v", text, err)
	}
	if list, err := b.List(); err != nil || !reflect.DeepEqual(list, []string{want}) {
		t.Errorf("%v, %v", list, err)
	}
	if err := errors.Join(b.Delete(want), b.Delete(want)); err != nil || b.Has(want) {
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
	if _, _, err := d.Blobs().Put(ctx, source); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	if _, _, err := d.Blobs().Put(t.Context(), filepath.Join(dir, "nothing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of nothing: %v", err)
	}
	left := filepath.Join(dir, "blobs", partialPrefix+"123")
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil { // as a killed process leaves it
		t.Fatal(err)
	}
	d.Close()
	d = open(t, dir)
	if list, err := d.Blobs().List(); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	if files, err := os.ReadDir(filepath.Join(dir, "blobs")); err != nil || len(files) != 0 {
		t.Errorf("left are %v, %v", files, err)
	}
}
