package catalog

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// files makes files of the given contents in a new directory.
func files(t *testing.T, contents map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range contents {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestOpen(t *testing.T) {
	dir := files(t, map[string]string{"coding.gguf": "GGUF c", "chat.gguf": "GGUF h", "README": "x", ".hidden.gguf": "x"})
	other := files(t, map[string]string{"base.gguf": "GGUF b", "legal.gguf": "GGUF l"})
	c, err := Open(Options{
		BaseName: "demo", BasePath: filepath.Join(other, "base.gguf"), Dir: dir,
		Entries: []Entry{{Name: "team/legal", Path: filepath.Join(other, "legal.gguf"), Scale: 0.5, Aliases: []string{"gpt-4o", "law"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range c.Models() {
		got = append(got, m.Name+"="+string(m.Kind)+":"+m.Target)
	}
	want := "demo=base:demo chat=adapter:chat coding=adapter:coding gpt-4o=alias:team/legal law=alias:team/legal team/legal=adapter:team/legal"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("models %s\nwant   %s", s, want)
	}
	if len(c.Adapters()) != 3 || c.Base().Name != "demo" || c.Base().Adapter != nil {
		t.Errorf("%d adapters, base %+v", len(c.Adapters()), c.Base())
	}
	law, _ := c.Resolve("law")
	sum := sha256.Sum256([]byte("GGUF l"))
	if law.Adapter.Digest != hex.EncodeToString(sum[:]) || law.Adapter.Scale != 0.5 {
		t.Errorf("alias stands for %+v", law.Adapter)
	}
	if _, ok := c.Resolve("Law"); ok {
		t.Error("names do not tell case apart")
	}
}

func TestIdentity(t *testing.T) {
	a := &Adapter{Name: "a", Digest: "d", Scale: 1}
	sameBytes := &Adapter{Name: "b", Path: "/elsewhere", Digest: "d", Scale: 1}
	otherScale := &Adapter{Name: "a", Digest: "d", Scale: 0.1}
	otherBytes := &Adapter{Name: "a", Digest: "e", Scale: 1}
	if a.Identity() != sameBytes.Identity() {
		t.Error("the same bytes at the same scale are two identities")
	}
	if a.Identity() == otherScale.Identity() || a.Identity() == otherBytes.Identity() {
		t.Error("other bytes or another scale are the same identity")
	}
}

func TestEqualBytesAreLoadedOnce(t *testing.T) {
	dir := files(t, map[string]string{"base.gguf": "GGUF", "a.gguf": "GGUF same", "b.gguf": "GGUF same", "c.gguf": "GGUF other"})
	c, err := Open(Options{BaseName: "demo", BasePath: filepath.Join(dir, "base.gguf"), Entries: []Entry{
		{Name: "a", Path: filepath.Join(dir, "a.gguf"), Scale: 1},
		{Name: "b", Path: filepath.Join(dir, "b.gguf"), Scale: 1},
		{Name: "c", Path: filepath.Join(dir, "c.gguf"), Scale: 1},
	}})
	if err != nil {
		t.Fatal(err)
	}
	a, _ := c.Resolve("a")
	b, _ := c.Resolve("b")
	if a.Adapter.Path != b.Adapter.Path || a.Adapter.Identity() != b.Adapter.Identity() {
		t.Errorf("a is %s, b is %s: one identity must be one file", a.Adapter.Path, b.Adapter.Path)
	}
	if got := len(c.Files()); got != 2 {
		t.Errorf("%d files to load, want 2", got)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := files(t, map[string]string{"base.gguf": "GGUF", "a.gguf": "GGUF a", "text.gguf": "text", "short.gguf": "GG"})
	file := func(name string) string { return filepath.Join(dir, name) }
	base := Options{BaseName: "demo", BasePath: file("base.gguf")}
	with := func(change func(o *Options)) Options {
		o := base
		change(&o)
		return o
	}
	entry := func(entries ...Entry) Options { return with(func(o *Options) { o.Entries = entries }) }
	folder := func(contents map[string]string) Options {
		return with(func(o *Options) { o.Dir = files(t, contents) })
	}
	tests := []struct {
		name string
		opts Options
		want []string // all must be in the error
	}{
		{"no base", with(func(o *Options) { o.BasePath = file("none.gguf") }), []string{"base model", "none.gguf"}},
		{"base is a directory", with(func(o *Options) { o.BasePath = dir }), []string{"not a regular file"}},
		{"no directory", with(func(o *Options) { o.Dir = file("none") }), []string{"adapters.dir", "none"}},
		{"not a GGUF", entry(Entry{Name: "a", Path: file("text.gguf")}), []string{`adapter "a"`, "text.gguf is not a GGUF file"}},
		{"too short", entry(Entry{Name: "a", Path: file("short.gguf")}), []string{"short.gguf is not a GGUF file"}},
		{"two adapters", entry(Entry{Name: "a", Path: file("a.gguf")}, Entry{Name: "a", Path: file("base.gguf")}), []string{`"a" is taken twice`, "a.gguf", "base.gguf"}},
		{"the base's name", entry(Entry{Name: "demo", Path: file("a.gguf")}), []string{`"demo" is taken twice`, "the base model"}},
		{"an alias", entry(Entry{Name: "a", Path: file("a.gguf"), Aliases: []string{"demo"}}), []string{`"demo" is taken twice`, `an alias of "a"`}},
		{"list and directory", with(func(o *Options) {
			o.Entries = []Entry{{Name: "a", Path: file("a.gguf")}}
			o.Dir = files(t, map[string]string{"a.gguf": "GGUF"})
		}), []string{`"a" is taken twice`}},
		{"a name that is none", folder(map[string]string{"my adapter.gguf": "GGUF"}), []string{`"my adapter" cannot name a model`}},
		{"a name for scales", folder(map[string]string{"a@0.5.gguf": "GGUF"}), []string{`"a@0.5" cannot name a model`}},
		{"two mistakes", entry(Entry{Name: "a", Path: file("text.gguf")}, Entry{Name: "b", Path: file("none")}), []string{`adapter "a"`, `adapter "b"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Open(tt.opts)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
		})
	}
}
