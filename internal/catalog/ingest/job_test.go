package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/loragate/loragate/internal/catalog/records"
	"github.com/loragate/loragate/internal/lora"
)

// beginPut puts in the background and returns once that is under way.
func (r *rig) beginPut(s lora.Spec) (ended chan error) {
	r.t.Helper()
	ended = make(chan error, 1)
	go func() {
		_, err := r.Put(context.Background(), s, true)
		ended <- err
	}()
	r.until("it has begun", func() bool {
		rec, ok := r.Get(s.Name)
		return ok && (rec.State == lora.Downloading || rec.Staged != nil)
	})
	return ended
}

// TestWaitersLearnWhatBecameOfTheirVersion lets a version be staged and something
// else happen before a worker has loaded it.
func TestWaitersLearnWhatBecameOfTheirVersion(t *testing.T) {
	for name, c := range map[string]struct {
		happens func(r *rig)
		code    lora.Code
	}{
		"loaded":      {func(r *rig) { r.load("two") }, ""},
		"rolled back": {func(r *rig) { _, _ = r.Rollback("a") }, lora.Conflict},
		"replaced": {func(r *rig) {
			_, _ = r.Put(r.t.Context(), lora.Spec{Name: "a", Source: r.file("three", "three")}, false)
		}, lora.Conflict},
		"removed":     {func(r *rig) { _ = r.Remove("a") }, lora.Conflict},
		"quarantined": {func(r *rig) { r.Quarantine(r.path("two"), "it ended llama-server") }, lora.Refused},
		"closed":      {func(r *rig) { r.Close() }, lora.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.put("a", "one")
			r.load("one")
			waits := r.beginPut(lora.Spec{Name: "a", Source: r.file("two", "two")})
			r.until("it is staged", func() bool { rec, _ := r.Get("a"); return rec.Staged != nil })
			c.happens(r)
			if err := <-waits; refusal(err) != c.code {
				t.Errorf("%v, want code %q", err, c.code)
			}
		})
	}
}

// TestLoadedBeforeItIsStaged: another model has the same bytes, and a worker loads
// them for it just before they are staged.
func TestLoadedBeforeItIsStaged(t *testing.T) {
	r := closedRig(t)
	var two string
	r.base.IsLoaded = func(path string) bool {
		was := r.is(r.loaded, path)
		if path == two && !was {
			r.set(r.loaded, path)
			r.Loaded(path) // before the answer is acted upon
		}
		return was
	}
	r.open()
	r.put("a", "one")
	r.load("one")
	two = r.path("two")
	if _, err := r.Put(t.Context(), lora.Spec{Name: "a", Source: r.file("two", "two")}, false); err != nil {
		t.Fatal(err)
	}
	r.until("the second answers", func() bool { return r.answers("a") == digest("two") })
}

// TestManyPutsAtOnce of one model: the last one that was taken is what answers,
// and all others learn that.
func TestManyPutsAtOnce(t *testing.T) {
	r := newRig(t)
	var group sync.WaitGroup
	for i := range 8 {
		content := fmt.Sprint("content ", i)
		source := r.file(fmt.Sprint("source", i), content)
		group.Go(func() {
			rec, err := r.Put(t.Context(), lora.Spec{Name: "a", Source: source}, true)
			switch code := refusal(err); {
			case code != "" && code != lora.Conflict:
				t.Errorf("%s: %v", content, err)
			case code == "" && rec.Active.Digest != digest(content):
				t.Errorf("%s: it waited for %+v", content, rec)
			}
		})
	}
	group.Wait()
	rec, _ := r.Get("a")
	if rec.State != lora.Ready || rec.Active.Source != rec.Source || rec.Versions[len(rec.Versions)-1] != rec.Active {
		t.Errorf("%+v", rec)
	}
	r.reopen()
	if again, _ := r.Get("a"); again.Active.Digest != rec.Active.Digest {
		t.Errorf("%+v, then %+v", rec, again)
	}
}

// TestNamesDuringIngest are taken from the moment that they are put.
func TestNamesDuringIngest(t *testing.T) {
	r := newRig(t)
	r.put("a", "one")
	release := r.hold()
	ended := r.beginPut(lora.Spec{Name: "a", Source: r.file("two", "two"),
		Settings: lora.Settings{Aliases: []string{"b"}}})
	if _, err := r.Put(t.Context(),
		lora.Spec{Name: "b", Source: r.file("b", "of b")}, false); refusal(err) != lora.Conflict {
		t.Errorf("a name that is taken soon: %v", err)
	}
	if err := r.Configure([]lora.Spec{{Name: "b", Source: r.file("b", "of b")}}); refusal(err) != lora.Conflict {
		t.Errorf("in the configuration: %v", err)
	}
	r.unknown("b")
	release()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	r.want("b", "two")
}

// TestSettingsDuringIngest: what the configuration says meanwhile holds.
func TestSettingsDuringIngest(t *testing.T) {
	entry := lora.Spec{Name: "a", Source: "far://a", Scale: .5}
	r := closedRig(t)
	r.file("a", "one")
	r.open()
	release := r.hold()
	if err := r.Configure([]lora.Spec{entry}); err != nil {
		t.Fatal(err)
	}
	entry.Scale, entry.Aliases = .25, []string{"b"}
	if err := r.Configure([]lora.Spec{entry}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Pin("a", true); err != nil {
		t.Fatal(err)
	}
	release()
	r.until("it answers", func() bool { return r.answers("b") == digest("one") })
	if m, err := r.Resolve("a"); err != nil || m.Identity() != digest("one")+"@0.25" {
		t.Errorf("%+v, %v", m, err)
	}
	if rec, _ := r.Get("a"); !rec.Pin {
		t.Errorf("%+v", rec)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked["far://a"] != 1 {
		t.Errorf("it was fetched %d times", r.asked["far://a"])
	}
}

// TestProgressIsSeen while it is fetched, and gone after it.
func TestProgressIsSeen(t *testing.T) {
	r := closedRig(t)
	told, seen := make(chan struct{}), make(chan struct{})
	r.fetch = func(_ context.Context, source, _ string, progress func(done, total int64)) (string, func(), error) {
		if strings.HasSuffix(source, "two") {
			progress(1, 2)
			close(told)
			<-seen
		}
		return source, func() {}, nil
	}
	r.open()
	r.put("a", "one")
	ended := r.beginPut(lora.Spec{Name: "a", Source: r.file("two", "two")})
	<-told
	if rec, _ := r.Get("a"); rec.Progress != (lora.Progress{Done: 1, Total: 2}) || rec.State != lora.Downloading ||
		rec.Active == nil {
		t.Errorf("%+v", rec)
	}
	close(seen)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if rec, _ := r.Get("a"); rec.Progress != (lora.Progress{}) {
		t.Errorf("%+v", rec)
	}
}

// pipedUpload uploads what is written to the pipe.
func (r *rig) pipedUpload(ctx context.Context, name string) (w *io.PipeWriter, ended chan error) {
	body, w := io.Pipe()
	ended = make(chan error, 1)
	go func() {
		_, err := r.Upload(ctx, lora.Spec{Name: name}, body, "a.gguf")
		body.Close()
		ended <- err
	}()
	if _, err := io.WriteString(w, "begun, "); err != nil {
		r.t.Fatal(err)
	}
	return w, ended
}

// TestUploadsThatDoNotEnd are given up by whoever sends them, by a newer change or
// by a removal.
func TestUploadsThatDoNotEnd(t *testing.T) {
	for name, c := range map[string]struct {
		happens func(r *rig, cancel func())
		code    lora.Code
		want    string // that answers then
	}{
		"nothing":    {func(*rig, func()) {}, "", "begun, and ended"},
		"cancelled":  {func(_ *rig, cancel func()) { cancel() }, lora.Failed, "before"},
		"superseded": {func(r *rig, _ func()) { r.put("a", "newer") }, lora.Conflict, "newer"},
		"removed":    {func(r *rig, _ func()) { _ = r.Remove("a") }, lora.Conflict, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.put("a", "before")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			w, ended := r.pipedUpload(ctx, "a")
			c.happens(r, cancel)
			_, _ = io.WriteString(w, "and ended")
			w.Close()
			err := <-ended
			if refusal(err) != c.code {
				t.Errorf("%v, want code %q", err, c.code)
			}
			if c.want == "" {
				r.unknown("a")
				if want := "a was removed meanwhile"; err == nil || err.Error() != want {
					t.Errorf("%v, want %s", err, want)
				}
			} else {
				r.want("a", c.want)
			}
			if name == "cancelled" {
				if rec, _ := r.Get("a"); rec.State != lora.Ready || rec.Reason != "it was given up before its end" {
					t.Errorf("%+v", rec)
				}
			}
			if left, err := filepath.Glob(filepath.Join(r.root, "upload-*")); err != nil || len(left) > 0 {
				t.Errorf("left are %v, %v", left, err)
			}
		})
	}
}

// TestUploadThatTheGatewaysEndCuts leaves nothing.
func TestUploadThatTheGatewaysEndCuts(t *testing.T) {
	r := newRig(t)
	w, ended := r.pipedUpload(t.Context(), "a")
	closed := make(chan struct{})
	go func() { defer close(closed); r.Close() }()
	<-r.ctx.Done()
	w.CloseWithError(io.ErrUnexpectedEOF) // as the listener's end does
	<-closed
	if err := <-ended; err == nil {
		t.Error("an upload is taken while the gateway stops")
	}
	if err := r.base.Store.Close(); err != nil {
		t.Fatal(err)
	}
	r.open()
	r.unknown("a")
	if list := r.List(); len(list) > 0 {
		t.Errorf("left are %+v", list)
	}
}

// TestFullDisk fails to store bytes, then records: what there was goes on, and
// all is well when there is room again.
func TestFullDisk(t *testing.T) {
	r := newRig(t)
	r.put("a", "one")
	r.drop("file.gguf", "of the folder")
	r.until("the file", func() bool { return r.answers("file") == digest("of the folder") })
	blobs := filepath.Join(r.root, "state", "blobs")
	if err := os.Rename(blobs, blobs+"-away"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "new"} {
		if rec, err := r.Put(t.Context(), lora.Spec{Name: name,
			Source: r.file("two", "two")}, true); refusal(err) != lora.Failed || rec.Reason == "" {
			t.Errorf("%s: %+v, %v", name, rec, err)
		}
	}
	if _, err := r.Upload(t.Context(), lora.Spec{Name: "a"},
		strings.NewReader("three"), "a.gguf"); refusal(err) != lora.Failed {
		t.Errorf("an upload: %v", err)
	}
	r.drop("file.gguf", "of the folder, anew")
	r.until("the file fails", func() bool { rec, _ := r.Get("file"); return rec.Reason != "" })
	r.want("a", "one")
	r.want("file", "of the folder")
	r.unknown("new")
	if err := os.Rename(blobs+"-away", blobs); err != nil {
		t.Fatal(err)
	}
	r.until("the file is tried again", func() bool { return r.answers("file") == digest("of the folder, anew") })
	r.put("a", "two")
	r.put("new", "two")

	// No page more than there are: a small change may find room, a large one does not.
	pages := func(n int) {
		t.Helper()
		if _, err := r.base.Store.SQL().Exec(fmt.Sprint("PRAGMA max_page_count = ", n)); err != nil {
			t.Fatal(err)
		}
	}
	large := lora.Spec{Name: "a", Source: r.file("three", "three")}
	for i := range 200 {
		large.Aliases = append(large.Aliases, fmt.Sprintf("%s-%d", strings.Repeat("alias", 20), i))
	}
	pages(1)
	if _, err := r.Put(t.Context(), large, true); refusal(err) != lora.Full ||
		!strings.Contains(err.Error(), "the disk is full") || errors.Unwrap(err) == nil {
		t.Errorf("a full database: %v", err)
	}
	r.want("a", "two")
	r.unknown(large.Aliases[0])
	pages(1 << 30)
	if _, err := r.Put(t.Context(), large, true); err != nil {
		t.Fatal(err)
	}
	r.want(large.Aliases[199], "three")
	r.reopen()
	r.want(large.Aliases[199], "three")
}

// TestRollbackThatCannotBeStored changes nothing, and gives nothing up.
func TestRollbackThatCannotBeStored(t *testing.T) {
	r := newRig(t)
	r.put("a", "one")
	r.put("a", "two")
	release := r.hold()
	ended := r.beginPut(lora.Spec{Name: "a", Source: r.file("three", "three")})
	full := func(sql string) {
		t.Helper()
		if _, err := r.base.Store.SQL().Exec(sql); err != nil {
			t.Fatal(err)
		}
	}
	full("CREATE TRIGGER full BEFORE UPDATE ON adapters BEGIN SELECT RAISE(ABORT, 'full'); END")
	if _, err := r.Rollback("a"); refusal(err) != lora.Failed {
		t.Errorf("%v, want it failed", err)
	}
	r.want("a", "two")
	full("DROP TRIGGER full")
	release()
	if err := <-ended; err != nil {
		t.Errorf("what was fetched: %v", err)
	}
	r.want("a", "three")
	release = r.hold()
	ended = r.beginPut(lora.Spec{Name: "a", Source: r.file("four", "four")})
	if _, err := r.Rollback("a"); err != nil {
		t.Fatal(err)
	}
	release()
	if err := <-ended; refusal(err) != lora.Conflict {
		t.Errorf("what a rollback ended: %v", err)
	}
	r.want("a", "two")
}

// TestBytesDuringIngest stay while they are nobody's yet.
func TestBytesDuringIngest(t *testing.T) {
	r := newRig(t)
	r.jobs.same = func(*records.Pending) bool { // is asked between the storing of bytes and of the record
		if r.blobs.storing.TryLock() {
			r.blobs.storing.Unlock()
			t.Error("the bytes could be deleted")
		}
		return true
	}
	r.List() // so that whoever follows the folder sees it
	r.drop("a.gguf", "one")
	r.until("it is there", func() bool { return r.answers("a") == digest("one") })
	r.collect()
	r.want("a", "one")
	if !r.base.Store.Blobs().Has(digest("one"), 3) {
		t.Error("the bytes are gone")
	}
	// What was too large is not kept.
	r.opts.MaxBytes = 3
	r.reopen()
	if _, err := r.Put(t.Context(),
		lora.Spec{Name: "b", Source: r.file("four", "four")}, true); refusal(err) != lora.TooLarge {
		t.Error(err)
	}
	if r.base.Store.Blobs().Has(digest("four"), 4) {
		t.Error("what no worker can load takes room")
	}
}

// TestBytesStayWhileAnybodyHasThem: another model, an older version, one that is
// staged, one whose name belongs to another.
func TestBytesStayWhileAnybodyHasThem(t *testing.T) {
	r := closedRig(t)
	r.base.KeepVersions = 2
	r.open()
	r.put("lost", "of lost")
	r.opts.Entries = []lora.Spec{{Name: "lost", Source: r.file("lost", "of the configuration")}}
	r.reopen()
	for _, content := range []string{"pruned", "older", "shared"} {
		r.put("a", content)
	}
	r.put("b", "shared")
	r.put("c", "loaded")
	r.load("loaded")
	if _, err := r.Put(t.Context(), lora.Spec{Name: "c", Source: r.file("staged", "staged")}, false); err != nil {
		t.Fatal(err)
	}
	r.until("it is staged", func() bool { rec, _ := r.Get("c"); return rec.Staged != nil })
	if err := r.Remove("b"); err != nil {
		t.Fatal(err)
	}
	r.collect()
	for content, want := range map[string]bool{
		"pruned": false, "older": true, "shared": true, "loaded": true, "staged": true, "of lost": true,
		"of the configuration": true,
	} {
		if got := r.base.Store.Blobs().Has(digest(content), int64(len(content))); got != want {
			t.Errorf("%s is there: %t", content, got)
		}
	}
}
