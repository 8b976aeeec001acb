package fetch

import (
	"archive/zip"
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/loragate/loragate/internal/fetch/failure"
)

// makeZip returns an archive of the files.
func makeZip(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for name, data := range files {
		f, err := w.Create(name)
		if err == nil {
			_, err = f.Write(data)
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

// TestReceiveArchives makes one blob of each, and leaves nothing else, whatever is in them.
func TestReceiveArchives(t *testing.T) {
	data := someGGUF(1, 50_000)
	parent := t.TempDir()
	f := newFetcher(t, Options{Store: newStore(t, parent), MaxBytes: 100_000})
	receive := func(files map[string][]byte) (*artifact, error) {
		return got(f.Receive(t.Context(), bytes.NewReader(makeZip(t, files)), "x.zip", "", nil))
	}
	a, err := receive(map[string][]byte{"x.gguf": data})
	if err != nil {
		t.Fatal(err)
	}
	wantFile(t, a, data)
	if a.Path != f.store.Blobs.Path(digestOf(data)) {
		t.Errorf("it is at %s", a.Path)
	}
	b, err := receive(peftFiles("top", data))
	if err != nil {
		t.Fatal(err)
	}
	wantPEFT(t, b, data)
	for name, want := range map[string]failure.Code{"../evil.gguf": failure.BadArchive, "x.txt": failure.BadArchive} {
		_, err = receive(map[string][]byte{name: data})
		wantError(t, err, want)
	}
	_, err = receive(map[string][]byte{"x.gguf": make([]byte, 100_001)})
	wantError(t, err, failure.TooLarge, "unpacked")
	if left := leftovers(t, f); left != nil {
		t.Errorf("left over: %v", left)
	}
	if list, err := f.store.Blobs.List(); err != nil || len(list) != 2 {
		t.Errorf("the store has %v, %v", list, err)
	}
	if found, _ := filepath.Glob(filepath.Join(parent, "*evil*")); found != nil {
		t.Errorf("something was written beside: %v", found)
	}
}

// TestFailedConversions keeps the error of the conversion, and nothing else.
func TestFailedConversions(t *testing.T) {
	s := newSite(t, makeZip(t, peftFiles("", someGGUF(1, 5000))))
	f := newFetcher(t, Options{Convert: func(context.Context, string, string) error { return os.ErrInvalid }})
	for range 2 {
		if _, _, err := f.Fetch(t.Context(), s.URL+"/x.zip", "", nil); err != os.ErrInvalid {
			t.Errorf("%v", err)
		}
	}
	if left := leftovers(t, f); left != nil {
		t.Errorf("left over: %v", left)
	}
}

func TestReceive(t *testing.T) {
	data := someGGUF(1, 500_000)
	f := newFetcher(t, Options{MaxBytes: 600_000})
	var last int64
	a, err := got(f.Receive(t.Context(), bytes.NewReader(data), "../../x.gguf", digestOf(data),
		func(done, total int64) { last = done }))
	if err != nil {
		t.Fatal(err)
	}
	wantFile(t, a, data)
	if last != int64(len(data)) {
		t.Errorf("the last progress is %d", last)
	}
	a.Release()
	_, _, err = f.Receive(t.Context(), bytes.NewReader(data), "x.gguf", digestOf(nil), nil)
	wantError(t, err, failure.DigestMismatch, digestOf(data), digestOf(nil), `"x.gguf"`)
	_, _, err = f.Receive(t.Context(), bytes.NewReader(someGGUF(1, 600_001)), "x.gguf", "", nil)
	wantError(t, err, failure.TooLarge, "600000")
	ctx, cancel := context.WithCancel(t.Context())
	_, _, err = f.Receive(ctx, bytes.NewReader(data), "x.gguf", "", func(int64, int64) { cancel() })
	wantError(t, err, failure.Canceled)
	_, _, err = f.Receive(t.Context(), bytes.NewReader(data), "x.gguf", "nonsense", nil)
	wantError(t, err, failure.BadSource)
	if left := leftovers(t, f); left != nil {
		t.Errorf("left over: %v", left)
	}
}
