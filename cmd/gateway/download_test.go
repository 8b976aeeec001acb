package main

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/llamatest"
)

// TestDownloadsAreKeptOnce has a GGUF and an archive to be converted downloaded by two
// gateways, one after the other: their bytes are on the disk once, and the second gateway only
// asks whether they have changed.
func TestDownloadsAreKeptOnce(t *testing.T) {
	t.Parallel()
	var packed bytes.Buffer
	w := zip.NewWriter(&packed)
	trained := os.DirFS(filepath.Join(llamatest.Root(), "examples", "finetune", "peft", "legal"))
	if err := w.AddFS(trained); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"/far.gguf": llamatest.VariantBytes(t, 1), "/packed.zip": packed.Bytes()}
	type request struct{ path, version string }
	asked := make(chan request, 10)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- request{r.URL.Path, r.Header.Get("If-None-Match")}
		w.Header().Set("ETag", `"v1"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(files[r.URL.Path]))
	}))
	t.Cleanup(web.Close)
	state := filepath.Join(t.TempDir(), "state")
	config := fakeConfig(t, 1, "") + fmt.Sprintf("state: {dir: %s}\n", state)
	lines := strings.SplitAfter(config, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "adapters: ") {
			lines[i] = "adapters: {list: [{name: far, source: " + web.URL + "/far.gguf}, " +
				"{name: packed, source: " + web.URL + "/packed.zip}]}\n"
		}
	}
	for _, want := range []string{"", `"v1"`} {
		g := serve(t, strings.Join(lines, ""))
		for range files {
			select {
			case r := <-asked:
				if r.version != want {
					t.Errorf("%s is asked for with If-None-Match %q, want %q", r.path, r.version, want)
				}
			case <-time.After(time.Minute):
				t.Fatal("the sources are not asked")
			}
		}
		for _, name := range []string{"far", "packed"} {
			if a, err := g.admins().Adapter(t.Context(), name); err != nil || a.Digest == "" {
				t.Errorf("%s: %+v, %v", name, a, err)
			}
		}
		if err := g.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if code := g.end(); code != 0 {
			t.Errorf("exit code %d", code)
		}
	}
	blobs := 0
	err := filepath.WalkDir(state, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		switch rel, _ := filepath.Rel(state, path); {
		case strings.HasPrefix(rel, "blobs"+string(filepath.Separator)):
			blobs++
		case strings.HasPrefix(rel, "partial"), strings.HasPrefix(rel, "work"):
			t.Errorf("%s is left", rel)
		}
		return nil
	})
	if err != nil || blobs != len(files) {
		t.Errorf("%d files have adapters' bytes, want %d; %v", blobs, len(files), err)
	}
}
