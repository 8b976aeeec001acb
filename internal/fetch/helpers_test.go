package fetch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/fetch/archive"
	"github.com/loragate/loragate/internal/fetch/failure"
	"github.com/loragate/loragate/internal/store"
)

// someGGUF returns bytes that begin like a GGUF file.
func someGGUF(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, 0))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	copy(b, "GGUF")
	return b
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// newFetcher returns a fetcher that does not wait between attempts.
func newFetcher(t *testing.T, o Options) *Fetcher {
	t.Helper()
	if o.Store == nil {
		o.Store = newStore(t, t.TempDir())
	}
	if o.Convert == nil {
		o.Convert = convert
	}
	f, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	f.retry.sleep = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	return f
}

func newStore(t *testing.T, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// reopened are the options after a restart.
func reopened(t *testing.T, o Options) Options {
	t.Helper()
	o.Store = newStore(t, filepath.Dir(o.Store.Blobs.Dir()))
	return o
}

// convert puts both files of a PEFT adapter into one, which so tells what it was made of.
func convert(_ context.Context, dir, out string) error {
	config, err := os.ReadFile(filepath.Join(dir, archive.PEFTConfig))
	if err != nil {
		return err
	}
	weights, err := os.ReadFile(filepath.Join(dir, archive.PEFTWeights))
	if err != nil {
		return err
	}
	return os.WriteFile(out, slices.Concat([]byte("GGUF"), config, weights), 0o600)
}

// artifact is what Fetch and Receive return.
type artifact struct {
	Path    string
	Release func()
}

func got(path string, release func(), err error) (*artifact, error) {
	return &artifact{path, release}, err
}

func mustFetch(t *testing.T, f *Fetcher, ref, digest string) *artifact {
	t.Helper()
	a, err := got(f.Fetch(t.Context(), ref, digest, nil))
	if err != nil {
		t.Fatalf("Fetch(%s): %v", ref, err)
	}
	return a
}

// wantFile checks that an artifact is a GGUF file with these bytes.
func wantFile(t *testing.T, a *artifact, want []byte) {
	t.Helper()
	got, err := os.ReadFile(a.Path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("got %d bytes, want %d others", len(got), len(want))
	}
}

// wantPEFT checks that an artifact was made of a PEFT adapter with these weights.
func wantPEFT(t *testing.T, a *artifact, weights []byte) {
	t.Helper()
	got, err := os.ReadFile(a.Path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(got, []byte(`GGUF{"peft_type"`)) || !bytes.HasSuffix(got, weights) {
		t.Fatalf("not the PEFT adapter: %d bytes", len(got))
	}
}

// wantError checks an error's code, and that its message has all of parts.
func wantError(t *testing.T, err error, code failure.Code, parts ...string) *failure.Error {
	t.Helper()
	var e *failure.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want an Error with code %s", err, code)
	}
	if _, direct := err.(*failure.Error); !direct {
		t.Errorf("the error is a %T around an *failure.Error", err)
	}
	if e.Code != code {
		t.Errorf("got code %s (%s), want %s", e.Code, e.Message, code)
	}
	if code == failure.NotFound && !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is no fs.ErrNotExist", err)
	}
	for _, p := range parts {
		if !strings.Contains(e.Message, p) {
			t.Errorf("the message %q does not have %q", e.Message, p)
		}
	}
	return e
}

// leftovers lists what there is of downloads and of what is being put together.
func leftovers(t *testing.T, f *Fetcher) []string {
	t.Helper()
	root := filepath.Dir(f.store.Blobs.Dir())
	var out []string
	for _, pattern := range []string{"partial/*/*", "work/*"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, found...)
	}
	return out
}

// site serves one file and can be told to misbehave.
type site struct {
	*httptest.Server

	mu       sync.Mutex
	data     []byte
	etag     string
	requests []*http.Request
	// fault, if not nil, is asked first: n counts requests from 0. It returns
	// whether it answered.
	fault func(n int, w http.ResponseWriter, r *http.Request) bool
}

func newSite(t *testing.T, data []byte) *site {
	s := &site{data: data, etag: `"v1"`}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *site) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	n := len(s.requests)
	s.requests = append(s.requests, r)
	data, etag, fault := s.data, s.etag, s.fault
	s.mu.Unlock()
	if etag != "" {
		w.Header().Set("ETag", etag)
	}
	if fault != nil && fault(n, w, r) {
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

func (s *site) seen() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*http.Request(nil), s.requests...)
}

// set changes what is served.
func (s *site) set(data []byte, etag string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data, s.etag = data, etag
}

// cutAt sends a file's first n bytes, then breaks the connection.
func cutAt(w http.ResponseWriter, data []byte, n int) {
	w.Header().Set("Content-Length", fmt.Sprint(len(data)))
	_, _ = w.Write(data[:n])
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

func quiet() *log.Logger { return log.New(io.Discard, "", 0) }
