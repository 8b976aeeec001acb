package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/adminapi"
	"github.com/loragate/loragate/internal/adminclient"
	"github.com/loragate/loragate/internal/fakeworker"
	"github.com/loragate/loragate/internal/llamatest"
)

// shelf is a gateway over fake workers with a watched folder and a state of its
// own.
type shelf struct {
	t      *testing.T
	g      *gatewayProcess
	admin  *adminclient.Client
	config string
	dir    string
}

// newShelf starts a gateway; more is added to its workers' configuration. before
// the start fill may put files into the folder.
func newShelf(t *testing.T, workers int, more string, fill func(dir string)) *shelf {
	t.Helper()
	root := t.TempDir()
	s := &shelf{t: t, dir: filepath.Join(root, "adapters")}
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if fill != nil {
		fill(s.dir)
	}
	s.config = strings.Replace(fakeConfig(t, workers, ", reload_interval: 10ms"+more),
		filepath.Dir(llamatest.Adapters()["coding"]), s.dir+", settle: 20ms", 1) +
		fmt.Sprintf("state: {dir: %s}\n", filepath.Join(root, "state"))
	s.start()
	return s
}

func (s *shelf) start() {
	s.t.Helper()
	s.g = serve(s.t, s.config)
	s.admin = s.g.admins()
}

// add puts a good adapter into the folder.
func (s *shelf) add(dir, name string, seed int) { s.put(dir, name, llamatest.VariantBytes(s.t, seed)) }

func (s *shelf) put(dir, name string, content []byte) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name+".gguf"), content, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// await blocks until the adapter fits, and returns it.
func (s *shelf) await(name string, fits func(adminapi.Adapter) bool) adminapi.Adapter {
	s.t.Helper()
	return awaitAdapter(s.t, s.admin, name, fits)
}

// ask sends a short request and returns its status, the digest that answered
// and what had to be done for it.
func (s *shelf) ask(model string) (status int, digest, state string) {
	s.t.Helper()
	resp := s.g.open(s.t.Context(), chat(model, "Hi", ""))
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		s.t.Error(err)
	}
	return resp.StatusCode, resp.Header.Get("X-Adapter-Digest"), resp.Header.Get("X-Adapter-State")
}

func (s *shelf) serves(want map[string]int) {
	s.t.Helper()
	for model, status := range want {
		if got, _, _ := s.ask(model); got != status {
			s.t.Errorf("%s: %d, want %d", model, got, status)
		}
	}
}

// held is a stream that goes on until it is released.
type held struct {
	t       *testing.T
	resp    *http.Response
	lines   *bufio.Reader
	release string
}

// hold starts a stream and returns once its first event is there.
func (s *shelf) hold(model string) *held {
	s.t.Helper()
	h := &held{t: s.t, release: filepath.Join(s.t.TempDir(), "release")}
	h.resp = s.g.open(s.t.Context(), chat(model, "until="+h.release, `,"stream":true`))
	s.t.Cleanup(func() { h.resp.Body.Close() })
	h.lines = bufio.NewReader(h.resp.Body)
	if line, err := h.lines.ReadString('\n'); err != nil || h.resp.StatusCode != http.StatusOK {
		s.t.Fatalf("%s: %d %s, %v", model, h.resp.StatusCode, line, err)
	}
	return h
}

// worker is which one it runs on.
func (h *held) worker() string { return h.resp.Header.Get("X-Worker") }

// end releases the stream and checks that it ends whole.
func (h *held) end() {
	h.t.Helper()
	if err := os.WriteFile(h.release, nil, 0o600); err != nil {
		h.t.Fatal(err)
	}
	rest, err := io.ReadAll(h.lines)
	if err != nil || !strings.HasSuffix(string(rest), "data: [DONE]\n\n") {
		h.t.Errorf("a stream ended with %v: %q", err, rest[max(0, len(rest)-60):])
	}
}

func isReady(a adminapi.Adapter) bool { return a.State == "ready" }

// TestAdapterThatEndsWorkersIsFound puts one adapter that passes every check and
// ends each process that loads it among several new ones.
func TestAdapterThatEndsWorkersIsFound(t *testing.T) {
	long(t)
	t.Parallel()
	s := newShelf(t, 2, "", nil)
	s.put(s.dir, "old", llamatest.VariantBytes(t, 100))
	s.await("old", isReady)
	for i := range 4 {
		s.add(s.dir, fmt.Sprintf("good%d", i), i)
	}
	s.put(s.dir, "poison", llamatest.Marked(t, 50, fakeworker.Poison))
	a := s.await("poison", func(a adminapi.Adapter) bool { return a.State == "quarantined" })
	if !strings.Contains(a.Reason, "told to end") {
		t.Errorf("the reason %q does not have what the worker said", a.Reason)
	}
	s.serves(map[string]int{"good0": 200, "good1": 200, "good2": 200, "good3": 200, "old": 200, "demo": 200,
		"poison": 503})

	// A replacement that ends workers leaves the version before.
	first := s.await("old", isReady)
	s.put(s.dir, "old", llamatest.Marked(t, 51, fakeworker.Poison))
	a = s.await("old", func(a adminapi.Adapter) bool {
		return strings.Contains(a.Reason, "quarantined") &&
			a.State == "ready"
	})
	if _, digest, _ := s.ask("old"); a.Digest != first.Digest || digest != first.Digest {
		t.Errorf("after a bad replacement %.12s answers, by %+v; want %.12s", digest, a, first.Digest)
	}

	// The quarantine survives the gateway; other bytes end it.
	_ = s.g.cmd.Process.Kill()
	<-s.g.exited
	s.start()
	s.serves(map[string]int{"good0": 200, "old": 200, "poison": 503})
	s.add(s.dir, "poison", 52)
	s.await("poison", isReady)
	s.serves(map[string]int{"poison": 200})
}

// TestOldVersionEndsWhatItBegan replaces an adapter under a running stream.
func TestOldVersionEndsWhatItBegan(t *testing.T) {
	t.Parallel()
	s := newShelf(t, 1, "", nil)
	s.add(s.dir, "mine", 1)
	one := s.await("mine", isReady).Digest
	stream := s.hold("mine")
	s.add(s.dir, "mine", 2)
	a := s.await("mine", func(a adminapi.Adapter) bool { return a.Staged != nil })
	if a.Digest != one || a.State != "loading" {
		t.Errorf("while the old version runs: %+v", a)
	}
	stream.end()
	if got := stream.resp.Header.Get("X-Adapter-Digest"); got != one {
		t.Errorf("the stream was by %.12s", got)
	}
	a = s.await("mine", func(a adminapi.Adapter) bool { return a.Staged == nil })
	if _, digest, _ := s.ask("mine"); digest == one || digest != a.Digest {
		t.Errorf("after it %.12s answers, want %.12s", digest, a.Digest)
	}
}

// two puts two adapters into the folder.
func two(t *testing.T) func(dir string) {
	return func(dir string) {
		for i, name := range []string{"a", "b"} {
			if err := os.WriteFile(filepath.Join(dir, name+".gguf"), llamatest.VariantBytes(t, i), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestOthersGoOnWhileOneReloads asks for a third adapter of workers that hold one
// each.
func TestOthersGoOnWhileOneReloads(t *testing.T) {
	t.Parallel()
	s := newShelf(t, 2, ", max_loaded: 1", two(t))
	a, b := s.hold("a"), s.hold("b")
	if a.worker() == b.worker() {
		t.Fatal("both are loaded on one worker")
	}
	s.add(s.dir, "c", 3)
	s.await("c", isReady)
	c := make(chan [2]string)
	go func() {
		_, digest, state := s.ask("c")
		c <- [2]string{digest, state}
	}()
	drains := s.awaitWorker(func(w adminapi.Worker) bool { return w.State == "reloading" })
	leaves, stays := a, b
	if drains.Loaded[0] == "b" {
		leaves, stays = b, a
	}
	stay := map[string]string{"a": "b", "b": "a"}[drains.Loaded[0]]
	s.serves(map[string]int{stay: 200}) // while the other drains
	leaves.end()
	if got := <-c; got[1] != "reload" || got[0] == "" {
		t.Errorf("the newcomer was answered by %v", got)
	}
	s.serves(map[string]int{stay: 200})
	stays.end()
}

func (s *shelf) workers() []adminapi.Worker {
	s.t.Helper()
	list, err := s.admin.Workers(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return list
}

// awaitWorker blocks until a worker fits, and returns it.
func (s *shelf) awaitWorker(fits func(adminapi.Worker) bool) adminapi.Worker {
	s.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(time.Minute)
	for {
		list := s.workers()
		for _, w := range list {
			if fits(w) {
				return w
			}
		}
		select {
		case <-tick.C:
		case <-limit:
			s.t.Fatalf("the workers are still %+v after a minute", list)
		}
	}
}

// TestSpareTakesOver asks for an adapter that is not loaded while the only worker
// has a stream to end.
func TestSpareTakesOver(t *testing.T) {
	t.Parallel()
	s := newShelf(t, 1, ", max_loaded: 1, spare: 1", two(t))
	if w := s.workers(); len(w) != 2 || w[1].State != "spare" || w[1].PID != 0 {
		t.Errorf("at first the workers are %+v", w)
	}
	loaded := s.workers()[0].Loaded[0]
	other := map[string]string{"a": "b", "b": "a"}[loaded]
	stream := s.hold(loaded)
	if status, _, state := s.ask(other); status != 200 || state != "reload" {
		t.Errorf("%d, %s: a request for what is not loaded must not wait for the stream", status, state)
	}
	s.serves(map[string]int{other: 200})
	stream.end()
	s.awaitWorker(func(w adminapi.Worker) bool { return w.ID == 0 && w.State == "spare" })
	s.serves(map[string]int{loaded: 200, other: 200}) // back again
}

// TestMoreAtOnceThanFits asks for sums that no worker has room for.
func TestMoreAtOnceThanFits(t *testing.T) {
	t.Parallel()
	s := newShelf(t, 1, ", max_loaded: 1", two(t))
	status, text := s.g.post(chatPath, chat("a@0.5+b@0.5", "Hi", ""))
	if status != 400 || !strings.Contains(text, "needs more adapters at once") {
		t.Errorf("%d %s", status, text)
	}
	s.serves(map[string]int{"a@0.5": 200, "b": 200})
}

// TestDrainedWorkerRestsUntilItIsResumed takes one of two workers out of service.
func TestDrainedWorkerRestsUntilItIsResumed(t *testing.T) {
	t.Parallel()
	s := newShelf(t, 2, "", two(t))
	if _, err := s.admin.Drain(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		h := s.hold("a")
		if h.worker() != "1" {
			t.Errorf("a request runs on worker %s", h.worker())
		}
		defer h.end()
	}
	if _, err := s.admin.Restart(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	w := s.awaitWorker(func(w adminapi.Worker) bool {
		return w.ID == 0 && w.PID != 0 && w.Restarts == 0 && w.State == "drained"
	})
	if !w.Drained {
		t.Errorf("after its restart it is %+v", w)
	}
	if _, err := s.admin.Resume(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	h := s.hold("b")
	defer h.end()
	if h.worker() != "0" {
		t.Errorf("after resume a request for another adapter runs on worker %s", h.worker())
	}
}

// TestMemoryThatRunsOut gives workers room for five of twelve adapters, and tells
// the gateway nothing of it: all are served, in turns, and none is called bad.
func TestMemoryThatRunsOut(t *testing.T) {
	long(t)
	const adapters, fit = 12, 5
	size := len(llamatest.VariantBytes(t, 0))
	s := newShelf(t, 2, fmt.Sprintf(`, args: ["--memory", "%d"]`, fit*size), func(dir string) {
		for i := range adapters {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("v%02d.gguf", i)), llamatest.VariantBytes(t, i),
				0o600); err != nil {
				t.Fatal(err)
			}
		}
	})
	for i := range 2 * adapters {
		name := fmt.Sprintf("v%02d", i*5%adapters)
		if status, _, _ := s.ask(name); status != http.StatusOK {
			t.Errorf("%s: %d", name, status)
		}
	}
	s.g.says("worker cannot load so many adapters: fewer are loaded from now on; set workers.adapter_memory or " +
		"workers.max_loaded")
	list, err := s.admin.Adapters(t.Context())
	if err != nil || len(list) != adapters {
		t.Fatalf("%d adapters, %v", len(list), err)
	}
	for _, a := range list {
		if !isReady(a) {
			t.Errorf("%s is %s: %s", a.Name, a.State, a.Reason)
		}
	}
	workers, err := s.admin.Workers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range workers {
		if n := len(w.Loaded); n < 3 || n > fit {
			t.Errorf("worker %d has %d loaded", w.ID, n)
		}
	}
}
