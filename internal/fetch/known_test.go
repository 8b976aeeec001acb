package fetch

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/fetch/archive"
	"github.com/loragate/loragate/internal/fetch/failure"
)

// TestRestart keeps what is known of sources whose blobs are whole, and of no others.
func TestRestart(t *testing.T) {
	data := someGGUF(1, 1000)
	s := newSite(t, data)
	o := Options{Store: newStore(t, t.TempDir())}
	paths := map[string]string{}
	for i, name := range []string{"whole", "cut", "gone", "unnoted"} {
		s.set(someGGUF(uint64(i), 1000), `"`+name+`"`)
		a := mustFetch(t, newFetcher(t, o), s.URL+"/"+name+".gguf", "")
		a.Release()
		paths[name] = a.Path
	}
	r, err := Parse(s.URL + "/unnoted.gguf")
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Dir(o.Store.Blobs.Dir())
	for _, err := range []error{
		os.Chmod(paths["cut"], 0o600), os.Truncate(paths["cut"], 10), os.Remove(paths["gone"]),
		os.WriteFile(filepath.Join(root, "origins", r.id()+".json"), []byte(`{"Blob":`), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	f := newFetcher(t, reopened(t, o))
	for i, name := range []string{"whole", "cut", "gone", "unnoted"} {
		s.set(someGGUF(uint64(i), 1000), `"`+name+`"`)
		before := len(s.seen())
		wantFile(t, mustFetch(t, f, s.URL+"/"+name+".gguf", ""), someGGUF(uint64(i), 1000))
		known := s.seen()[before].Header.Get("If-None-Match") != ""
		if known != (name == "whole") {
			t.Errorf("%s: it was asked for as known: %v", name, known)
		}
	}
}

func TestOnlyTheNewestCountsAfterARestart(t *testing.T) {
	old, newer := someGGUF(1, 1000), someGGUF(2, 2000)
	s := newSite(t, old)
	o := Options{Store: newStore(t, t.TempDir())}
	f := newFetcher(t, o)
	mustFetch(t, f, s.URL+"/x.gguf", "")
	s.set(newer, `"v2"`)
	mustFetch(t, f, s.URL+"/x.gguf", "")
	wantFile(t, mustFetch(t, newFetcher(t, reopened(t, o)), s.URL+"/x.gguf", ""), newer)
	if got := s.seen()[2].Header.Get("If-None-Match"); got != `"v2"` {
		t.Errorf("If-None-Match is %q", got)
	}
}

// TestAnotherConverter converts again what another one has made, and takes what needed none.
func TestAnotherConverter(t *testing.T) {
	weights := someGGUF(1, 5000)
	packed, plain := newSite(t, makeZip(t, peftFiles("", weights))), newSite(t, weights)
	o := Options{Store: newStore(t, t.TempDir()), Converter: "for one base"}
	urls := []string{packed.URL + "/x.zip", plain.URL + "/x.gguf"}
	for _, url := range urls {
		mustFetch(t, newFetcher(t, o), url, "")
	}
	for _, name := range []string{"for one base", "for another"} {
		o.Converter = name
		f := newFetcher(t, reopened(t, o))
		for _, url := range urls {
			mustFetch(t, f, url, "")
		}
	}
	want := []string{"", `"v1"`, ""}
	for i, r := range packed.seen() {
		if got := r.Header.Get("If-None-Match"); got != want[i] {
			t.Errorf("archive, request %d: If-None-Match is %q, want %q", i, got, want[i])
		}
	}
	want[2] = `"v1"`
	for i, r := range plain.seen() {
		if got := r.Header.Get("If-None-Match"); got != want[i] {
			t.Errorf("GGUF, request %d: If-None-Match is %q, want %q", i, got, want[i])
		}
	}
}

func TestLocal(t *testing.T) {
	dir, data := t.TempDir(), someGGUF(1, 1000)
	write := func(name string, b []byte) string {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	file := write("x.gguf", data)
	for name, b := range peftFiles("peft", data) {
		write(name, b)
	}
	peft := filepath.Join(dir, "peft")
	f := newFetcher(t, Options{})
	a, b := mustFetch(t, f, file, digestOf(data)), mustFetch(t, f, peft, digestOf(data))
	wantFile(t, a, data)
	wantPEFT(t, b, data)
	if a.Path != file {
		t.Errorf("not in place: %s", a.Path)
	}
	a.Release()
	b.Release()
	wantFile(t, a, data)

	packed := write("x.zip", makeZip(t, map[string][]byte{"x.gguf": data}))
	a = mustFetch(t, f, packed, "")
	wantFile(t, a, data)
	// An unchanged archive is not unpacked again, also after a restart.
	mark := time.Unix(1, 0)
	if err := os.Chtimes(a.Path, mark, mark); err != nil {
		t.Fatal(err)
	}
	for _, f := range []*Fetcher{f, newFetcher(t, reopened(t, Options{Store: f.store}))} {
		b = mustFetch(t, f, packed, "")
		if info, err := os.Stat(b.Path); err != nil || !info.ModTime().Equal(mark) {
			t.Errorf("an unchanged archive was unpacked again: %v", err)
		}
	}
	newer := someGGUF(2, 1200)
	write("x.zip", makeZip(t, map[string][]byte{"x.gguf": newer}))
	wantFile(t, mustFetch(t, f, packed, ""), newer)
	if !isFile(packed) {
		t.Error("the user's archive is gone")
	}
	// One of equal size and time is another.
	before, err := os.Stat(packed)
	if err != nil {
		t.Fatal(err)
	}
	equal := someGGUF(3, 1200)
	write("next.zip", makeZip(t, map[string][]byte{"x.gguf": equal}))
	next := filepath.Join(dir, "next.zip")
	if err := errors.Join(os.Chtimes(next, before.ModTime(), before.ModTime()), os.Rename(next, packed)); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(packed); err != nil || after.Size() != before.Size() ||
		!after.ModTime().Equal(before.ModTime()) {
		t.Fatalf("it is %v, was %v: %v", after, before, err)
	}
	wantFile(t, mustFetch(t, f, packed, ""), equal)

	write("other/readme", nil)
	for name, want := range map[string]struct {
		code failure.Code
		text string
	}{
		"none.gguf": {failure.NotFound, "no such file"}, "other": {failure.BadSource, archive.PEFTConfig},
		"other/readme": {failure.BadSource, ".gguf"},
	} {
		_, _, err := f.Fetch(t.Context(), filepath.Join(dir, name), "", nil)
		wantError(t, err, want.code, want.text, dir)
	}
	for _, name := range []string{file, peft, packed} {
		_, _, err := f.Fetch(t.Context(), name, digestOf(nil), nil)
		wantError(t, err, failure.DigestMismatch, name, digestOf(nil))
	}
}

func TestNewRefuses(t *testing.T) {
	_, err := New(Options{Store: newStore(t, t.TempDir()), MaxBytes: -1})
	wantError(t, err, failure.BadSource, "negative")
}
