package source

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestVictims(t *testing.T) {
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	a := &entry{meta: meta{Source: "a", Bytes: 10}, used: at(3)}
	b := &entry{meta: meta{Source: "b", Bytes: 10}, used: at(1)}
	c := &entry{meta: meta{Source: "c", Bytes: 10}, used: at(2)}
	busy := &entry{meta: meta{Source: "busy", Bytes: 10}, used: at(0), uses: 1}
	stale := &entry{meta: meta{Source: "stale", Bytes: 10}, used: at(9), stale: true}
	all := []*entry{a, b, busy, c, stale}
	for _, x := range []struct {
		limit int64
		want  []*entry
	}{
		{100, []*entry{stale}}, {40, []*entry{stale}}, {39, []*entry{stale, b}}, {20, []*entry{stale, b, c}},
		{10, []*entry{stale, b, c, a}}, {0, []*entry{stale, b, c, a}}, {-5, []*entry{stale, b, c, a}},
	} {
		if got := victims(all, x.limit); !slices.Equal(got, x.want) {
			t.Errorf("limit %d: %d victims, want %d", x.limit, len(got), len(x.want))
		}
	}
}

// cached lists the seeds of the files in f's cache.
func cached(f *Fetcher) string {
	f.cache.mu.Lock()
	defer f.cache.mu.Unlock()
	var names []string
	for _, e := range f.cache.entries {
		names = append(names, strings.TrimSuffix(filepath.Base(e.Source), ".gguf"))
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func TestEvictionOrderAndUse(t *testing.T) {
	s := newSite(t, someGGUF(1, 1000))
	o := Options{CacheDir: filepath.Join(t.TempDir(), "cache"), CacheBytes: 3000}
	open := func() *Fetcher {
		f := newFetcher(t, o)
		now := time.Now()
		f.cache.now = func() time.Time { now = now.Add(time.Second); return now }
		return f
	}
	f := open()
	get := func(name string) *Artifact { return mustFetch(t, f, s.URL+"/"+name+".gguf", "") }
	a := get("a")
	get("b").Release()
	get("c").Release()
	get("b").Release()
	get("d").Release() // a is older than c, but in use
	if got := cached(f); got != "a b d" {
		t.Errorf("cached: %s, want a b d", got)
	}
	e, g := get("e"), get("g")
	get("h").Release()
	if got := cached(f); got != "a e g" {
		t.Errorf("cached: %s, want a e g, which are in use", got)
	}
	h := get("h") // more than fits, all in use
	if got := cached(f); got != "a e g h" {
		t.Errorf("cached: %s, want a e g h", got)
	}
	wantFile(t, a, s.data)
	for _, x := range []*Artifact{h, g, a, e} {
		x.Release()
	}
	if got := cached(f); got != "a e g" { // h went when it alone was idle
		t.Errorf("cached: %s, want a e g", got)
	}
	// The order survives a restart: g is the oldest now.
	f = open()
	f.cache.now = func() time.Time { return time.Now().Add(time.Hour) }
	get("i").Release()
	if got := cached(f); got != "a e i" {
		t.Errorf("cached: %s, want a e i", got)
	}
}

func TestRestartClearsWhatACrashLeft(t *testing.T) {
	data := someGGUF(1, 1000)
	s := newSite(t, data)
	o := Options{CacheDir: filepath.Join(t.TempDir(), "cache")}
	f := newFetcher(t, o)
	for _, name := range []string{"whole", "cut", "nometa"} {
		mustFetch(t, f, s.URL+"/"+name+".gguf", "").Release()
	}
	for _, e := range f.cache.entries {
		var err error
		switch filepath.Base(e.Source) {
		case "cut.gguf":
			err = os.Truncate(filepath.Join(e.dir, e.Path), 10)
		case "nometa.gguf":
			err = os.Remove(filepath.Join(e.dir, metaFile))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	tmp := filepath.Join(o.CacheDir, "tmp", "unpacking")
	old, young := f.cache.partial("old"), f.cache.partial("young")
	for _, dir := range []string{tmp, old, young} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	ago := time.Now().Add(-2 * partialAge)
	if err := os.Chtimes(old, ago, ago); err != nil {
		t.Fatal(err)
	}
	f = newFetcher(t, o)
	if got := cached(f); got != "whole" {
		t.Errorf("cached: %q, want only whole", got)
	}
	for dir, want := range map[string]bool{tmp: false, old: false, young: true} {
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", dir, err == nil, want)
		}
	}
	if found, err := os.ReadDir(filepath.Join(o.CacheDir, "entries")); err != nil || len(found) != 1 {
		t.Errorf("entries on disk: %v %v", found, err)
	}
}

func TestOnlyTheNewestCountsAfterARestart(t *testing.T) {
	old, newer := someGGUF(1, 1000), someGGUF(2, 2000)
	s := newSite(t, old)
	o := Options{CacheDir: filepath.Join(t.TempDir(), "cache")}
	f := newFetcher(t, o)
	mustFetch(t, f, s.URL+"/x.gguf", "") // in use until the end
	s.set(newer, `"v2"`)
	mustFetch(t, f, s.URL+"/x.gguf", "")
	f = newFetcher(t, o)
	if got := cached(f); got != "x" {
		t.Errorf("cached: %q, want x once", got)
	}
	wantFile(t, mustFetch(t, f, s.URL+"/x.gguf", ""), newer)
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
	if a.Path != file || b.Path != peft {
		t.Errorf("not in place: %s, %s", a.Path, b.Path)
	}
	a.Release()
	b.Release()
	wantFile(t, a, data)

	archive := write("x.zip", makeZip(t, item{name: "x.gguf", data: data}))
	a = mustFetch(t, f, archive, "")
	wantFile(t, a, data)
	if b = mustFetch(t, f, archive, ""); b.Path != a.Path {
		t.Error("an unchanged archive was unpacked again")
	}
	newer := someGGUF(2, 1200)
	write("x.zip", makeZip(t, item{name: "x.gguf", data: newer}))
	wantFile(t, mustFetch(t, f, archive, ""), newer)
	if !isFile(archive) {
		t.Error("the user's archive is gone")
	}

	write("other/readme", nil)
	for name, want := range map[string][2]string{
		"none.gguf": {NotFound, "no such file"}, "other": {BadSource, peftConfig}, "other/readme": {BadSource, ".gguf"},
	} {
		_, err := f.Fetch(t.Context(), filepath.Join(dir, name), "", nil)
		wantError(t, err, want[0], want[1], dir)
	}
	for _, name := range []string{file, peft, archive} {
		_, err := f.Fetch(t.Context(), name, digestOf(nil), nil)
		wantError(t, err, DigestMismatch, name, digestOf(nil))
	}
}

func TestNewRefuses(t *testing.T) {
	for want, o := range map[string]Options{"directory": {}, "negative": {CacheDir: t.TempDir(), MaxBytes: -1}} {
		_, err := New(o)
		wantError(t, err, BadSource, want)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := New(Options{CacheDir: file})
	wantError(t, err, Disk, file)
}
