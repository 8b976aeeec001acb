package ingest

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/loragate/loragate/internal/lora"
)

// toldRig is a rig that learns of changes in the folder by being told only.
func toldRig(t *testing.T) *rig {
	t.Helper()
	r := closedRig(t)
	r.opts.Rescan = 0
	r.open()
	return r
}

// TestSettleIsWaitedFor however often the folder is read. The clock is the test's.
func TestSettleIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := closedRig(t)
		dir := r.opts.Dir
		r.opts.Dir, r.opts.Settle, r.opts.Rescan = "", 500*time.Millisecond, 90*time.Millisecond
		r.open()
		r.folder.path = dir
		r.jobs.wg.Go(func() { r.folder.run(r.ctx, nil) }) // what tells of changes has a clock of its own
		path := filepath.Join(dir, "a.gguf")
		begun := time.Now()
		at := func(ms int, want string) {
			t.Helper()
			time.Sleep(time.Duration(ms)*time.Millisecond - time.Since(begun))
			synctest.Wait()
			if got := r.answers("a"); got != want {
				t.Errorf("after %d ms it is answered by %q, want %q", ms, got, want)
			}
		}
		none := r.answers("a")
		write := func(content string) {
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		at(50, none)
		write("half")
		at(500, none)  // seen at 90 ms
		write("whole") // seen at 590 ms
		at(1080, none)
		at(1100, digest("whole"))
		write("whole, and anew") // seen at 1170 ms
		at(1660, digest("whole"))
		at(1680, digest("whole, and anew"))
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		at(1780, none)
		write("whole, and anew")
		at(2200, none)
		at(2400, digest("whole, and anew"))
		if r.asked[path] != 3 {
			t.Errorf("it was read %d times", r.asked[path])
		}
	})
}

// TestFolderIsFollowedWhereverItIs: it goes, and another one comes in its place.
func TestFolderIsFollowedWhereverItIs(t *testing.T) {
	for name, c := range map[string]struct{ leave, back func(dir string) error }{
		"deleted and made": {os.RemoveAll, func(dir string) error { return os.Mkdir(dir, 0o700) }},
		"moved and moved back": {
			func(dir string) error { return os.Rename(dir, dir+"-away") },
			func(dir string) error {
				return errors.Join(os.Remove(filepath.Join(dir+"-away", "a.gguf")), os.Rename(dir+"-away", dir))
			},
		},
		"moved and made": {func(dir string) error { return os.Rename(dir, dir+"-away") },
			func(dir string) error { return os.Mkdir(dir, 0o700) }},
	} {
		t.Run(name, func(t *testing.T) {
			r := toldRig(t)
			r.drop("a.gguf", "one")
			r.until("a", func() bool { return r.answers("a") == digest("one") })
			if err := c.leave(r.opts.Dir); err != nil {
				t.Fatal(err)
			}
			r.untilLogged("adapters.dir cannot be read")
			if name != "deleted and made" { // its files may go one by one
				r.want("a", "one")
			}
			if err := c.back(r.opts.Dir); err != nil {
				t.Fatal(err)
			}
			r.drop("b.gguf", "two")
			r.until("what it has now", func() bool { _, a := r.Get("a"); return !a && r.answers("b") == digest("two") })
			r.untilLogged("adapters.dir can be read again")
			r.drop("c.gguf", "three")
			r.until("what comes then", func() bool { return r.answers("c") == digest("three") })
		})
	}
}

// TestLinkedFolderIsFollowed when the link is turned to another one.
func TestLinkedFolderIsFollowed(t *testing.T) {
	r := closedRig(t)
	link := filepath.Join(r.root, "link")
	next := filepath.Join(r.root, "next")
	if err := errors.Join(os.Symlink(r.opts.Dir, link), os.Mkdir(next, 0o700)); err != nil {
		t.Fatal(err)
	}
	r.drop("a.gguf", "one")
	r.drop("b.gguf", "two")
	r.opts.Dir = link
	r.open()
	r.want("a", "one")
	r.opts.Dir = next
	r.drop("a.gguf", "one, anew")
	turned := filepath.Join(r.root, "turned")
	if err := errors.Join(os.Symlink(next, turned), os.Rename(turned, link)); err != nil {
		t.Fatal(err)
	}
	r.until("the other folder", func() bool { _, b := r.Get("b"); return !b && r.answers("a") == digest("one, anew") })
}

// TestFolderThatFillsSlowly has its weights first, and says only later that it is
// an adapter.
func TestFolderThatFillsSlowly(t *testing.T) {
	r := toldRig(t)
	dir := filepath.Join(r.opts.Dir, "trained")
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write("adapter_model.safetensors", "weights")
	r.drop("b.gguf", "two")
	r.until("the folder was read", func() bool { return r.answers("b") == digest("two") })
	r.unknown("trained")
	write("adapter_config.json", "{}")
	r.until("it is an adapter", func() bool { return r.answers("trained") == digest("weights") })
	write("adapter_model.safetensors", "better weights")
	r.until("it is a better one", func() bool { return r.answers("trained") == digest("better weights") })
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	r.until("it is gone", func() bool { _, there := r.Get("trained"); return !there })
}

// TestFileThatVanishesWhileItIsRead leaves nothing.
func TestFileThatVanishesWhileItIsRead(t *testing.T) {
	r := toldRig(t)
	for _, vanish := range []func(path string) error{
		os.Remove,
		func(path string) error { return os.Rename(path, path+".old") },
		func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
	} {
		release := r.hold()
		r.drop("a.gguf", "one")
		r.until("a to be read", func() bool { rec, _ := r.Get("a"); return rec.State == lora.Downloading })
		path := filepath.Join(r.opts.Dir, "a.gguf")
		if err := vanish(path); err != nil {
			t.Fatal(err)
		}
		release()
		r.until("a to go", func() bool { _, there := r.Get("a"); return !there })
		r.unknown("a")
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	r.collect()
	if list, err := r.base.Store.Blobs().List(); err != nil || len(list) > 0 {
		t.Errorf("left are %v, %v", list, err)
	}
}

// TestFileThatCannotBeRead is taken when it can be, and what it replaces goes on.
func TestFileThatCannotBeRead(t *testing.T) {
	r := newRig(t)
	path := filepath.Join(r.opts.Dir, "a.gguf")
	r.set(r.failed, path)
	r.drop("a.gguf", "one")
	r.until("a to fail", func() bool {
		rec, _ := r.Get("a")
		return rec.State == lora.Rejected && rec.Reason == "it cannot be read now"
	})
	r.unset(r.failed, path)
	r.until("a to be read", func() bool { return r.answers("a") == digest("one") })
	// It cannot even be seen what it is.
	if err := errors.Join(os.Remove(path), os.Symlink("a.gguf", path)); err != nil {
		t.Fatal(err)
	}
	r.drop("b.gguf", "two")
	r.until("b", func() bool { return r.answers("b") == digest("two") })
	r.want("a", "one")
	r.reopen()
	r.want("a", "one")
	r.drop("a.gguf", "one, anew")
	r.until("a anew", func() bool { return r.answers("a") == digest("one, anew") })
	// It is certain that a pipe is no adapter.
	if err := errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)); err != nil {
		t.Fatal(err)
	}
	r.until("a to go", func() bool { _, there := r.Get("a"); return !there })

	dir := filepath.Join(r.opts.Dir, "trained")
	config := filepath.Join(dir, "adapter_config.json")
	if err := errors.Join(os.Mkdir(dir, 0o700),
		os.WriteFile(filepath.Join(dir, "adapter_model.safetensors"), []byte("weights"), 0o600), os.WriteFile(config,
			nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	r.until("a folder", func() bool { return r.answers("trained") == digest("weights") })
	if err := errors.Join(os.Remove(config), os.Symlink("adapter_config.json", config)); err != nil {
		t.Fatal(err)
	}
	r.drop("c.gguf", "three")
	r.until("c", func() bool { return r.answers("c") == digest("three") })
	r.want("trained", "weights")
}

// TestFilesThatTakeTurns have one name, and each is taken when it is its turn.
func TestFilesThatTakeTurns(t *testing.T) {
	r := newRig(t)
	aside := filepath.Join(r.root, "aside")
	gguf := filepath.Join(r.opts.Dir, "a.gguf")
	r.drop("a.gguf", "of the gguf")
	r.drop("a.zip", "of the zip")
	for range 2 {
		r.until("the first by name", func() bool { return r.answers("a") == digest("of the gguf") })
		if err := os.Rename(gguf, aside); err != nil {
			t.Fatal(err)
		}
		r.until("the other one", func() bool { return r.answers("a") == digest("of the zip") })
		if rec, _ := r.Get("a"); filepath.Base(rec.Source) != "a.zip" || rec.State != lora.Ready {
			t.Errorf("%+v", rec)
		}
		if err := os.Rename(aside, gguf); err != nil {
			t.Fatal(err)
		}
	}
	r.until("the first by name", func() bool { return r.answers("a") == digest("of the gguf") })
}

// TestFileHasItsNameWhenItIsFree, though nothing happens in the folder then.
func TestFileHasItsNameWhenItIsFree(t *testing.T) {
	r := toldRig(t)
	r.put("a", "of the API")
	if err := r.Configure([]lora.Spec{{Name: "x", Settings: lora.Settings{Aliases: []string{"b"}},
		Source: r.file("x", "of the configuration")}}); err != nil {
		t.Fatal(err)
	}
	r.until("the entry", func() bool { return r.answers("b") == digest("of the configuration") })
	for _, name := range []string{"a.gguf", "b.gguf", "two words.gguf"} {
		r.drop(name, "content of "+name)
	}
	r.until("the files were seen", func() bool { return len(r.List()) == 5 })
	if err := r.Remove("a"); err != nil {
		t.Fatal(err)
	}
	r.until("the first", func() bool { return r.answers("a") == digest("content of a.gguf") })
	r.want("b", "of the configuration")
	if err := r.Configure(nil); err != nil {
		t.Fatal(err)
	}
	r.until("the second", func() bool { return r.answers("b") == digest("content of b.gguf") })
	if rec, _ := r.Get("x"); rec.Name != "" || len(r.List()) != 3 {
		t.Errorf("there are %+v", r.List())
	}
}

// TestWhatIsKnownOfFilesGoesWithThem: a folder through which thousands of files
// come and go is followed for ever.
func TestWhatIsKnownOfFilesGoesWithThem(t *testing.T) {
	r, f := lookedAtRig(t)
	r.opts.Dir = f.path
	r.drop("taken.gguf", "one")
	f.read(nil)
	r.drop("moving.gguf", "two")
	f.read(nil)
	if list := r.List(); len(list) != 1 || len(f.waiting) != 1 {
		t.Fatalf("known are %v and %v", list, f.waiting)
	}
	for _, name := range []string{"taken.gguf", "moving.gguf"} {
		if err := os.Remove(filepath.Join(f.path, name)); err != nil {
			t.Fatal(err)
		}
	}
	f.read(nil)
	if list := r.List(); len(list)+len(f.waiting) > 0 {
		t.Errorf("known are %v and %v", list, f.waiting)
	}
}
