package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fsnotify/fsnotify"
)

// fileWatch notices when a path leads to other content. It watches folders: the
// file itself may be replaced, and of the symbolic links on the way to it each
// may be pointed elsewhere, which is how Kubernetes updates files. One goroutine
// uses it; nil is a fileWatch that notices nothing.
type fileWatch struct {
	path    string // absolute
	watcher *fsnotify.Watcher
	names   []string    // the links on the way, and the file
	last    os.FileInfo // of the file when it was looked at last, nil for none
	failed  string      // why not all folders are watched; "" if they are
}

// watchFile watches path, which is absolute, until close.
func watchFile(path string) (*fileWatch, error) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	w := &fileWatch{path: path, watcher: watcher}
	if err := w.follow(); err != nil {
		watcher.Close()
		return nil, err
	}
	w.last = stat(path)
	return w, nil
}

func (w *fileWatch) close() { w.watcher.Close() }

func (w *fileWatch) events() <-chan fsnotify.Event {
	if w == nil {
		return nil
	}
	return w.watcher.Events
}

func (w *fileWatch) errors() <-chan error {
	if w == nil {
		return nil
	}
	return w.watcher.Errors
}

// changed reports whether the file may have changed with event: events of others
// in the same folders do not count. The error says why later changes may go
// unnoticed; the same is returned once.
func (w *fileWatch) changed(event fsnotify.Event) (bool, error) {
	named := slices.Contains(w.names, event.Name)
	err := w.follow()
	// Most others are told by the name alone; a folder that was renamed is not.
	now := stat(w.path)
	same := now == nil && w.last == nil || now != nil && w.last != nil &&
		os.SameFile(now, w.last) && now.Size() == w.last.Size() && now.ModTime().Equal(w.last.ModTime())
	w.last = now
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text == w.failed {
		err = nil
	}
	w.failed = text
	return named || !same, err
}

// follow watches the folders that are on the way to the file now, and no others.
func (w *fileWatch) follow() error {
	if w == nil {
		return nil
	}
	// What changed before a folder was watched is seen by looking again.
	for range 10 {
		folders, names := way(w.path)
		w.names = names
		watched := w.watcher.WatchList()
		for _, folder := range watched {
			if !slices.Contains(folders, folder) {
				_ = w.watcher.Remove(folder) // gone with its folder, or not needed
			}
		}
		added := false
		for _, folder := range folders {
			if slices.Contains(watched, folder) {
				continue
			}
			if err := w.watcher.Add(folder); err != nil {
				return fmt.Errorf("cannot watch %s: %w", folder, cause(err))
			}
			added = true
		}
		if !added {
			return nil
		}
	}
	return errors.New("the folders on the way to it change all the time")
}

// maxLinks is how many symbolic links a path may have, as in Linux.
const maxLinks = 40

// way returns what leads to the file at path, which is absolute: the symbolic
// links and the file, by their real paths, and the folders that these are in. It
// goes as far as there is something.
func way(path string) (folders, names []string) {
	at, rest := string(filepath.Separator), split(path)
	for links := 0; len(rest) > 0; {
		next := filepath.Join(at, rest[0])
		rest = rest[1:]
		info, err := os.Lstat(next)
		isLink := err == nil && info.Mode()&os.ModeSymlink != 0
		if isLink || err != nil || len(rest) == 0 {
			names = append(names, next)
			if !slices.Contains(folders, at) {
				folders = append(folders, at)
			}
		}
		if err != nil {
			return folders, names
		}
		if !isLink {
			at = next
			continue
		}
		target, err := os.Readlink(next)
		if links++; err != nil || links > maxLinks {
			return folders, names
		}
		if filepath.IsAbs(target) {
			at = string(filepath.Separator)
		}
		rest = append(split(target), rest...)
	}
	return folders, names
}

func split(path string) []string {
	return strings.FieldsFunc(path, func(c rune) bool { return c == filepath.Separator })
}

// stat returns nil if there is no file.
func stat(path string) os.FileInfo {
	info, err := os.Stat(path)
	if err != nil {
		return nil
	}
	return info
}
