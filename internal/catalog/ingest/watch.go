package ingest

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/loragate/loragate/internal/catalog/records"
)

// folder follows the watched directory. Its state belongs to the one goroutine in run.
type folder struct {
	path           string
	settle, rescan time.Duration   // as Options have them
	look           <-chan struct{} // has something when the directory is to be read at once
	log            *slog.Logger
	// follow is told what is there. It returns the prints of files that were not taken
	// because they had not settled, by path.
	follow func(found []records.File) (waiting map[string]string)

	waiting map[string]string // from the last time: they are taken when they stay so
	away    bool              // the directory could not be read last time
	written map[string]int    // how often files were, by path, as far as the watcher told
}

// watch begins to listen to the directory. It returns nil where that cannot be done.
func (f *folder) watch() *fsnotify.Watcher {
	watcher, err := fsnotify.NewWatcher()
	if err == nil {
		err = watcher.Add(f.path)
	}
	if err != nil {
		f.log.Warn("adapters.dir cannot be watched and is read every adapters.rescan only", "error", err)
	}
	return watcher
}

// run follows the directory until ctx ends, and closes the watcher, which may be nil.
func (f *folder) run(ctx context.Context, watcher *fsnotify.Watcher) {
	var events chan fsnotify.Event
	var failures chan error
	if watcher != nil {
		defer watcher.Close()
		events, failures = watcher.Events, watcher.Errors
	}
	var tick <-chan time.Time
	if f.rescan > 0 {
		ticker := time.NewTicker(f.rescan)
		defer ticker.Stop()
		tick = ticker.C
	}
	timer := time.NewTimer(0) // what changed between the first look and the watch
	// While it is armed a look is to come: that is not put off by every further
	// event, or a busy directory would never be read, and not brought forward, or a
	// file would be taken before it stayed the same for so long.
	armed := true
	arm := func(wait time.Duration) {
		if !armed {
			armed = true
			timer.Reset(wait)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return
		case event := <-events:
			f.note(event)
			arm(f.settle)
		case err := <-failures: // events were lost
			f.log.Warn("watching adapters.dir", "error", err)
			arm(f.settle)
		case <-tick:
			arm(0)
		case <-f.look:
			arm(0)
		case <-timer.C:
			armed = false
			if f.read(watcher) {
				arm(f.settle)
			}
		}
	}
}

// read reads the directory and reports whether it is to be read again soon: there are files
// that have not settled, or it could not be read.
func (f *folder) read(watcher *fsnotify.Watcher) (again bool) {
	if watcher != nil {
		f.watchAll(watcher)
	}
	found, err := scan(f.path)
	if away := err != nil; away != f.away {
		if f.away = away; away {
			f.log.Error("adapters.dir cannot be read, its models stay as they are", "error", err)
		} else {
			f.log.Info("adapters.dir can be read again")
		}
	}
	if err != nil {
		return true
	}
	written := f.written
	f.written = make(map[string]int)
	for i := range found {
		now := &found[i]
		if n := written[now.Path]; n > 0 {
			f.written[now.Path] = n
			now.Print += fmt.Sprint(touched, n)
		}
		now.Settled = f.waiting[now.Path] == now.Print && !strings.Contains(now.Print, unsure)
	}
	f.waiting = f.follow(found)
	return len(f.waiting) > 0
}

// note counts what is written to a file, or to one of a folder's that are an adapter's.
func (f *folder) note(event fsnotify.Event) {
	if !event.Has(fsnotify.Write) && !event.Has(fsnotify.Create) {
		return
	}
	path := event.Name
	if dir, name := filepath.Split(path); filepath.Clean(dir) != filepath.Clean(f.path) {
		if name != configName && name != weightsName {
			return
		}
		path = filepath.Clean(dir)
	}
	if f.written == nil {
		f.written = make(map[string]int)
	}
	f.written[path]++
}

// watchAll has the watcher tell of changes in the directory, which may be another
// one of its name by now, and in the folders in it. Whatever was written before
// is seen by the scan that follows.
func (f *folder) watchAll(watcher *fsnotify.Watcher) {
	_ = watcher.Add(f.path) // if that fails, watch has logged it, or the scan will
	entries, _ := os.ReadDir(f.path)
	for _, entry := range entries {
		path := filepath.Join(f.path, entry.Name())
		if info, err := os.Stat(path); err == nil && info.IsDir() && !strings.HasPrefix(entry.Name(), ".") {
			_ = watcher.Add(path) // one that is gone is no loss
		}
	}
}
