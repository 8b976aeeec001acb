package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/adminapi"
	"github.com/loragate/loragate/internal/adminclient"
	"github.com/loragate/loragate/internal/cli"
	"github.com/loragate/loragate/internal/convert"
	"github.com/loragate/loragate/internal/llamatest"
)

// admins returns a client of the gateway's admin API.
func (g *gatewayProcess) admins() *adminclient.Client {
	g.t.Helper()
	c, err := adminclient.New(g.adminURL(), cli.FindToken(g.t.Context(), g.adminURL()))
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(c.Close)
	return c
}

// unknown is the digest of a model that is not there: a 404.
const unknown = ""

// history knows which bytes may answer for each model, and when.
type history struct {
	mu    sync.Mutex
	names []string
	spans map[string][]*span // by name
}

// span is a time in which a digest may answer.
type span struct {
	digest      string
	from, until time.Time // until is zero as long as it may
}

func newHistory() *history { return &history{spans: map[string][]*span{}} }

// may says that from now on the model's requests may be answered by the digest.
func (h *history) may(name, digest string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.spans[name]) == 0 {
		h.names = append(h.names, name)
	}
	h.spans[name] = append(h.spans[name], &span{digest: digest, from: time.Now()})
}

// must says that requests which begin from now on may be answered by nothing but
// the digest that was named last.
func (h *history) must(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	spans := h.spans[name]
	for _, s := range spans[:len(spans)-1] {
		if s.until.IsZero() {
			s.until = time.Now()
		}
	}
}

// fits reports whether the digest may have answered a request of that time.
func (h *history) fits(name, digest string, began, ended time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.ContainsFunc(h.spans[name], func(s *span) bool {
		return s.digest == digest && !s.from.After(ended) && (s.until.IsZero() || !s.until.Before(began))
	})
}

// pick returns a model by chance.
func (h *history) pick(rng *rand.Rand) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.names[rng.IntN(len(h.names))]
}

// served is one answer.
type served struct {
	trial
	digest string // of the bytes that answered, as the gateway says; unknown for a 404
	text   string
}

// answer runs a trial and returns the answer, as far as that can be judged
// without a reference.
func (g *gatewayProcess) answer(tr trial, h *history) (served, error) {
	began := time.Now()
	resp, err := http.Post(g.url+tr.path(), "application/json", strings.NewReader(tr.body()))
	if err != nil {
		return served{}, err
	}
	defer resp.Body.Close()
	s := served{trial: tr, digest: resp.Header.Get("X-Adapter-Digest")}
	switch resp.StatusCode {
	case http.StatusOK:
		s.text, err = tr.read(resp.Body)
	case http.StatusNotFound:
		s.digest = unknown
	default:
		text, _ := io.ReadAll(resp.Body)
		err = fmt.Errorf("status %d: %s", resp.StatusCode, text)
	}
	if err != nil {
		return s, err
	}
	if !h.fits(tr.model, s.digest, began, time.Now()) {
		return s, fmt.Errorf("status %d by %.12q, which was not in force", resp.StatusCode, s.digest)
	}
	return s, nil
}

// load keeps asking for all models of the history from several clients until it
// is halted.
type load struct {
	g       *gatewayProcess
	h       *history
	stop    atomic.Bool
	clients sync.WaitGroup

	mu      sync.Mutex
	answers []served
	wrong   []string
}

// start lets the clients begin.
func (l *load) start(clients int) {
	for id := range clients {
		rng := rand.New(rand.NewPCG(7, uint64(id)))
		l.clients.Go(func() {
			for !l.stop.Load() {
				l.one(trial{
					model: l.h.pick(rng), prompt: sharedQuestions[rng.IntN(3)],
					chat: rng.IntN(2) == 0, stream: rng.IntN(2) == 0,
				})
			}
		})
	}
}

func (l *load) one(tr trial) {
	s, err := l.g.answer(tr, l.h)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.wrong = append(l.wrong, fmt.Sprintf("%+v: %v", tr, err))
		return
	}
	l.answers = append(l.answers, s)
}

// halt ends the load and compares every answer with what a fresh server with
// nothing but the bytes that answered says. files are the bytes, by digest.
func (l *load) halt(t *testing.T, files map[string]string) {
	t.Helper()
	l.stop.Store(true)
	l.clients.Wait()
	ref, c := llamatest.NewReference(t), tally{wrong: l.wrong}
	byDigest, missed := map[string]int{}, 0
	for _, s := range l.answers {
		if s.digest == unknown {
			missed++
			continue
		}
		byDigest[s.digest]++
		file, known := files[s.digest]
		if !known {
			t.Fatalf("nobody made the bytes %s that answered for %s", s.digest, s.model)
		}
		s.file = file
		c.count(s.trial, s.want(ref), s.text, nil)
	}
	t.Logf("%d answers: %d equal, %d with rounding, %d wrong, by %d different files; %d for models that are not there",
		len(l.answers), c.equal, c.roundoff, len(c.wrong), len(byDigest), missed)
	for _, w := range c.wrong[:min(5, len(c.wrong))] {
		t.Errorf("wrong: %s", w)
	}
	for digest, file := range files {
		if byDigest[digest] == 0 {
			t.Errorf("%s was never asked for while it was there", filepath.Base(file))
		}
	}
}

// liveConfig is a configuration with real workers, an empty watched folder and a
// state that outlives the gateway.
func liveConfig(t *testing.T, workers int, more string) (config, dir string) {
	t.Helper()
	root := t.TempDir()
	dir = filepath.Join(root, "adapters")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`
listen: 127.0.0.1:0
admin: {listen: "127.0.0.1:0"}
model: {name: demo, path: %s}
state: {dir: %s}
adapters: {dir: %s, settle: 100ms}
workers: {command: %s, count: %d, slots: 4, context: 512, args: ["--threads", "1"], reload_interval: 200ms%s}
log: {format: json}
`, llamatest.Base(), filepath.Join(root, "state"), dir, llamatest.Binary(t), workers, more), dir
}

// world is what TestAdaptersComeAndGo changes: a gateway, and what is known of
// its models.
type world struct {
	t      *testing.T
	g      *gatewayProcess
	admin  *adminclient.Client
	h      *history
	load   *load
	dir    string            // that is watched
	files  map[string]string // all adapters that were made, by digest
	latest map[string]string // digests, by model
	before map[string]string // digests of the versions before, by model
}

// adapter returns a new adapter's file.
func (w *world) adapter(seed int) (path, digest string) {
	w.t.Helper()
	path = llamatest.Variant(w.t, fmt.Sprintf("seed%d", seed), seed)
	digest = digestOf(w.t, path)
	w.files[digest] = path
	return path, digest
}

func digestOf(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return digestOfBytes(content)
}

func digestOfBytes(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// change makes the model answer with the digest, by the means of apply, and
// returns when it does.
func (w *world) change(name, digest string, apply func() error) {
	w.t.Helper()
	if w.latest[name] == "" {
		w.h.may(name, unknown)
	}
	w.h.may(name, digest)
	if err := apply(); err != nil {
		w.t.Fatalf("%s: %v", name, err)
	}
	w.await(name, func(a adminapi.Adapter) bool { return a.Digest == digest && a.Staged == nil })
	w.h.must(name)
	w.before[name], w.latest[name] = w.latest[name], digest
	w.ask(name)
}

// ask asks for the model as it is now, so that no version goes without.
func (w *world) ask(name string) {
	w.load.one(trial{model: name, prompt: sharedQuestions[0], chat: true})
}

// await blocks until the record fits.
func (w *world) await(name string, fits func(adminapi.Adapter) bool) {
	w.t.Helper()
	awaitAdapter(w.t, w.admin, name, fits)
}

// awaitAdapter blocks until a record fits, and returns it; one that is not there
// is empty.
func awaitAdapter(t *testing.T, client *adminclient.Client, name string,
	fits func(adminapi.Adapter) bool) adminapi.Adapter {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(time.Minute)
	for {
		a, err := client.Adapter(t.Context(), name)
		var refusal *adminclient.Error
		if err != nil && !(errors.As(err, &refusal) && refusal.Status == http.StatusNotFound) {
			t.Fatal(err)
		}
		if fits(a) {
			return a
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%s is still %+v after a minute", name, a)
		}
	}
}

// put adds or replaces a model by its file's path.
func (w *world) put(name string, seed int) {
	w.t.Helper()
	path, digest := w.adapter(seed)
	w.change(name, digest, func() error {
		_, err := w.admin.Put(w.t.Context(), name, adminapi.PutRequest{Source: path, Digest: digest}, true)
		return err
	})
}

// upload adds or replaces a model by its bytes.
func (w *world) upload(name string, seed int) {
	w.t.Helper()
	path, digest := w.adapter(seed)
	w.change(name, digest, func() error { return w.send(name, path) })
}

func (w *world) send(name, path string) error {
	up, err := adminclient.Open(path, func(int64, int64) {})
	if err != nil {
		return err
	}
	_, err = w.admin.Upload(w.t.Context(), name, up)
	return err
}

// peft adds a model as its training left it, packed while it is sent.
func (w *world) peft(name, trained string) {
	w.t.Helper()
	folder := filepath.Join(llamatest.Root(), "examples", "finetune", "peft", trained)
	path := filepath.Join(w.t.TempDir(), "converted.gguf")
	if err := convert.Convert(w.t.Context(), convert.Options{Dir: folder, Base: llamatest.Base(), Out: path}); err != nil {
		w.t.Fatal(err)
	}
	digest := digestOf(w.t, path)
	w.files[digest] = path
	w.change(name, digest, func() error { return w.send(name, folder) })
}

// drop moves a file into the watched folder, over an older one if there is one.
func (w *world) drop(name string, seed int) {
	w.t.Helper()
	path, digest := w.adapter(seed)
	w.change(name, digest, func() error {
		return os.Rename(path, filepath.Join(w.dir, name+".gguf"))
	})
	w.files[digest] = filepath.Join(w.t.TempDir(), "kept.gguf") // for the reference
	if err := os.WriteFile(w.files[digest], llamatest.VariantBytes(w.t, seed), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// trickle copies a file into the watched folder in pieces: none but the whole may
// be served, or called rejected.
func (w *world) trickle(name string, seed int) {
	w.t.Helper()
	path, digest := w.adapter(seed)
	content, err := os.ReadFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	w.change(name, digest, func() error {
		f, err := os.Create(filepath.Join(w.dir, name+".gguf"))
		if err != nil {
			return err
		}
		defer f.Close()
		for piece := range slices.Chunk(content, len(content)/5+1) {
			if _, err := f.Write(piece); err != nil {
				return err
			}
			if err := f.Sync(); err != nil {
				return err
			}
			if a, err := w.admin.Adapter(w.t.Context(), name); err == nil && a.State == "ready" {
				return fmt.Errorf("served before it was whole: %+v", a)
			}
		}
		return nil
	})
}

// remove removes a model by the means of apply.
func (w *world) remove(name string, apply func() error) {
	w.t.Helper()
	w.h.may(name, unknown)
	if err := apply(); err != nil {
		w.t.Fatal(err)
	}
	w.await(name, func(a adminapi.Adapter) bool { return a.Name == "" })
	w.h.must(name)
	w.ask(name)
}

// refuse tries to replace and to add with a broken file: both leave things as
// they were.
func (w *world) refuse(fault, path, victim string) {
	w.t.Helper()
	name := "broken-" + fault
	w.h.may(name, unknown)
	for _, target := range []string{name, victim} {
		_, err := w.admin.Put(w.t.Context(), target, adminapi.PutRequest{Source: path}, true)
		var refusal *adminclient.Error
		if !errors.As(err, &refusal) || refusal.Status != http.StatusUnprocessableEntity {
			w.t.Errorf("%s as %s: %v, want it refused", fault, target, err)
			continue
		}
		a, err := w.admin.Adapter(w.t.Context(), target)
		if err != nil || a.Reason == "" {
			w.t.Errorf("%s as %s: %v, %+v; want a reason", fault, target, err, a)
		}
		if target == name && a.State != "rejected" || target == victim &&
			(a.State != "ready" || a.Digest != w.latest[victim]) {
			w.t.Errorf("%s: %s is %s with %.12s", fault, target, a.State, a.Digest)
		}
		w.t.Logf("%s: %s", fault, refusal.Message)
	}
}

// rollback goes back to the version before.
func (w *world) rollback(name string) {
	w.t.Helper()
	w.change(name, w.before[name], func() error {
		_, err := w.admin.Rollback(w.t.Context(), name)
		return err
	})
}

// TestAdaptersComeAndGo changes the catalog in every way while eight clients keep
// asking, and judges each of their answers.
func TestAdaptersComeAndGo(t *testing.T) {
	t.Parallel()
	config, dir := liveConfig(t, 2, "")
	g := serve(t, config)
	w := &world{
		t: t, g: g, admin: g.admins(), h: newHistory(), dir: dir,
		files: map[string]string{}, latest: map[string]string{}, before: map[string]string{},
	}
	w.load = &load{g: g, h: w.h}
	w.put("first", 100)
	w.load.start(8)
	stopped := context.AfterFunc(t.Context(), func() { w.load.stop.Store(true) }) // whatever fails, the clients end
	defer stopped()

	for i := range 6 {
		w.put(fmt.Sprintf("path%d", i), i)
		w.drop(fmt.Sprintf("file%d", i), 10+i)
		w.upload(fmt.Sprintf("upload%d", i), 20+i)
	}
	w.trickle("slow", 30)
	w.peft("trained", "legal")
	broken := llamatest.Broken(t)
	for i, fault := range []string{"truncated", "wrong-width", "base-model", "nan-alpha", "garbage"} {
		w.refuse(fault, broken[fault], []string{"path0", "upload1"}[i%2])
	}
	w.put("path3", 40)
	w.drop("file3", 41)
	w.upload("upload3", 42)
	w.upload("path4", 43)
	w.drop("file4", 44)
	w.rollback("path3")
	for _, name := range []string{"path5", "upload5", "upload0"} {
		w.remove(name, func() error { return w.admin.Remove(t.Context(), name) })
	}
	for _, name := range []string{"file5", "file0"} {
		w.remove(name, func() error { return os.Remove(filepath.Join(dir, name+".gguf")) })
	}
	w.load.halt(t, w.files)
}
