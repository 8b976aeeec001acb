package store

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestStatesOfEqualSizeAndTime differ all the same.
func TestStatesOfEqualSizeAndTime(t *testing.T) {
	dir, then := t.TempDir(), time.Now().Add(-time.Hour).Truncate(time.Second)
	path, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	write := func(path, text string) error {
		return errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chtimes(path, then, then))
	}
	state := func(path string) string {
		t.Helper()
		s, err := StateOf(path)
		if err != nil {
			t.Fatal(err)
		}
		return s.String()
	}
	before, inode := "", map[string]string{}
	for _, change := range []struct {
		what string
		make func() error
	}{
		{"it is new", func() error { return write(path, "one") }},
		{"written over in place", func() error { return write(path, "two") }},
		{"another moved over it", func() error {
			return errors.Join(write(path+".new", "six"), os.Rename(path+".new", path))
		}},
	} {
		time.Sleep(20 * time.Millisecond) // the kernel's clock of files has steps
		if err := change.make(); err != nil {
			t.Fatal(err)
		}
		if now := state(path); now == before {
			t.Errorf("%s: it still is %s", change.what, now)
		} else {
			before = now
		}
	}
	for _, to := range []string{"a", "b"} {
		target := filepath.Join(dir, to)
		if err := errors.Join(os.Link(path, target), os.Symlink(target, link)); err != nil {
			t.Fatal(err)
		}
		inode[state(link)] = to
		if err := os.Remove(link); err != nil {
			t.Fatal(err)
		}
	}
	if len(inode) != 2 {
		t.Errorf("a link turned to another name is %v", inode)
	}
	if _, err := StateOf(dir); !errors.Is(err, ErrNotRegular) {
		t.Error(err)
	}
	if _, err := StateOf(link); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// TestSecondsAreUnsure for as long as another change may get the same one.
func TestSecondsAreUnsure(t *testing.T) {
	second := time.Unix(1000, 0)
	for _, c := range []struct {
		changed, now time.Time
		want         bool
	}{
		{second, second, true}, {second, second.Add(2 * time.Second), true}, {second, second.Add(-time.Second), true},
		{second, second.Add(3 * time.Second), false}, {second, second.Add(-time.Hour), false},
		{second.Add(1), second.Add(2), false},
	} {
		if s := (FileState{changed: c.changed.UnixNano()}); s.Unsure(c.now) != c.want {
			t.Errorf("changed %v, at %v: %t", c.changed, c.now, !c.want)
		}
	}
}
