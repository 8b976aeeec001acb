package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/catalog"
	"github.com/loragate/loragate/internal/lora"
)

// path returns where a content's bytes are stored.
func (r *rig) path(content string) string { return r.base.Store.Blobs().Path(digest(content)) }

// load says that a worker has loaded the content.
func (r *rig) load(content string) {
	r.set(r.loaded, r.path(content))
	r.Loaded(r.path(content))
}

func (r *rig) versions(name string) (list []string) {
	rec, _ := r.Get(name)
	for _, v := range rec.Versions {
		list = append(list, fmt.Sprint(v.Number))
	}
	return list
}

// TestVersionsTakeOver replaces an adapter that workers have loaded.
func TestVersionsTakeOver(t *testing.T) {
	r := newRig(t)
	r.put("a", "one")
	r.load("one")
	source := r.file("two", "two")
	if rec, err := r.Put(t.Context(), lora.Spec{Name: "a", Source: source}, false); err != nil ||
		rec.State != lora.Downloading || rec.Active == nil {
		t.Errorf("%+v, %v", rec, err)
	}
	staged := func() bool { rec, _ := r.Get("a"); return rec.Staged != nil }
	r.until("the second is staged", staged)
	r.want("a", "one")
	stock := map[string]bool{}
	for _, s := range r.Stock() {
		stock[s.Path] = s.Preload
	}
	if len(stock) != 2 || !stock[r.path("two")] || stock[r.path("one")] {
		t.Errorf("in stock are %v: the new one is to be loaded soon", stock)
	}
	waited := make(chan error)
	go func() {
		_, err := r.Put(context.Background(), lora.Spec{Name: "a", Source: source}, true) // the same bytes again
		waited <- err
	}()
	r.until("it waits", staged)
	r.load("two")
	if err := <-waited; err != nil {
		t.Error(err)
	}
	r.want("a", "two")
	if got := r.Stock(); len(got) != 1 || got[0].Path != r.path("two") {
		t.Errorf("in stock are %+v", got)
	}
	r.Loaded(r.path("one")) // by a slow worker: it changes nothing
	r.want("a", "two")
	if got := strings.Join(r.versions("a"), " "); got != "1 2" {
		t.Errorf("versions %s", got)
	}
}

// TestRollback goes back, and on with new bytes only.
func TestRollback(t *testing.T) {
	r := newRig(t)
	for _, content := range []string{"one", "two", "three", "four"} { // three are kept
		r.put("a", content)
	}
	if got := strings.Join(r.versions("a"), " "); got != "2 3 4" {
		t.Errorf("versions %s", got)
	}
	for _, want := range []string{"three", "two"} {
		if _, err := r.Rollback("a"); err != nil {
			t.Fatal(err)
		}
		r.want("a", want)
	}
	if _, err := r.Rollback("a"); refusal(err) != lora.Conflict {
		t.Errorf("beyond the first: %v", err)
	}
	r.reopen()
	r.want("a", "two")
	r.put("a", "four") // again: it is the fourth still
	r.want("a", "four")
	if got := strings.Join(r.versions("a"), " "); got != "2 3 4" {
		t.Errorf("versions %s", got)
	}
	r.load("four")
	if rec, err := r.Rollback("a"); err != nil || rec.Staged == nil || rec.State != lora.Loading {
		t.Errorf("%+v, %v: the old bytes are not loaded", rec, err)
	}
	r.want("a", "four")
	r.load("three")
	r.want("a", "three")
}

// TestOldBytesAgain are the newest version, so that a rollback goes to what
// answered before.
func TestOldBytesAgain(t *testing.T) {
	r := newRig(t)
	r.put("a", "one")
	r.put("a", "two")
	if rec := r.put("a", "one"); rec.Active.Number != 3 {
		t.Errorf("%+v", rec.Active)
	}
	if got := strings.Join(r.versions("a"), " "); got != "2 3" {
		t.Errorf("versions %s", got)
	}
	if _, err := r.Rollback("a"); err != nil {
		t.Fatal(err)
	}
	r.want("a", "two")
	r.reopen()
	r.want("a", "two")
	if rec := r.put("a", "two"); rec.Active.Number != 2 {
		t.Errorf("what answers already: %+v", rec.Active)
	}
}

// TestOneVersionIsKept: the one before goes when a worker has the new one.
func TestOneVersionIsKept(t *testing.T) {
	r := closedRig(t)
	r.base.KeepVersions = 1
	r.open()
	r.put("a", "one")
	r.load("one")
	if _, err := r.Put(t.Context(), lora.Spec{Name: "a", Source: r.file("two", "two")}, false); err != nil {
		t.Fatal(err)
	}
	r.until("it is staged", func() bool { rec, _ := r.Get("a"); return rec.Staged != nil })
	if got := strings.Join(r.versions("a"), " "); got != "1 2" {
		t.Errorf("versions %s, while the first answers", got)
	}
	r.load("two")
	if got := strings.Join(r.versions("a"), " "); got != "2" {
		t.Errorf("versions %s, when the second answers", got)
	}
	r.collect()
	r.reopen()
	if got := strings.Join(r.versions("a"), " "); got != "2" {
		t.Errorf("versions %s after a restart", got)
	}
	r.want("a", "two")
}

// TestRolledBackFileStays changes a file of the folder, goes back and restarts.
func TestRolledBackFileStays(t *testing.T) {
	r := newRig(t)
	r.drop("a.gguf", "one")
	r.until("the first", func() bool { return r.answers("a") == digest("one") })
	r.drop("a.gguf", "two, longer")
	r.until("the second", func() bool { return r.answers("a") == digest("two, longer") })
	if _, err := r.Rollback("a"); err != nil {
		t.Fatal(err)
	}
	r.want("a", "one")
	r.reopen() // the file is looked at again, and has not changed
	r.want("a", "one")
	r.drop("a.gguf", "three")
	r.until("the third", func() bool { return r.answers("a") == digest("three") })
}

// TestQuarantine takes bytes out of service wherever they are.
func TestQuarantine(t *testing.T) {
	r := newRig(t)
	r.put("a", "one")
	r.put("a", "two")
	r.put("alone", "two")
	r.Quarantine(r.path("two"), "it ended llama-server")
	r.want("a", "one")
	var q *catalog.QuarantinedError
	if _, err := r.Resolve("alone"); !errors.As(err, &q) || !strings.Contains(q.Reason, "it ended llama-server") {
		t.Errorf("alone: %v", err)
	}
	if _, err := r.Resolve("alone@0.5"); !errors.As(err, &q) {
		t.Errorf("in an expression: %v", err)
	}
	for _, s := range r.Stock() {
		if s.Path == r.path("two") {
			t.Error("it is in stock still")
		}
	}
	if _, err := r.Put(t.Context(), lora.Spec{Name: "again", Source: r.file("again", "two")},
		true); refusal(err) != lora.Refused {
		t.Errorf("under another name: %v", err)
	}
	if rec, _ := r.Get("again"); rec.State != lora.Quarantined {
		t.Errorf("%+v", rec)
	}
	r.reopen()
	if rec, _ := r.Get("alone"); rec.State != lora.Quarantined {
		t.Errorf("after a restart: %+v", rec)
	}
	r.want("a", "one")
	if _, err := r.Rollback("a"); refusal(err) != lora.Conflict {
		t.Errorf("there is nothing before it: %v", err)
	}
	for _, name := range []string{"a", "alone", "again"} {
		if err := r.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	r.put("again", "two") // the quarantine went with the last record of these bytes
	r.want("again", "two")
}

// TestQuarantineOfAStagedVersion leaves what answers alone.
func TestQuarantineOfAStagedVersion(t *testing.T) {
	r := newRig(t)
	r.put("a", "one")
	r.load("one")
	done := make(chan error)
	go func() {
		_, err := r.Put(context.Background(), lora.Spec{Name: "a", Source: r.file("b", "two")}, true)
		done <- err
	}()
	r.until("it is staged", func() bool { rec, _ := r.Get("a"); return rec.Staged != nil })
	r.Quarantine(r.path("two"), "it ended llama-server")
	if err := <-done; refusal(err) != lora.Refused {
		t.Errorf("whoever waited for it: %v", err)
	}
	r.want("a", "one")
	if rec, _ := r.Get("a"); rec.Staged != nil || rec.State != lora.Ready ||
		!strings.Contains(rec.Reason, "ended llama-server") {
		t.Errorf("%+v", rec)
	}
}

// TestBadSourcesChangeNothing refuses, and keeps what there was.
func TestBadSourcesChangeNothing(t *testing.T) {
	r := newRig(t)
	r.put("a", "one")
	for content, code := range map[string]lora.Code{"bad bytes": lora.Refused, "": ""} {
		source := r.file("source", content)
		if content == "" {
			source = filepath.Join(r.root, "nothing")
			code = lora.Failed
		}
		for _, name := range []string{"a", "new"} {
			rec, err := r.Put(t.Context(), lora.Spec{Name: name, Source: source,
				Settings: lora.Settings{Aliases: []string{name + "2"}}}, true)
			if refusal(err) != code || rec.Reason == "" {
				t.Errorf("%q as %s: %v, %+v", content, name, err, rec)
			}
		}
		r.want("a", "one")
		r.unknown("new", "a2", "new2")
	}
	if rec, _ := r.Get("new"); rec.State != lora.Rejected {
		t.Errorf("%+v", rec)
	}
	r.reopen()
	r.want("a", "one")
	if rec, _ := r.Get("new"); rec.State != lora.Rejected || rec.Reason == "" {
		t.Errorf("after a restart: %+v", rec)
	}
	r.opts.MaxBytes = 3
	r.reopen()
	if _, err := r.Put(t.Context(), lora.Spec{Name: "large", Source: r.file("large", "large")},
		true); refusal(err) != lora.TooLarge {
		t.Errorf("more than a worker can load: %v", err)
	}
}

// TestChangesDuringIngest puts and removes what is being fetched.
func TestChangesDuringIngest(t *testing.T) {
	r := newRig(t)
	r.block = make(chan struct{})
	begin := func(name, content string) chan error {
		done := make(chan error, 1)
		go func() {
			_, err := r.Put(context.Background(), lora.Spec{Name: name, Source: r.file(name+content, content)}, true)
			done <- err
		}()
		r.until("it has begun", func() bool {
			rec, ok := r.Get(name)
			return ok && rec.State == lora.Downloading && len(done) == 0
		})
		return done
	}
	first := begin("a", "one")
	second := begin("a", "two")
	if err := <-first; refusal(err) != lora.Conflict {
		t.Errorf("one whose place another took: %v", err)
	}
	gone := begin("b", "one")
	if err := r.Remove("b"); err != nil {
		t.Fatal(err)
	}
	if err := <-gone; refusal(err) != lora.Conflict {
		t.Errorf("what was removed: %v", err)
	}
	close(r.block)
	if err := <-second; err != nil {
		t.Error(err)
	}
	r.want("a", "two")
	r.unknown("b")

	r.mu.Lock()
	r.block = make(chan struct{})
	r.mu.Unlock()
	left := begin("c", "three")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Put(ctx, lora.Spec{Name: "d", Source: r.file("d", "four")}, true); !errors.Is(err,
		context.Canceled) {
		t.Errorf("whoever leaves: %v", err)
	}
	r.Close()
	if err := <-left; err == nil {
		t.Error("it is fetched after Close")
	}
	if _, err := r.Put(t.Context(), lora.Spec{Name: "e", Source: r.file("e", "e")}, true); refusal(err) != lora.Failed {
		t.Errorf("after Close: %v", err)
	}
	r.want("a", "two")
	close(r.block)
	r.mu.Lock()
	r.block = nil
	r.mu.Unlock()
	if err := r.base.Store.Close(); err != nil {
		t.Fatal(err)
	}
	r.open() // what was fetched when the gateway ended is fetched now
	r.until("both answer", func() bool { return r.answers("c") == digest("three") && r.answers("d") == digest("four") })
}

func TestUploads(t *testing.T) {
	r := newRig(t)
	if rec, err := r.Upload(t.Context(), lora.Spec{Name: "a"}, strings.NewReader("one"), "a.gguf"); err != nil ||
		rec.State != lora.Ready {
		t.Errorf("%+v, %v", rec, err)
	}
	r.want("a", "one")
	if _, err := r.Upload(t.Context(), lora.Spec{Name: "a"},
		strings.NewReader("bad"), "a.gguf"); refusal(err) != lora.Refused {
		t.Error(err)
	}
	if _, err := r.Upload(t.Context(), lora.Spec{Name: "new"},
		io.MultiReader(strings.NewReader("half"), broken{}), "a.gguf"); err == nil {
		t.Error("a cut upload is taken")
	}
	if _, err := r.Upload(t.Context(), lora.Spec{Name: "b", Source: "/a"},
		strings.NewReader(""), "a.gguf"); refusal(err) != lora.Invalid {
		t.Error(err)
	}
	r.want("a", "one")
	r.unknown("new", "b")
	r.reopen()
	r.want("a", "one")
	if files, err := filepath.Glob(filepath.Join(r.root, "upload-*")); err != nil || len(files) > 0 {
		t.Errorf("left are %v, %v", files, err)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// TestPinsSurvive until the configuration says something else.
func TestPinsSurvive(t *testing.T) {
	r := newRig(t)
	r.put("a", "one")
	entry := lora.Spec{Name: "c", Source: r.file("c", "c"), Pin: true}
	if err := r.Configure([]lora.Spec{entry}); err != nil {
		t.Fatal(err)
	}
	r.until("c is ready", func() bool { return r.answers("c") == digest("c") })
	for name, pin := range map[string]bool{"a": true, "c": false} {
		if _, err := r.Pin(name, pin); err != nil {
			t.Fatal(err)
		}
	}
	pins := func() (a, c bool) {
		x, _ := r.Get("a")
		y, _ := r.Get("c")
		return x.Pin, y.Pin
	}
	r.opts.Entries = []lora.Spec{entry}
	r.reopen()
	if a, c := pins(); !a || c {
		t.Errorf("after a restart a is pinned: %t, c: %t", a, c)
	}
	entry.Pin = false
	entries := []lora.Spec{entry}
	if err := r.Configure(entries); err != nil {
		t.Fatal(err)
	}
	entries[0].Pin = true
	if err := r.Configure(entries); err != nil {
		t.Fatal(err)
	}
	if _, c := pins(); !c {
		t.Error("what the configuration says anew does not hold")
	}
}

// TestTheNewerWordOnAPinHolds, be it the operator's or that of a description.
func TestTheNewerWordOnAPinHolds(t *testing.T) {
	r := newRig(t)
	put := func(pin bool, content string) bool {
		t.Helper()
		rec, err := r.Put(t.Context(), lora.Spec{Name: "a", Pin: pin, Source: r.file("a", content)}, true)
		if err != nil {
			t.Fatal(err)
		}
		return rec.Pin
	}
	put(false, "one")
	if rec, err := r.Pin("a", true); err != nil || !rec.Pin {
		t.Fatalf("%+v, %v", rec, err)
	}
	if !put(false, "two") {
		t.Error("a new version that says nothing of it takes the pin off")
	}
	put(true, "three")
	if put(false, "four") {
		t.Error("it cannot be taken off")
	}
	if _, err := r.Pin("a", false); err != nil {
		t.Fatal(err)
	}
	if !put(true, "five") {
		t.Error("it cannot be set")
	}
}

// TestBytesGoWhenNobodyNeedsThem collects, but not what a worker may open.
func TestBytesGoWhenNobodyNeedsThem(t *testing.T) {
	r := newRig(t)
	r.put("a", "one")
	r.put("b", "two")
	r.set(r.uses, r.path("two"))
	for _, name := range []string{"a", "b"} {
		if err := r.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	r.put("kept", "three")
	r.collect()
	for content, want := range map[string]bool{"one": false, "two": true, "three": true} {
		if got := r.base.Store.Blobs().Has(digest(content), int64(len(content))); got != want {
			t.Errorf("%s is there: %t", content, got)
		}
	}
}

// TestLostBytes finds that a version's file was deleted behind the gateway's back.
func TestLostBytes(t *testing.T) {
	r := newRig(t)
	r.put("a", "one")
	path := r.path("one")
	r.Close()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	r.reopen()
	if rec, _ := r.Get("a"); rec.State != lora.Rejected || !strings.Contains(rec.Reason, "not in the state directory") {
		t.Errorf("%+v", rec)
	}
	r.put("a", "one")
	r.want("a", "one")
}

// TestFailingStoreChangesNothing closes the database under the catalog.
func TestFailingStoreChangesNothing(t *testing.T) {
	r := newRig(t)
	r.put("a", "one")
	if err := r.base.Store.SQL().Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Put(t.Context(), lora.Spec{Name: "a", Source: r.file("b", "two")},
		true); refusal(err) != lora.Failed {
		t.Errorf("replace: %v", err)
	}
	if _, err := r.Put(t.Context(), lora.Spec{Name: "new", Source: r.file("b", "two")},
		true); refusal(err) != lora.Failed {
		t.Errorf("add: %v", err)
	}
	if _, err := r.Pin("a", true); refusal(err) != lora.Failed {
		t.Errorf("pin: %v", err)
	}
	if err := r.Remove("a"); refusal(err) != lora.Failed {
		t.Errorf("remove: %v", err)
	}
	r.want("a", "one")
	r.unknown("new")
	if rec, _ := r.Get("a"); rec.Pin || len(rec.Versions) != 1 {
		t.Errorf("%+v", rec)
	}
}
