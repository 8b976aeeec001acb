package ingest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/lora"
)

// TestKnownFilesAreNotReadAgain at the next start, unless something of them, of the base
// or of what was stored has changed.
func TestKnownFilesAreNotReadAgain(t *testing.T) {
	r := closedRig(t)
	listed := r.file("listed", "listed")
	r.opts.Entries = []lora.Spec{{Name: "listed", Source: listed}}
	dropped, bad := filepath.Join(r.opts.Dir, "dropped.gguf"), filepath.Join(r.opts.Dir, "bad.gguf")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(dropped, "dropped")
	write(bad, "bad bytes")
	reads := func() (n int) {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, path := range []string{listed, dropped, bad} {
			n += r.asked[path]
		}
		return n
	}
	next := func(what string, read int) {
		t.Helper()
		before := reads()
		r.reopen()
		if n := reads() - before; n != read {
			t.Errorf("%s: %d files were read, want %d", what, n, read)
		}
		r.want("listed", "listed")
		r.want("dropped", "dropped")
		if rec, _ := r.Get("bad"); rec.State != lora.Rejected || rec.Reason == "" {
			t.Errorf("%s: the refused one is %+v", what, rec)
		}
	}
	r.open()
	next("nothing has changed", 0)
	next("nothing has changed since", 0)

	earlier := time.Now().Add(-time.Hour)
	if err := os.Chtimes(dropped, earlier, earlier); err != nil {
		t.Fatal(err)
	}
	next("a file's time has changed", 1)
	next("it was read", 0)

	if err := errors.Join(os.Remove(r.path("listed")),
		os.WriteFile(r.path("listed"), []byte("damage"), 0o600)); err != nil {
		t.Fatal(err)
	}
	next("what was stored has changed", 1)
	next("it was stored again", 0)

	write(r.base.BasePath, "another base")
	next("the base has changed", 3)
}

// TestOpeningTellsHowFarItIs counts the models that are as before, too.
func TestOpeningTellsHowFarItIs(t *testing.T) {
	r := closedRig(t)
	for _, name := range []string{"a", "b", "c"} {
		if err := os.WriteFile(filepath.Join(r.opts.Dir, name+".gguf"), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.open()
	r.end()
	if err := os.WriteFile(filepath.Join(r.opts.Dir, "d.gguf"), []byte("d"), 0o600); err != nil {
		t.Fatal(err)
	}
	var told [][2]int
	r.opts.Opening = func(done, total int) { told = append(told, [2]int{done, total}) }
	r.open()
	if len(told) != 1 || told[0] != [2]int{3, 4} {
		t.Errorf("told %v, want 3 of 4", told)
	}
}

// TestOpeningEndsWithItsContext however many files wait to be read.
func TestOpeningEndsWithItsContext(t *testing.T) {
	r := closedRig(t)
	for i := range 200 {
		if err := os.WriteFile(filepath.Join(r.opts.Dir, string(rune('a'+i%26))+string(rune('a'+i/26))+".gguf"),
			[]byte{byte(i)}, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	r.opts.Opening = func(done, _ int) {
		if done > 3 {
			cancel(enough)
		}
	}
	if err := r.tryIn(ctx); !errors.Is(err, enough) {
		t.Errorf("%v, want %v", err, enough)
	}
	r.opts.Opening = nil
	r.open()
	if n := len(r.List()); n != 200 {
		t.Errorf("%d models after the next start, want 200", n)
	}
}
