package source

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// item is an entry of an archive; mode 0 is a plain file.
type item struct {
	name string
	data []byte
	mode os.FileMode
	link string // of a tar's link
}

func makeZip(t *testing.T, items ...item) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for _, it := range items {
		h := &zip.FileHeader{Name: it.name, Method: zip.Deflate}
		h.SetMode(it.mode | 0o644)
		f, err := w.CreateHeader(h)
		if err == nil {
			_, err = f.Write(it.data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func makeTar(t *testing.T, items ...item) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, it := range items {
		h := &tar.Header{Name: it.name, Size: int64(len(it.data)), Mode: 0o644, Typeflag: tar.TypeReg, Linkname: it.link}
		switch {
		case it.mode.IsDir():
			h.Typeflag = tar.TypeDir
		case it.mode&os.ModeSymlink != 0:
			h.Typeflag = tar.TypeSymlink
		case it.mode&os.ModeDevice != 0:
			h.Typeflag = tar.TypeChar
		case it.mode&os.ModeNamedPipe != 0:
			h.Typeflag = tar.TypeFifo
		case it.link != "":
			h.Typeflag = tar.TypeLink
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(it.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func pack(t *testing.T, data []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// receive uploads an archive.
func receive(t *testing.T, f *Fetcher, name string, data []byte) (*Artifact, error) {
	return f.Receive(t.Context(), bytes.NewReader(data), name, "", nil)
}

func TestArchives(t *testing.T) {
	data := someGGUF(1, 50_000)
	var peft []item
	for name, b := range peftFiles("top", data) {
		peft = append(peft, item{name: name, data: b})
	}
	single := []item{{name: "./", mode: os.ModeDir}, {name: "x.GGUF", data: data}, {name: "Read.me"}, {name: "read.me"}, {name: "__MACOSX/._x.gguf"}, {name: "._x.gguf"}}
	f := newFetcher(t, Options{})
	for name, make := range map[string]func(...item) []byte{
		"a.zip": func(i ...item) []byte { return makeZip(t, i...) },
		"a.tar": func(i ...item) []byte { return makeTar(t, i...) },
		"A.TGZ": func(i ...item) []byte { return pack(t, makeTar(t, i...)) },
		"noext": func(i ...item) []byte { return pack(t, makeTar(t, i...)) },
	} {
		a, err := receive(t, f, name, make(single...))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		wantFile(t, a, data)
		if a, err = receive(t, f, name, make(peft...)); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		wantPEFT(t, a, data)
		a.Release()
		if _, err := os.Stat(a.Path); !os.IsNotExist(err) {
			t.Errorf("%s: a released upload is still there", name)
		}
	}
}

func TestDangerousArchives(t *testing.T) {
	data := someGGUF(1, 500)
	good := item{name: "x.gguf", data: data}
	names := map[string]string{
		"../evil.gguf": "leads out", "a/../../evil.gguf": "leads out", "a/../evil.gguf": "leads out",
		"/tmp/evil.gguf": "leads out", "..\\evil.gguf": "leads out", "..": "leads out",
	}
	for name, want := range names {
		for kind, raw := range map[string][]byte{"x.zip": makeZip(t, good, item{name: name, data: data}), "x.tar": makeTar(t, good, item{name: name, data: data})} {
			refused(t, kind, raw, BadArchive, want)
		}
	}
	links := []item{
		{name: "l", mode: os.ModeSymlink, link: "/etc/passwd"}, {name: "l", mode: os.ModeSymlink, link: "x.gguf"},
		{name: "l", link: "x.gguf"}, {name: "d", mode: os.ModeDevice | os.ModeCharDevice}, {name: "p", mode: os.ModeNamedPipe},
	}
	for _, l := range links {
		refused(t, "x.tar", makeTar(t, good, l), BadArchive, "neither a file nor a folder")
	}
	refused(t, "x.zip", makeZip(t, item{name: "l", mode: os.ModeSymlink, data: []byte("/etc/passwd")}, good), BadArchive, "neither a file nor a folder")
}

func TestBadArchives(t *testing.T) {
	data := someGGUF(1, 5000)
	good := item{name: "x.gguf", data: data}
	many := []item{good}
	for i := range maxEntries {
		many = append(many, item{name: fmt.Sprint(i)})
	}
	whole := makeZip(t, good)
	for _, c := range []struct {
		name  string
		items []item
		want  string
	}{
		{"twice", []item{good, good}, "cannot be unpacked: file exists"},
		{"file as folder", []item{good, {name: "x.gguf/y"}}, "cannot be unpacked"},
		{"too many", many, "more than 1000 entries"},
		{"two GGUFs", []item{good, {name: "y.gguf", data: data}}, "more than one adapter"},
		{"GGUF and PEFT", []item{good, {name: peftConfig}}, "more than one adapter"},
		{"two folders", []item{{name: "a/x.gguf", data: data}, {name: "b/x.gguf", data: data}}, "holds no adapter"},
		{"too deep", []item{{name: "a/b/x.gguf", data: data}}, "holds no adapter"},
		{"nothing", nil, "holds no adapter"},
	} {
		t.Run(c.name, func(t *testing.T) {
			refused(t, "x.zip", makeZip(t, c.items...), BadArchive, c.want)
			if c.items != nil { // a tar of nothing has no mark to be known by
				refused(t, "x.tgz", pack(t, makeTar(t, c.items...)), BadArchive, c.want)
			}
		})
	}
	refused(t, "x.zip", whole[:len(whole)-30], BadArchive, "broken")
	refused(t, "x.tgz", pack(t, makeTar(t, good))[:200], BadArchive, "broken")
	flipped := bytes.Clone(whole)
	flipped[len(whole)/2] ^= 1
	refused(t, "x.zip", flipped, BadArchive, "broken")
	refused(t, "x.zip", makeTar(t, good), BadContent, "is a tar archive")
	refused(t, "x.gguf", whole, BadContent, "is a zip archive")
	refused(t, "x.safetensors", []byte("12345678{}"), BadContent, "neither a GGUF file nor")
}

// Few bytes that unpack to more than MaxBytes.
func TestBombs(t *testing.T) {
	zeros := make([]byte, 3<<20)
	bomb := []item{{name: "x.gguf", data: zeros}, {name: "y", data: zeros}}
	for name, raw := range map[string][]byte{"x.zip": makeZip(t, bomb...), "x.tgz": pack(t, makeTar(t, bomb...))} {
		f := newFetcher(t, Options{MaxBytes: 4 << 20})
		_, err := receive(t, f, name, raw)
		wantError(t, err, TooLarge, "unpacked")
		if left := leftovers(t, f); left != nil {
			t.Errorf("%s: left over: %v", name, left)
		}
	}
}

// A tar's long names are read before any entry of it is seen.
func TestBombOfHeaders(t *testing.T) {
	header := makeTar(t, item{name: strings.Repeat("a", 300)})[:2*512] // the long name's header and content
	raw := pack(t, bytes.Repeat(header, (tarOverhead+(2<<20))/len(header)))
	f := newFetcher(t, Options{MaxBytes: 1 << 20})
	_, err := receive(t, f, "x.tgz", raw)
	wantError(t, err, TooLarge, "unpacked")
}

func TestZipWithAHugeDirectory(t *testing.T) {
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for i := range 200 {
		h := &zip.FileHeader{Name: fmt.Sprint(i), Comment: strings.Repeat("c", 60_000)}
		if _, err := w.CreateHeader(h); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	refused(t, "x.zip", buf.Bytes(), BadArchive, "directory is too large")
}

// refused checks that an upload fails and leaves nothing, inside the cache or beside it.
func refused(t *testing.T, name string, raw []byte, code, want string) {
	t.Helper()
	parent := t.TempDir()
	f := newFetcher(t, Options{CacheDir: filepath.Join(parent, "cache")})
	_, err := receive(t, f, name, raw)
	wantError(t, err, code, want)
	if left := leftovers(t, f); left != nil {
		t.Errorf("left over: %v", left)
	}
	if found, err := os.ReadDir(parent); err != nil || len(found) != 1 {
		t.Errorf("something was written beside the cache: %v %v", found, err)
	}
}

func TestReceive(t *testing.T) {
	data := someGGUF(1, 500_000)
	f := newFetcher(t, Options{MaxBytes: 600_000})
	var last int64
	a, err := f.Receive(t.Context(), bytes.NewReader(data), "../../x.gguf", digestOf(data), func(done, total int64) { last = done })
	if err != nil {
		t.Fatal(err)
	}
	wantFile(t, a, data)
	if last != int64(len(data)) {
		t.Errorf("the last progress is %d", last)
	}
	a.Release()
	_, err = f.Receive(t.Context(), bytes.NewReader(data), "x.gguf", digestOf(nil), nil)
	wantError(t, err, DigestMismatch, digestOf(data), digestOf(nil), `"x.gguf"`)
	_, err = receive(t, f, "x.gguf", someGGUF(1, 600_001))
	wantError(t, err, TooLarge, "600000")
	ctx, cancel := context.WithCancel(t.Context())
	_, err = f.Receive(ctx, bytes.NewReader(data), "x.gguf", "", func(int64, int64) { cancel() })
	wantError(t, err, Canceled)
	_, err = f.Receive(t.Context(), bytes.NewReader(data), "x.gguf", "nonsense", nil)
	wantError(t, err, BadSource)
	f.openFile = fullDisk
	_, err = receive(t, f, "x.gguf", data)
	wantError(t, err, DiskFull, "no space left")
	if left := leftovers(t, f); left != nil {
		t.Errorf("left over: %v", left)
	}
}
