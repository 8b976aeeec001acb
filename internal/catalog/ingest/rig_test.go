package ingest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/loragate/loragate/internal/catalog"
	"github.com/loragate/loragate/internal/lora"
	"github.com/loragate/loragate/internal/state"
)

// TestMain lets the test binary be a gateway that is killed: see TestKilled.
func TestMain(m *testing.M) {
	if dir := os.Getenv(victimVariable); dir != "" {
		beVictim(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// rig is a catalog over files whose content is what they are: "bad ..." is
// refused, all else is an adapter.
type rig struct {
	*catalog.Catalog
	*Ingest
	t    *testing.T
	root string
	base catalog.Options
	opts Options // without the catalog

	log *journal

	mu     sync.Mutex
	loaded map[string]bool // by path
	uses   map[string]bool
	failed map[string]bool // sources that cannot be read now
	asked  map[string]int  // how often sources were to be read
	// warnings are those of whatever is checked.
	warnings []string
	block    chan struct{} // what is fetched waits for it, if it is not nil
	news     chan struct{} // closed at the next change of the catalog; see changed

	// fetch is what Fetch does; nil is take.
	fetch func(ctx context.Context, source, digest string, progress func(done, total int64)) (string, func(), error)
}

// newRig opens a catalog with entries of the configuration.
func newRig(t *testing.T, entries ...lora.Spec) *rig {
	t.Helper()
	r := closedRig(t, entries...)
	r.open()
	return r
}

// closedRig is a rig that has not been opened.
func closedRig(t *testing.T, entries ...lora.Spec) *rig {
	t.Helper()
	r := &rig{t: t, root: t.TempDir(), log: &journal{grown: make(chan struct{})}, loaded: map[string]bool{},
		uses: map[string]bool{}, failed: map[string]bool{}, asked: map[string]int{}}
	dir := filepath.Join(r.root, "adapters")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(r.log, nil))
	r.base = catalog.Options{
		BaseName: "base", BasePath: r.file("base.bin", "base"), Adhoc: true, Changed: r.tell, Log: log,
		IsLoaded: func(path string) bool { return r.is(r.loaded, path) },
	}
	r.opts = Options{
		Dir: dir, Settle: 10 * time.Millisecond, Rescan: 20 * time.Millisecond, Entries: entries, Sources: r,
		InUse: func(path string) bool { return r.is(r.uses, path) }, Log: log,
	}
	return r
}

// journal is a log that can be waited for.
type journal struct {
	mu    sync.Mutex
	text  bytes.Buffer
	grown chan struct{} // closed at the next line
}

func (j *journal) Write(line []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	close(j.grown)
	j.grown = make(chan struct{})
	return j.text.Write(line)
}

func (j *journal) read() (text string, grown chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String(), j.grown
}

// untilLogged blocks until the log has the words.
func (r *rig) untilLogged(words string) {
	r.t.Helper()
	limit := time.After(30 * time.Second)
	for {
		text, grown := r.log.read()
		if strings.Contains(text, words) {
			return
		}
		select {
		case <-grown:
		case <-limit:
			r.t.Fatalf("%q is not in the log:\n%s", words, text)
		}
	}
}

func (r *rig) is(set map[string]bool, path string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return set[path]
}

func (r *rig) set(set map[string]bool, path string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	set[path] = true
}

func (r *rig) unset(set map[string]bool, path string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(set, path)
}

// hold lets what is fetched wait until release is called.
func (r *rig) hold() (release func()) {
	block := make(chan struct{})
	r.mu.Lock()
	r.block = block
	r.mu.Unlock()
	return func() {
		r.mu.Lock()
		r.block = nil
		r.mu.Unlock()
		close(block)
	}
}

// try opens the catalog over what is on the disk.
func (r *rig) try() error { return r.tryIn(r.t.Context()) }

func (r *rig) tryIn(ctx context.Context) error {
	db, err := state.Open(filepath.Join(r.root, "state"))
	if err != nil {
		r.t.Fatal(err)
	}
	r.base.Store = db
	if err := r.begin(ctx); err != nil {
		db.Close()
		return err
	}
	r.t.Cleanup(func() { r.Close(); db.Close() })
	return nil
}

// begin opens the catalog and what is brought into it.
func (r *rig) begin(ctx context.Context) (err error) {
	if r.Catalog, err = catalog.New(r.base); err != nil {
		return err
	}
	r.opts.Catalog, r.opts.BasePath, r.opts.Blobs = r.Catalog, r.base.BasePath, r.base.Store.Blobs()
	r.Ingest, err = Open(ctx, r.opts)
	return err
}

// Configure replaces the configuration's list.
func (r *rig) Configure(list []lora.Spec) error { return r.Catalog.Configure(list, nil) }

// Close, of the two that have it, is Ingest's.
func (r *rig) Close() { r.Ingest.Close() }

// tell is told of changes of the catalog.
func (r *rig) tell() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.news != nil {
		close(r.news)
		r.news = nil
	}
}

// changed returns what is closed at the next change.
func (r *rig) changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.news == nil {
		r.news = make(chan struct{})
	}
	return r.news
}

func (r *rig) open() {
	r.t.Helper()
	if err := r.try(); err != nil {
		r.t.Fatal(err)
	}
}

// reopen closes the catalog as a restart of the gateway does, and opens it.
func (r *rig) reopen() {
	r.t.Helper()
	r.end()
	r.open()
}

// end closes the catalog and what it is stored in.
func (r *rig) end() {
	r.t.Helper()
	r.Close()
	if err := r.base.Store.Close(); err != nil {
		r.t.Fatal(err)
	}
	r.mu.Lock()
	clear(r.loaded)
	r.mu.Unlock()
}

// file writes a file beside the watched folder and returns its path.
func (r *rig) file(name, content string) string {
	r.t.Helper()
	path := filepath.Join(r.root, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return path
}

// drop moves a file into the watched folder.
func (r *rig) drop(name, content string) {
	r.t.Helper()
	if err := os.Rename(r.file("moving", content), filepath.Join(r.opts.Dir, name)); err != nil {
		r.t.Fatal(err)
	}
}

// Fetch implements Sources.
func (r *rig) Fetch(ctx context.Context, source, digest string, progress func(done, total int64)) (string,
	func(), error) {
	if r.fetch != nil {
		return r.fetch(ctx, source, digest, progress)
	}
	return r.take(ctx, source, digest, progress)
}

// take takes "far://NAME" for the file NAME beside the watched folder, which is
// slow, and a folder for the weights in it.
func (r *rig) take(ctx context.Context, source, _ string, progress func(done, total int64)) (string, func(), error) {
	r.mu.Lock()
	block, failed := r.block, r.failed[source]
	r.asked[source]++
	r.mu.Unlock()
	if block != nil {
		progress(1, 2)
		select {
		case <-block:
		case <-ctx.Done():
			return "", nil, context.Cause(ctx)
		}
	}
	if failed {
		return "", nil, errors.New("it cannot be read now")
	}
	if name, ok := strings.CutPrefix(source, "far://"); ok {
		source = filepath.Join(r.root, name)
	}
	info, err := os.Stat(source)
	if err != nil {
		return "", nil, err
	}
	if info.IsDir() {
		source = filepath.Join(source, "adapter_model.safetensors")
	}
	return source, func() {}, nil
}

// Receive implements Sources.
func (r *rig) Receive(ctx context.Context, body io.Reader, _, _ string, _ func(done, total int64)) (string,
	func(), error) {
	f, err := os.CreateTemp(r.root, "upload-")
	if err != nil {
		return "", nil, err
	}
	_, err = io.Copy(f, body)
	remove := func() { os.Remove(f.Name()) }
	if err = errors.Join(err, f.Close(), context.Cause(ctx)); err != nil {
		remove()
		return "", nil, err
	}
	return f.Name(), remove, nil
}

// Check implements Sources.
func (r *rig) Check(_ context.Context, path string) (lora.Version, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return lora.Version{}, err
	}
	if strings.HasPrefix(string(content), "bad") {
		return lora.Version{}, lora.Errorf(lora.Refused, "it says %q", content)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return lora.Version{Architecture: "llama", Rank: 8, Alpha: 16, Warnings: r.warnings}, nil
}

func digest(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}

// put adds an adapter from a file of that content and waits for it.
func (r *rig) put(name, content string) lora.Record {
	r.t.Helper()
	rec, err := r.Put(r.t.Context(), lora.Spec{Name: name,
		Source: r.file(strings.ReplaceAll(name, "/", "_")+".src", content)}, true)
	if err != nil {
		r.t.Fatalf("%s: %v", name, err)
	}
	return rec
}

// until blocks until done, looking whenever something has changed.
func (r *rig) until(what string, done func() bool) {
	r.t.Helper()
	limit := time.After(30 * time.Second)
	for {
		changed := r.changed()
		if done() {
			return
		}
		select {
		case <-changed:
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

// is checks what answers.
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
