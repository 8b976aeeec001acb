package ingest

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/lora"
)

// TestFolderIsFollowed adds, replaces and removes files of the watched folder.
func TestFolderIsFollowed(t *testing.T) {
	for name, options := range map[string]struct{ settle, rescan time.Duration }{
		"told of changes": {10 * time.Millisecond, time.Hour},
		"by looking":      {time.Millisecond, 5 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.Close()
			r.opts.Settle, r.opts.Rescan = options.settle, options.rescan
			r.reopen()
			r.drop("a.gguf", "one")
			r.until("a", func() bool { return r.answers("a") == digest("one") })
			r.drop("a.gguf", "two, longer")
			r.until("a anew", func() bool { return r.answers("a") == digest("two, longer") })
			r.drop("b.tar.gz", "archive")
			r.until("b", func() bool { return r.answers("b") == digest("archive") })
			if err := os.Rename(filepath.Join(r.opts.Dir, "b.tar.gz"), filepath.Join(r.opts.Dir, "c.zip")); err != nil {
				t.Fatal(err)
			}
			r.until("c for b", func() bool {
				return r.answers("c") == digest("archive") && r.answers("b") != digest("archive")
			})
			if err := os.Remove(filepath.Join(r.opts.Dir, "a.gguf")); err != nil {
				t.Fatal(err)
			}
			r.until("a to go", func() bool { _, there := r.Get("a"); return !there })
			r.unknown("a", "b")
			r.drop("a.gguf", "bad file")
			r.until("a to be rejected", func() bool { rec, _ := r.Get("a"); return rec.State == lora.Rejected })
			r.drop("a.gguf", "good file")
			r.until("a to be mended", func() bool { return r.answers("a") == digest("good file") })
		})
	}
}

// lookedAtRig is a rig whose folder is read when the test says so.
func lookedAtRig(t *testing.T) (*rig, *folder) {
	t.Helper()
	r := closedRig(t)
	dir := r.opts.Dir
	r.opts.Dir = ""
	r.open()
	r.folder.path = dir
	return r, r.folder
}

// TestGrowingFileIsLeftAlone looks at a file that is being written: read is
// called as the watch would, so that the moments are the test's.
func TestGrowingFileIsLeftAlone(t *testing.T) {
	r, f := lookedAtRig(t)
	path := filepath.Join(f.path, "a.gguf")
	look := func() (begun int, again bool) {
		again = f.read(nil)
		r.until("it is read", func() bool { rec, _ := r.Get("a"); return rec.State != lora.Downloading })
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.asked[path], again
	}
	for i := range 3 {
		if err := os.WriteFile(path, []byte(strings.Repeat("x", i+1)), 0o600); err != nil {
			t.Fatal(err)
		}
		if begun, again := look(); begun != 0 || !again {
			t.Fatalf("look %d: read %d times, again %t", i, begun, again)
		}
	}
	if begun, _ := look(); begun != 1 {
		t.Errorf("a file that stays the same was read %d times", begun)
	}
	if begun, again := look(); begun != 1 || again {
		t.Errorf("a file that is known was read %d times, again %t", begun, again)
	}
}

// TestFileThatChangesWhileItIsRead is not served as a mixture.
func TestFileThatChangesWhileItIsRead(t *testing.T) {
	r := newRig(t)
	r.mu.Lock()
	r.block = make(chan struct{})
	r.mu.Unlock()
	r.drop("a.gguf", "one")
	r.until("a to be read", func() bool {
		rec, _ := r.Get("a")
		return rec.Progress.Done > 0 ||
			rec.State == lora.Downloading
	})
	r.drop("a.gguf", "two, longer")
	close(r.block)
	r.until("the second", func() bool { return r.answers("a") == digest("two, longer") })
	if rec, _ := r.Get("a"); len(rec.Versions) != 1 {
		t.Errorf("it has the versions %+v", rec.Versions)
	}
}

func TestFolderOfPEFT(t *testing.T) {
	r := newRig(t)
	r.Close()
	r.opts.Sources = nil // not asked before the weights are there
	dir := filepath.Join(r.opts.Dir, "trained")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(name, content string) (print string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		found, err := scan(r.opts.Dir)
		if err != nil || len(found) != 1 || found[0].Name != "trained" {
			t.Fatalf("%+v, %v", found, err)
		}
		return found[0].Print
	}
	one := write("adapter_config.json", "{}")
	two := write("adapter_model.safetensors", "weights")
	three := write("adapter_model.safetensors", "longer weights")
	if other := write("optimizer.pt", "not the adapter's"); one == two || two == three || other != three {
		t.Errorf("prints %q, %q, %q, %q", one, two, three, other)
	}
}

// TestOddFiles are not adapters, or cannot have their name.
func TestOddFiles(t *testing.T) {
	r := newRig(t)
	r.put("api", "of the API")
	target := r.file("target", "linked")
	dir := r.opts.Dir
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe.gguf"), 0o600); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"link.gguf": target, "dangling.gguf": filepath.Join(r.root, "nothing"),
		"folder.gguf": r.root} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{".hidden.gguf", "notes.txt", "no-suffix", "two words.gguf", "snow☃.gguf",
		"base.gguf", "api.gguf", "twice.gguf", "twice.zip", ".gguf"} {
		r.drop(name, "content of "+name)
	}
	if err := os.Mkdir(filepath.Join(dir, "just-a-folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	r.drop("last.gguf", "last")
	r.until("the last", func() bool {
		return r.answers("last") == digest("last") && r.answers("link") == digest("linked") &&
			r.answers("twice") == digest("content of twice.gguf") // the first by name
	})
	r.want("api", "of the API")
	r.unknown("pipe", "dangling", "hidden", "notes", "no-suffix", "just-a-folder", "folder")
	reasons := map[string]string{}
	for _, rec := range r.List() {
		if rec.State == lora.Rejected {
			reasons[filepath.Base(rec.Source)] = rec.Reason
		}
	}
	for file, part := range map[string]string{
		"two words.gguf": "cannot name a model", "snow☃.gguf": "cannot name a model",
		"base.gguf": "taken by the base model",
		"api.gguf":  `taken by "api"`, "twice.zip": "taken by the file twice.gguf",
		"pipe.gguf": "neither a file nor a folder", "dangling.gguf": "a link to " + filepath.Join(r.root, "nothing"),
		"folder.gguf": "the folder has base.bin but no adapter_config.json", "just-a-folder": "the folder is empty",
		"no-suffix": "none of .gguf, .zip, .tar, .tar.gz and .tgz",
	} {
		if !strings.Contains(reasons[file], part) {
			t.Errorf("%s: %q does not say %q", file, reasons[file], part)
		}
	}
	if len(reasons) != 10 {
		t.Errorf("rejected are %v", reasons)
	}
	if err := r.Remove("last"); refusal(err) != lora.Conflict || !strings.Contains(err.Error(), "last.gguf") {
		t.Errorf("removing a file's model over the API: %v", err)
	}
	if err := r.Remove("api"); err != nil {
		t.Fatal(err)
	}
	r.until("the file has its name", func() bool { return r.answers("api") == digest("content of api.gguf") })
}

// TestFolderThatGoesAway keeps its models until it is back.
func TestFolderThatGoesAway(t *testing.T) {
	r := newRig(t)
	r.drop("a.gguf", "one")
	r.until("a", func() bool { return r.answers("a") == digest("one") })
	away := r.opts.Dir + "-away"
	if err := os.Rename(r.opts.Dir, away); err != nil {
		t.Fatal(err)
	}
	r.untilLogged("adapters.dir cannot be read")
	r.want("a", "one")
	if err := os.WriteFile(filepath.Join(away, "b.gguf"), []byte("two"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(away, r.opts.Dir); err != nil {
		t.Fatal(err)
	}
	r.until("b", func() bool { return r.answers("b") == digest("two") })
	r.want("a", "one")
}

// TestOriginsAtTheStart lets the configuration, the folder and the API have one
// name: in this order.
func TestOriginsAtTheStart(t *testing.T) {
	r := newRig(t)
	r.put("a", "of the API")
	r.put("b", "of the API")
	r.Close()
	r.drop("a.gguf", "of the folder")
	r.drop("c.gguf", "of the folder")
	r.opts.Entries = []lora.Spec{{Name: "b", Source: r.file("b", "of the configuration")},
		{Name: "c", Source: r.file("c", "of the configuration")}}
	r.reopen()
	r.want("a", "of the folder")
	r.want("b", "of the configuration")
	r.want("c", "of the configuration")
	lost := 0
	for _, rec := range r.List() {
		if rec.State == lora.Rejected && strings.Contains(rec.Reason, "is taken by") {
			lost++
		}
	}
	if lost != 3 {
		t.Errorf("%d lost their names: %+v", lost, r.List())
	}
	r.collect()
	// The API's were not forgotten: they are back as soon as their names are free.
	if err := os.Remove(filepath.Join(r.opts.Dir, "a.gguf")); err != nil {
		t.Fatal(err)
	}
	r.until("a is the API's", func() bool { return r.answers("a") == digest("of the API") })
	if err := r.Remove("b"); err != nil { // the API's own, not the configuration's
		t.Errorf("removing what lost its name: %v", err)
	}
	r.want("b", "of the configuration")
	r.opts.Entries = nil
	r.reopen()
	r.unknown("b")
	r.want("a", "of the API")
	r.want("c", "of the folder")
}
