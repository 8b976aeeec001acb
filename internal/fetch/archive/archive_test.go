package archive

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/fetch/failure"
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
		h := &tar.Header{
			Name: it.name, Size: int64(len(it.data)), Mode: 0o644, Typeflag: tar.TypeReg, Linkname: it.link,
		}
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

// unpack writes an archive to dir and unpacks it beside that. It returns what was found.
func unpack(t *testing.T, dir, name string, raw []byte, limit int64) (found string, peft bool, err error) {
	t.Helper()
	path, into := filepath.Join(dir, "file"), filepath.Join(dir, "into")
	if err := errors.Join(os.WriteFile(path, raw, 0o600), os.Mkdir(into, 0o700)); err != nil {
		t.Fatal(err)
	}
	is, err := Settle("the upload", name, path)
	if err == nil {
		err = Unpack(t.Context(), "the upload", path, is, into, limit)
	}
	if err != nil {
		return "", false, err
	}
	found, peft, err = Pick("the upload", into)
	return filepath.Join(into, found), peft, err
}

// wantError checks an error's code, and that its message has a text.
func wantError(t *testing.T, err error, code failure.Code, text string) {
	t.Helper()
	e, ok := err.(*failure.Error)
	if !ok || e.Code != code || !strings.Contains(e.Message, text) {
		t.Errorf("got %v, want the code %s and the text %q", err, code, text)
	}
}

// someGGUF returns bytes that begin like a GGUF file and cannot be packed.
func someGGUF(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b)
	copy(b, "GGUF")
	return b
}

const limit = 4 << 20

func TestArchives(t *testing.T) {
	data := someGGUF(50_000)
	peft := []item{{name: "top/" + PEFTConfig}, {name: "top/" + PEFTWeights, data: data}, {name: "top/README.md"}}
	single := []item{
		{name: "./", mode: os.ModeDir}, {name: "x.GGUF", data: data}, {name: "Read.me"}, {name: "read.me"},
		{name: "__MACOSX/._x.gguf"}, {name: "._x.gguf"},
	}
	for name, make := range map[string]func(...item) []byte{
		"a.zip": func(i ...item) []byte { return makeZip(t, i...) },
		"a.tar": func(i ...item) []byte { return makeTar(t, i...) },
		"A.TGZ": func(i ...item) []byte { return pack(t, makeTar(t, i...)) },
		"noext": func(i ...item) []byte { return pack(t, makeTar(t, i...)) },
	} {
		found, isPEFT, err := unpack(t, t.TempDir(), name, make(single...), limit)
		if got, _ := os.ReadFile(found); err != nil || isPEFT || !bytes.Equal(got, data) {
			t.Errorf("%s: %s, PEFT %t, %v", name, found, isPEFT, err)
		}
		found, isPEFT, err = unpack(t, t.TempDir(), name, make(peft...), limit)
		got, _ := os.ReadFile(filepath.Join(found, PEFTWeights))
		if err != nil || !isPEFT || !bytes.Equal(got, data) {
			t.Errorf("%s: %s, PEFT %t, %v", name, found, isPEFT, err)
		}
	}
}

// TestNamesOfWindows have backslashes between their parts; other oddities are let be.
func TestNamesOfWindows(t *testing.T) {
	data := someGGUF(5000)
	for name, items := range map[string][]item{
		"backslashes": {{name: `top\`, data: nil}, {name: `top\` + PEFTConfig}, {name: `top\` + PEFTWeights, data: data},
			{name: `top\runs\events.1`}},
		"no folders": {{name: `top\` + PEFTConfig}, {name: `top\` + PEFTWeights, data: data}},
		"both": {{name: "top/", mode: os.ModeDir}, {name: "top/" + PEFTConfig},
			{name: `top\` + PEFTWeights, data: data}},
		"of a Mac": {{name: "top/" + PEFTConfig}, {name: "top/" + PEFTWeights, data: data},
			{name: "__MACOSX/", mode: os.ModeDir}, {name: "__MACOSX/top/._" + PEFTConfig}},
		"letters": {{name: "Überführung ☃/" + PEFTConfig}, {name: "Überführung ☃/" + PEFTWeights, data: data}},
	} {
		found, isPEFT, err := unpack(t, t.TempDir(), "x.zip", makeZip(t, items...), limit)
		got, _ := os.ReadFile(filepath.Join(found, PEFTWeights))
		if err != nil || !isPEFT || !bytes.Equal(got, data) {
			t.Errorf("%s: %s, PEFT %t, %v", name, found, isPEFT, err)
		}
	}
}

// TestChecksums: a gzip has its checksum behind the tar's last entry.
func TestChecksums(t *testing.T) {
	t.Parallel()
	text := makeTar(t, item{name: "a.gguf", data: []byte("GGUF and so on")})
	whole := pack(t, text)
	altered := bytes.Clone(whole)
	altered[len(altered)-8] ^= 1
	for name, c := range map[string]struct {
		raw []byte
		ok  bool
	}{
		"whole":                {whole, true},
		"with something after": {append(bytes.Clone(whole), "appended"...), true},
		"in two members":       {append(pack(t, text[:600]), pack(t, text[600:])...), true},
		"another checksum":     {altered, false},
		"without its length":   {whole[:len(whole)-4], false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := unpack(t, t.TempDir(), "a.tar.gz", c.raw, 1<<20)
			if c.ok != (err == nil) || err != nil && !strings.Contains(err.Error(), "the archive is broken") {
				t.Error(err)
			}
		})
	}
}

func TestDangerousArchives(t *testing.T) {
	data := someGGUF(500)
	good := item{name: "x.gguf", data: data}
	names := map[string]string{
		"../evil.gguf": "leads out", "a/../../evil.gguf": "leads out", "a/../evil.gguf": "leads out",
		"/tmp/evil.gguf": "leads out", "..\\evil.gguf": "leads out", "..": "leads out",
		`a\..\..\evil.gguf`: "leads out", `\tmp\evil.gguf`: "leads out", `C:\evil.gguf`: "leads out",
		"C:/evil.gguf":           "leads out",
		`\\host\share\evil.gguf`: "leads out",
	}
	for name, want := range names {
		for kind, raw := range map[string][]byte{
			"x.zip": makeZip(t, good, item{name: name, data: data}),
			"x.tar": makeTar(t, good, item{name: name, data: data}),
		} {
			refused(t, kind, raw, failure.BadArchive, want)
		}
	}
	links := []item{
		{name: "l", mode: os.ModeSymlink, link: "/etc/passwd"}, {name: "l", mode: os.ModeSymlink, link: "x.gguf"},
		{name: "l", link: "x.gguf"}, {name: "d", mode: os.ModeDevice | os.ModeCharDevice},
		{name: "p", mode: os.ModeNamedPipe},
	}
	for _, l := range links {
		refused(t, "x.tar", makeTar(t, good, l), failure.BadArchive, "neither a file nor a folder")
	}
	packed := makeZip(t, item{name: "l", mode: os.ModeSymlink, data: []byte("/etc/passwd")}, good)
	refused(t, "x.zip", packed, failure.BadArchive, "neither a file nor a folder")
}

func TestBadArchives(t *testing.T) {
	data := someGGUF(5000)
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
		{"GGUF and PEFT", []item{good, {name: PEFTConfig}}, "more than one adapter"},
		{"two folders", []item{{name: "a/x.gguf", data: data}, {name: "b/x.gguf", data: data}}, "holds no adapter"},
		{"too deep", []item{{name: "a/b/x.gguf", data: data}}, "holds no adapter"},
		{"nothing", nil, "holds no adapter"},
	} {
		t.Run(c.name, func(t *testing.T) {
			refused(t, "x.zip", makeZip(t, c.items...), failure.BadArchive, c.want)
			if c.items != nil { // a tar of nothing has no mark to be known by
				refused(t, "x.tgz", pack(t, makeTar(t, c.items...)), failure.BadArchive, c.want)
			}
		})
	}
	refused(t, "x.zip", whole[:len(whole)-30], failure.BadArchive, "broken")
	refused(t, "x.tgz", pack(t, makeTar(t, good))[:200], failure.BadArchive, "broken")
	flipped := bytes.Clone(whole)
	flipped[len(whole)/2] ^= 1
	refused(t, "x.zip", flipped, failure.BadArchive, "broken")
	refused(t, "x.zip", makeTar(t, good), failure.BadContent, "is a tar archive")
	refused(t, "x.gguf", whole, failure.BadContent, "is a zip archive")
	refused(t, "x.safetensors", []byte("12345678{}"), failure.BadContent, "neither a GGUF file nor")
}

// Few bytes that unpack to more than MaxBytes.
func TestBombs(t *testing.T) {
	zeros := make([]byte, 3<<20)
	bomb := []item{{name: "x.gguf", data: zeros}, {name: "y", data: zeros}}
	for name, raw := range map[string][]byte{"x.zip": makeZip(t, bomb...), "x.tgz": pack(t, makeTar(t, bomb...))} {
		_, _, err := unpack(t, t.TempDir(), name, raw, limit)
		wantError(t, err, failure.TooLarge, "unpacked")
	}
}

// A tar's long names are read before any entry of it is seen.
func TestBombOfHeaders(t *testing.T) {
	header := makeTar(t, item{name: strings.Repeat("a", 300)})[:2*512] // the long name's header and content
	raw := pack(t, bytes.Repeat(header, (tarOverhead+(2<<20))/len(header)))
	_, _, err := unpack(t, t.TempDir(), "x.tgz", raw, 1<<20)
	wantError(t, err, failure.TooLarge, "unpacked")
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
	refused(t, "x.zip", buf.Bytes(), failure.BadArchive, "directory is too large")
}

// refused checks that an archive is refused, and that nothing is written beside its folder.
func refused(t *testing.T, name string, raw []byte, code failure.Code, want string) {
	t.Helper()
	parent := t.TempDir()
	_, _, err := unpack(t, parent, name, raw, limit)
	wantError(t, err, code, want)
	if found, err := os.ReadDir(parent); err != nil || len(found) != 2 {
		t.Errorf("something was written beside the folder: %v %v", found, err)
	}
}
