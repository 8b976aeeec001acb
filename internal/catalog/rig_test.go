package catalog

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/loragate/loragate/internal/catalog/records"
	"github.com/loragate/loragate/internal/lora"
	"github.com/loragate/loragate/internal/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a catalog whose pending versions are there at once: the bytes of their sources,
// which are files, but for such that begin with "bad".
type rig struct {
	*Catalog
	t       *testing.T
	root    string
	opts    Options
	entries []lora.Spec // of the configuration

	mu     sync.Mutex
	loaded map[string]bool // by path
}

// newRig opens a catalog with entries of the configuration.
func newRig(t *testing.T, entries ...lora.Spec) *rig {
	t.Helper()
	r := &rig{t: t, root: t.TempDir(), entries: entries, loaded: map[string]bool{}}
	r.opts = Options{BaseName: "base", BasePath: r.file("base.bin", "base"), Adhoc: true, IsLoaded: r.isLoaded}
	r.open()
	return r
}

func (r *rig) open() {
	r.t.Helper()
	db, err := state.Open(filepath.Join(r.root, "state"))
	if err != nil {
		r.t.Fatal(err)
	}
	r.opts.Store = db
	if r.Catalog, err = New(r.opts); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { r.Close(); db.Close() })
	if err := r.Configure(r.entries); err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.Restore(); err != nil {
		r.t.Fatal(err)
	}
	r.Opened()
}

// end closes the catalog and what it is stored in.
func (r *rig) end() {
	r.t.Helper()
	r.Close()
	if err := r.opts.Store.Close(); err != nil {
		r.t.Fatal(err)
	}
	clear(r.loaded)
}

// reopen closes the catalog as a restart of the gateway does, and opens it.
func (r *rig) reopen() {
	r.t.Helper()
	r.end()
	r.open()
}

// file writes a file and returns its path.
func (r *rig) file(name, content string) string {
	r.t.Helper()
	path := filepath.Join(r.root, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return path
}

// Configure replaces the configuration's list.
func (r *rig) Configure(list []lora.Spec) error {
	err := r.Catalog.Configure(list, nil)
	for _, p := range r.Due() {
		_, _ = r.finish(p)
	}
	return err
}

// Put adds a composition, or an adapter. It returns when that answers if it is to wait, else
// when its version is there.
func (r *rig) Put(ctx context.Context, spec lora.Spec, wait bool) (lora.Record, error) {
	if err := spec.Validate(); err != nil {
		return lora.Record{}, err
	}
	if len(spec.Shares) > 0 {
		return r.Compose(spec)
	}
	rec, p, err := r.Begin(spec)
	if err != nil {
		return rec, err
	}
	digest, err := r.finish(p)
	if err != nil || !wait {
		return rec, err
	}
	return r.Answers(ctx, spec.Name, digest)
}

// finish brings a pending version.
func (r *rig) finish(p *records.Pending) (string, error) {
	got := Outcome{Print: func(*lora.Version) string { return "" }}
	content, err := os.ReadFile(p.Source)
	if err == nil && strings.HasPrefix(string(content), "bad") {
		err = lora.Errorf(lora.Refused, "it says %q", content)
	}
	var v lora.Version
	if err == nil {
		v.Digest, v.Bytes, err = r.opts.Store.Blobs().Put(context.Background(), p.Source)
	}
	v.Path, v.Created = r.opts.Store.Blobs().Path(v.Digest), time.Now().UTC()
	if got.Err = err; err == nil {
		got.Version = &v
	}
	return v.Digest, r.Finish(p, got)
}

// put adds an adapter from a file of that content.
func (r *rig) put(name, content string) lora.Record {
	r.t.Helper()
	source := r.file(strings.ReplaceAll(name, "/", "_")+".src", content)
	rec, err := r.Put(r.t.Context(), lora.Spec{Name: name, Source: source}, true)
	if err != nil {
		r.t.Fatalf("%s: %v", name, err)
	}
	return rec
}

func digest(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}

// path returns where a content's bytes are stored.
func (r *rig) path(content string) string { return r.opts.Store.Blobs().Path(digest(content)) }

// load says that a worker has loaded the content.
func (r *rig) load(content string) {
	r.mu.Lock()
	r.loaded[r.path(content)] = true
	r.mu.Unlock()
	r.Loaded(r.path(content))
}

func (r *rig) isLoaded(path string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.loaded[path]
}

func (r *rig) versions(name string) (list []string) {
	rec, _ := r.Get(name)
	for _, v := range rec.Versions {
		list = append(list, fmt.Sprint(v.Number))
	}
	return list
}

// until blocks until done, looking whenever something is published.
func (r *rig) until(what string, done func() bool) {
	r.t.Helper()
	limit := time.After(30 * time.Second)
	for {
		r.Catalog.mu.Lock()
		published := r.published
		r.Catalog.mu.Unlock()
		if done() {
			return
		}
		select {
		case <-published:
		case <-limit:
			r.t.Fatalf("%s: the records are still %+v", what, r.List())
		}
	}
}

// answers returns the digest that a name's requests are answered by, or why they
// are not.
func (r *rig) answers(name string) string {
	m, err := r.Resolve(name)
	if err != nil {
		return err.Error()
	}
	return m.Digest()
}

// want checks what answers.
func (r *rig) want(name, content string) {
	r.t.Helper()
	if got := r.answers(name); got != digest(content) {
		r.t.Errorf("%s is answered by %s, want the bytes %q", name, got, content)
	}
}

// unknown checks that nobody has the name.
func (r *rig) unknown(names ...string) {
	r.t.Helper()
	for _, name := range names {
		if _, err := r.Resolve(name); refusal(err) != lora.NotFound {
			r.t.Errorf("%s: %v, want it unknown", name, err)
		}
	}
}

// refusal returns an error's code, "" for none.
func refusal(err error) lora.Code {
	var e *lora.Error
	if errors.As(err, &e) {
		return e.Code
	}
	if err != nil {
		return lora.Code(err.Error())
	}
	return ""
}
