package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/adminapi"
	"github.com/loragate/loragate/internal/adminclient"
	"github.com/loragate/loragate/internal/llamatest"
)

// badSource serves adapters over https, each in a way that goes wrong. The
// gateways that start after it trust it.
func badSource(t *testing.T, content []byte) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/good.gguf", func(w http.ResponseWriter, _ *http.Request) { w.Write(content) })
	mux.HandleFunc("/broken.gguf", func(w http.ResponseWriter,
		_ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
	})
	mux.HandleFunc("/cut.gguf", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		w.Write(content[:1000])
		panic(http.ErrAbortHandler) // the connection ends here
	})
	server := httptest.NewUnstartedServer(mux)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", file)
	return server.URL
}

// climbing is an archive with an entry above the folder that it is unpacked into.
func climbing(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, name := range []string{"adapter_config.json", "../evil.gguf", "/evil.gguf"} {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: 4, Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte("evil")); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// bomb is an archive of a few kilobytes that unpacks to so many megabytes.
func bomb(t *testing.T, megabytes int) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	f, err := w.Create("adapter_model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	for range megabytes {
		if _, err := f.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestSourcesThatFail adds and replaces from sources that go wrong in every way:
// the gateway says what is wrong, goes on with what it had and writes nothing
// where it should not.
func TestSourcesThatFail(t *testing.T) {
	long(t)
	good := llamatest.VariantBytes(t, 1)
	url := badSource(t, good)
	root := t.TempDir()
	stateDir := filepath.Join(root, "state")
	g := serve(t, fakeConfig(t, 1, "")+fmt.Sprintf("state: {dir: %s}\nsources: {max_size: 4MiB}\n", stateDir))
	client := g.admins()
	path := filepath.Join(root, "mine.gguf")
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	want, err := client.Put(t.Context(), "mine", adminapi.PutRequest{Source: path}, true)
	if err != nil {
		t.Fatal(err)
	}

	from := func(source, digest string) func(name string) error {
		return func(name string) error {
			_, err := client.Put(t.Context(), name, adminapi.PutRequest{Source: source, Digest: digest}, true)
			return err
		}
	}
	sent := func(filename string, content []byte, digest string) func(name string) error {
		return func(name string) error {
			_, err := client.Upload(t.Context(), name, adminclient.Upload{
				Filename: filename, Body: bytes.NewReader(content), Size: int64(len(content)),
				Put: adminapi.PutRequest{Digest: digest},
			})
			return err
		}
	}
	other := strings.Repeat("0", 64)
	faults := map[string]struct {
		put    func(name string) error
		status int
		says   string
	}{
		"status-500":      {from(url+"/broken.gguf", ""), 502, "500"},
		"cut-connection":  {from(url+"/cut.gguf", ""), 502, "the connection broke"},
		"not-there":       {from(url+"/nothing.gguf", ""), 502, "404"},
		"other-digest":    {from(url+"/good.gguf", other), 422, "digest"},
		"vanished-file":   {from(filepath.Join(root, "gone.gguf"), ""), 502, "no such file"},
		"other-upload":    {sent("a.gguf", good, other), 422, "digest"},
		"bomb":            {sent("a.zip", bomb(t, 64), ""), 413, "larger than an adapter may be"},
		"climbing":        {sent("a.tar", climbing(t), ""), 422, "evil.gguf"},
		"too-large":       {sent("a.gguf", make([]byte, 5<<20), ""), 413, "4194304"},
		"not-an-archive":  {sent("a.zip", good, ""), 422, "a.zip"},
		"unknown-scheme":  {from("ftp://host/a.gguf", ""), 400, "ftp"},
		"relative-path":   {from("mine.gguf", ""), 400, "mine.gguf"},
		"plain-http":      {from("http://192.0.2.1/a.gguf", ""), 400, "https"},
		"folder-of-stuff": {from(root, ""), 400, "adapter_config.json"},
	}
	names := slices.Sorted(maps.Keys(faults))
	each(len(names), len(names), func(i int) { // at once: those that may be over soon are tried again for a while
		fault, c := names[i], faults[names[i]]
		old, err := client.Put(t.Context(), "old-"+fault, adminapi.PutRequest{Source: path}, true)
		if err != nil {
			t.Error(err)
			return
		}
		each(2, 2, func(i int) {
			name := []string{"old-", "new-"}[i] + fault
			err := c.put(name)
			var refusal *adminclient.Error
			if !errors.As(err, &refusal) || refusal.Status != c.status || !strings.Contains(refusal.Message, c.says) {
				t.Errorf("%s: %v (%+v), want %d with %q", name, err, refusal, c.status, c.says)
			}
			if err != nil && strings.Contains(err.Error(), stateDir) {
				t.Errorf("%s: the message tells where the state is: %v", name, err)
			}
		})
		if got, err := client.Adapter(t.Context(), "old-"+fault); err != nil || got.Digest != old.Digest ||
			got.State != "ready" {
			t.Errorf("after %s: %+v, %v", fault, got, err)
		}
		for name, want := range map[string]int{"old-" + fault: http.StatusOK, "new-" + fault: http.StatusNotFound} {
			resp, err := http.Post(g.url+chatPath, "application/json", strings.NewReader(chat(name, "Hi", "")))
			if err != nil {
				t.Error(err)
				continue
			}
			resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("after %s: %s is answered with %d, want %d", fault, name, resp.StatusCode, want)
			}
		}
	})
	checkNothingOutside(t, root)
	if a, err := client.Put(t.Context(), "mine", adminapi.PutRequest{Source: url + "/good.gguf"}, true); err != nil ||
		a.Digest != want.Digest {
		t.Errorf("from a good source: %+v, %v", a, err)
	}
}

// checkNothingOutside looks for files beside the state and what the test made.
func checkNothingOutside(t *testing.T, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(root, path)
		if strings.Contains(rel, "evil") || !strings.HasPrefix(rel, "state") && rel != "mine.gguf" && rel != "." {
			t.Errorf("%s was written", rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
