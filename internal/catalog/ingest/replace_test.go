package ingest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/loragate/loragate/internal/lora"
)

// stamp is the time that all files of these tests have, as all adapters of one rank have one
// size.
var stamp = time.Now().Add(-time.Hour).Truncate(time.Second)

// stamped writes a file in place, with folders as they are needed, and gives it the time.
func stamped(path, text string) error {
	return errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600),
		os.Chtimes(path, stamp, stamp))
}

// turned makes a link lead to another place, at once, as ln -sfn does not.
func turned(link, to string) error {
	return errors.Join(os.Symlink(to, link+".new"), os.Rename(link+".new", link))
}

// replacements are ways in which the file or folder "a" at a place comes to have other
// weights, of equal size and time. Both are told a place for what lies elsewhere.
var replacements = map[string]struct {
	entry         string // what is served
	before, after func(place, elsewhere string) error
	untold        bool // by what watches
}{
	"written over": {"a.gguf",
		func(place, _ string) error { return stamped(filepath.Join(place, "a.gguf"), "one") },
		func(place, _ string) error { return stamped(filepath.Join(place, "a.gguf"), "two") }, false},
	"moved over": {"a.gguf",
		func(place, _ string) error { return stamped(filepath.Join(place, "a.gguf"), "one") },
		func(place, elsewhere string) error {
			return errors.Join(stamped(filepath.Join(elsewhere, "x"), "two"),
				os.Rename(filepath.Join(elsewhere, "x"), filepath.Join(place, "a.gguf")))
		}, false},
	"as rsync -t does": {"a.gguf",
		func(place, _ string) error { return stamped(filepath.Join(place, "a.gguf"), "one") },
		func(place, _ string) error {
			return errors.Join(stamped(filepath.Join(place, ".a.gguf.X1"), "two"),
				os.Rename(filepath.Join(place, ".a.gguf.X1"), filepath.Join(place, "a.gguf")))
		}, false},
	"a link that turns": {"a.gguf",
		func(place, elsewhere string) error {
			return errors.Join(stamped(filepath.Join(elsewhere, "1.gguf"), "one"),
				stamped(filepath.Join(elsewhere, "2.gguf"), "two"),
				turned(filepath.Join(place, "a.gguf"), filepath.Join(elsewhere, "1.gguf")))
		},
		func(place, elsewhere string) error {
			return turned(filepath.Join(place, "a.gguf"), filepath.Join(elsewhere, "2.gguf"))
		}, false},
	"a link's file elsewhere": {"a.gguf",
		func(place, elsewhere string) error {
			return errors.Join(stamped(filepath.Join(elsewhere, "1.gguf"), "one"),
				turned(filepath.Join(place, "a.gguf"), filepath.Join(elsewhere, "1.gguf")))
		},
		func(_, elsewhere string) error { return stamped(filepath.Join(elsewhere, "1.gguf"), "two") }, true},
	"a mounted ConfigMap": {"a.gguf",
		func(place, _ string) error {
			return errors.Join(stamped(filepath.Join(place, "..1", "a.gguf"), "one"),
				turned(filepath.Join(place, "..data"), "..1"), turned(filepath.Join(place, "a.gguf"), "..data/a.gguf"))
		},
		func(place, _ string) error {
			return errors.Join(stamped(filepath.Join(place, "..2", "a.gguf"), "two"),
				turned(filepath.Join(place, "..data"), "..2"), os.RemoveAll(filepath.Join(place, "..1")))
		}, false},
	"the weights of a folder": {"a", folderAt("a", "one"), func(place, _ string) error {
		return stamped(filepath.Join(place, "a", weightsName), "two")
	}, false},
	"a folder's weights moved over": {"a", folderAt("a", "one"), func(place, _ string) error {
		return errors.Join(stamped(filepath.Join(place, "a", ".x"), "two"),
			os.Rename(filepath.Join(place, "a", ".x"), filepath.Join(place, "a", weightsName)))
	}, false},
	"a folder moved over": {"a", folderAt("a", "one"), func(place, elsewhere string) error {
		return errors.Join(folderAt("b", "two")(elsewhere, ""), os.Rename(filepath.Join(place, "a"),
			filepath.Join(elsewhere, "old")), os.Rename(filepath.Join(elsewhere, "b"), filepath.Join(place, "a")))
	}, false},
	"a folder's link that turns": {"a",
		func(place, elsewhere string) error {
			return errors.Join(folderAt("1", "one")(elsewhere, ""), folderAt("2", "two")(elsewhere, ""),
				turned(filepath.Join(place, "a"), filepath.Join(elsewhere, "1")))
		},
		func(place, elsewhere string) error {
			return turned(filepath.Join(place, "a"), filepath.Join(elsewhere, "2"))
		}, false},
	"behind a link that turns": {"a",
		func(place, elsewhere string) error {
			return errors.Join(folderAt("1", "one")(elsewhere, ""), folderAt("2", "two")(elsewhere, ""),
				turned(filepath.Join(elsewhere, "current"), "1"),
				turned(filepath.Join(place, "a"), filepath.Join(elsewhere, "current")))
		},
		func(_, elsewhere string) error { return turned(filepath.Join(elsewhere, "current"), "2") }, true},
	"files of a mounted ConfigMap": {"a",
		func(place, _ string) error {
			in := filepath.Join(place, "a")
			return errors.Join(folderAt("..1", "one")(in, ""), turned(filepath.Join(in, "..data"), "..1"),
				turned(filepath.Join(in, configName), "..data/"+configName),
				turned(filepath.Join(in, weightsName), "..data/"+weightsName))
		},
		func(place, _ string) error {
			in := filepath.Join(place, "a")
			return errors.Join(folderAt("..2", "two")(in, ""), turned(filepath.Join(in, "..data"), "..2"))
		}, false},
}

// folderAt makes a folder of PEFT.
func folderAt(name, weights string) func(place, elsewhere string) error {
	return func(place, _ string) error {
		return errors.Join(stamped(filepath.Join(place, name, configName), "{}"),
			stamped(filepath.Join(place, name, weightsName), weights))
	}
}

// TestReplacementsAreNoticed by size and time they are none.
func TestReplacementsAreNoticed(t *testing.T) {
	for name, c := range replacements {
		for how, rescan := range map[string]time.Duration{"told": 0, "by looking": 20 * time.Millisecond} {
			if c.untold && rescan == 0 {
				continue
			}
			t.Run(name+", "+how, func(t *testing.T) {
				t.Parallel()
				r := closedRig(t)
				r.opts.Rescan = rescan
				place, elsewhere := r.opts.Dir, filepath.Join(r.root, "elsewhere")
				if err := errors.Join(os.MkdirAll(elsewhere, 0o700), c.before(place, elsewhere)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Millisecond) // the kernel's clock of files has steps
				r.open()
				r.want("a", "one")
				if err := c.after(place, elsewhere); err != nil {
					t.Fatal(err)
				}
				r.until("the second", func() bool { return r.answers("a") == digest("two") })
			})
		}
		t.Run(name+", of the configuration", func(t *testing.T) {
			t.Parallel()
			r := closedRig(t)
			place, elsewhere := filepath.Join(r.root, "place"), filepath.Join(r.root, "elsewhere")
			r.opts.Dir = ""
			r.opts.Entries = []lora.Spec{{Name: "a", Source: filepath.Join(place, c.entry)}}
			if err := errors.Join(os.MkdirAll(elsewhere, 0o700), os.MkdirAll(place, 0o700),
				c.before(place, elsewhere)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
			r.open()
			r.reopen() // what was kept is followed, too
			r.want("a", "one")
			if err := c.after(place, elsewhere); err != nil {
				t.Fatal(err)
			}
			r.until("the second", func() bool { return r.answers("a") == digest("two") })
			reads := func() int { r.mu.Lock(); defer r.mu.Unlock(); return r.asked[r.opts.Entries[0].Source] }
			before := reads()
			r.reopen()
			r.want("a", "two")
			if n := reads() - before; n != 0 {
				t.Errorf("after a restart it was read %d times", n)
			}
		})
	}
}

// TestConfigurationOfAFolderCounts: what it says is in the bytes that are made.
func TestConfigurationOfAFolderCounts(t *testing.T) {
	r := newRig(t)
	if err := folderAt("a", "one")(r.opts.Dir, ""); err != nil {
		t.Fatal(err)
	}
	r.until("a", func() bool { return r.answers("a") == digest("one") })
	path := filepath.Join(r.opts.Dir, "a")
	read := func() int { r.mu.Lock(); defer r.mu.Unlock(); return r.asked[path] }
	before := read()
	if err := stamped(filepath.Join(path, configName), "[]"); err != nil {
		t.Fatal(err)
	}
	r.until("it is read", func() bool { return read() > before })
}

// TestFileOfTheConfigurationThatGoes leaves what it brought, and one that is refused as well.
func TestFileOfTheConfigurationThatGoes(t *testing.T) {
	r := closedRig(t)
	path := r.file("a", "one")
	r.opts.Entries = []lora.Spec{{Name: "a", Source: path}}
	r.open()
	r.file("a", "bad bytes")
	r.until("it is refused", func() bool { rec, _ := r.Get("a"); return strings.Contains(rec.Reason, "bad bytes") })
	r.want("a", "one")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * r.opts.Rescan)
	r.want("a", "one")
	r.file("a", "two")
	r.until("it is back", func() bool { return r.answers("a") == digest("two") })
}

// TestWhatIsWrittenIsReadWhateverItsPrint on file systems without numbers and times that
// would tell: the watcher's word is enough, and its silence, too.
func TestWhatIsWrittenIsReadWhateverItsPrint(t *testing.T) {
	r, f := lookedAtRig(t)
	path := filepath.Join(f.path, "a.gguf")
	if err := os.WriteFile(path, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	looks := func(n int) (reads int) {
		for range n {
			f.read(nil)
			r.until("it is read", func() bool { rec, _ := r.Get("a"); return rec.State != lora.Downloading })
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.asked[path]
	}
	if reads := looks(3); reads != 1 {
		t.Fatalf("it was read %d times", reads)
	}
	for i, event := range []fsnotify.Event{{Name: path, Op: fsnotify.Write}, {Name: path, Op: fsnotify.Create}} {
		f.note(event)
		if reads := looks(4); reads != 2+i {
			t.Errorf("after %v it was read %d times", event, reads)
		}
	}
	f.note(fsnotify.Event{Name: path, Op: fsnotify.Chmod})
	f.note(fsnotify.Event{Name: filepath.Join(path, "optimizer.pt"), Op: fsnotify.Write})
	if reads := looks(3); reads != 3 {
		t.Errorf("it was read %d times", reads)
	}
	f.note(fsnotify.Event{Name: filepath.Join(path, weightsName), Op: fsnotify.Write})
	if reads := looks(3); reads != 4 {
		t.Errorf("it was read %d times", reads)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if f.read(nil); len(f.written) != 0 {
		t.Errorf("counted are %v", f.written)
	}
}
