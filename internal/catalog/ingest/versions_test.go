package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

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

// TestOldBytesAgain are the newest version, so that a rollback goes to what
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

// TestBadSourcesChangeNothing refuses, and keeps what there was.
func TestBadSourcesChangeNothing(t *testing.T) {
	r := newRig(t)
	if _, err := r.Put(t.Context(), lora.Spec{Name: "a"}, true); refusal(err) != lora.Invalid ||
		err.Error() != "a: an adapter needs a source" {
		t.Errorf("no source: %v", err)
	}
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
	if _, err := r.Put(t.Context(),
		lora.Spec{Name: "large", Source: r.file("large", "large")}, true); refusal(err) != lora.TooLarge {
		t.Errorf("more than a worker can load: %v", err)
	}
}

// TestChangesDuringIngest puts and removes what is being fetched.
func TestChangesDuringIngest(t *testing.T) {
	r := newRig(t)
	release := r.hold()
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
	release()
	if err := <-second; err != nil {
		t.Error(err)
	}
	r.want("a", "two")
	r.unknown("b")

	release = r.hold()
	left := begin("c", "three")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := r.Put(ctx, lora.Spec{Name: "d", Source: r.file("d", "four")}, true)
	if !errors.Is(err, context.Canceled) {
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
	release()
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
