package catalog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// folder is what is known of the watched directory. Its paths and prints are
// owned by whoever holds the catalog's lock.
type folder struct {
	path string
	// taken are the prints of the files as they were last taken in, and moving
	// those that were seen once: they are taken in when they stay so.
	taken, moving map[string]string
}

func newFolder(path string) folder {
	return folder{path: path, taken: make(map[string]string), moving: make(map[string]string)}
}

// candidate is something in the directory that looks like an adapter.
type candidate struct {
	name  string // of the model
	path  string
	print string // changes when the bytes do
	dir   bool
}

// suffixes are those of files that can be adapters, longest first.
var suffixes = []string{".tar.gz", ".gguf", ".zip", ".tar", ".tgz"}

// scan returns the candidates in a directory, by file name.
func scan(dir string) ([]candidate, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var list []candidate
	for _, f := range files {
		if c, ok := candidateOf(dir, f.Name()); ok {
			list = append(list, c)
		}
	}
	return list, nil
}

func candidateOf(dir, file string) (candidate, bool) {
	if strings.HasPrefix(file, ".") {
		return candidate{}, false
	}
	c := candidate{name: file, path: filepath.Join(dir, file)}
	if print, err := printOf(filepath.Join(c.path, "adapter_config.json")); err == nil {
		weights, _ := printOf(filepath.Join(c.path, "adapter_model.safetensors")) // not there yet, perhaps
		c.print, c.dir = print+" "+weights, true
		return c, true
	}
	for _, suffix := range suffixes {
		if name, ok := strings.CutSuffix(file, suffix); ok {
			var err error
			c.name = name
			c.print, err = printOf(c.path)
			return c, err == nil
		}
	}
	return candidate{}, false
}

// printOf tells one state of a file from another without reading it.
func printOf(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", &fs.PathError{Op: "read", Path: path, Err: errors.New("not a regular file")}
	}
	return fmt.Sprint(info.Size(), info.ModTime().UnixNano()), nil
}

// lookAtFolder takes in what is in the directory at the start.
func (c *Catalog) lookAtFolder(past past, atOnce bool) ([]*job, error) {
	if c.dir.path == "" {
		return nil, nil
	}
	found, err := scan(c.dir.path)
	if err != nil {
		return nil, fmt.Errorf("adapters.dir: %w", err)
	}
	jobs, _, _ := c.follow(found, past, atOnce)
	return jobs, nil
}

// follow makes the records those of what was found. Files that change are left
// alone until they have been the same twice, unless atOnce. It reports whether
// records changed and whether there are files to look at again. The caller holds
// the lock.
func (c *Catalog) follow(found []candidate, past past, atOnce bool) (jobs []*job, changed, again bool) {
	owners := make(map[string]string) // by name, the path
	strays := make(map[string]Record)
	for _, f := range found {
		e := c.st.entries[f.name]
		if err := c.mayHave(f, e, owners); err != nil {
			strays[f.path] = stray(Spec{Name: f.name, Source: f.path}, FromDirectory, err.Error(), time.Now().UTC())
			continue
		}
		owners[f.name] = f.path
		if c.dir.taken[f.path] == f.print && e != nil {
			continue
		}
		if !atOnce && c.dir.moving[f.path] != f.print {
			c.dir.moving[f.path], again = f.print, true
			continue
		}
		jobs = append(jobs, c.takeFile(f, e, past[pastKey{FromDirectory, f.name}]))
	}
	gone := c.removeGone(owners)
	return jobs, c.renewStrays(strays) || len(jobs) > 0 || gone, again
}

// mayHave returns why a file cannot have its name, or nil.
func (c *Catalog) mayHave(f candidate, e *entry, owners map[string]string) error {
	if !filePattern.MatchString(f.name) {
		return refuse(Invalid, "%q cannot name a model: letters, digits and . _ : - only, beginning with a letter or digit, at most 128", shorten(f.name))
	}
	if other, twice := owners[f.name]; twice {
		return refuse(Conflict, "the name %q is taken by the file %s of the directory", f.name, filepath.Base(other))
	}
	if e != nil && e.origin == FromDirectory {
		return nil
	}
	return c.st.clash(Spec{Name: f.name}, nil)
}

func (c *Catalog) takeFile(f candidate, e, past *entry) *job {
	spec := Spec{Name: f.name, Source: f.path, Scale: 1, Weight: 1}
	if e == nil {
		if e = past; e == nil {
			e = &entry{kind: KindAdapter, origin: FromDirectory, state: Downloading, updated: time.Now().UTC()}
		}
		c.st.entries[f.name] = e
	}
	e.spec = spec
	delete(c.dir.moving, f.path)
	c.dir.taken[f.path] = f.print
	same := func() bool {
		now, ok := candidateOf(filepath.Dir(f.path), filepath.Base(f.path))
		return ok && now.print == f.print
	}
	return c.take(c.ctx, e, spec, same, c.local, c.source(spec))
}

// removeGone removes the models whose files are not there any more.
func (c *Catalog) removeGone(owners map[string]string) (changed bool) {
	for name, e := range c.st.entries {
		if e.origin != FromDirectory || owners[name] != "" {
			continue
		}
		if err := c.remove(e); err != nil {
			c.log.Error("removing a model whose file is gone", "name", name, "error", errors.Unwrap(err))
			continue
		}
		delete(c.dir.taken, e.spec.Source)
		changed = true
	}
	return changed
}

// renewStrays puts new strays in place of those of the directory, and logs those
// that were not there before.
func (c *Catalog) renewStrays(strays map[string]Record) (changed bool) {
	for path, old := range c.st.strays {
		if s, still := strays[path]; still && s.Reason == old.Reason {
			strays[path] = old
		} else if old.Origin == FromDirectory {
			delete(c.st.strays, path)
			changed = true
		}
	}
	for path, s := range strays {
		if _, old := c.st.strays[path]; !old {
			c.st.strays[path] = s
			c.log.Warn("adapter rejected", "name", s.Name, "source", s.Source, "reason", s.Reason)
			changed = true
		}
	}
	return changed
}

// again has a source of the directory looked at once more at the next rescan, for
// what was not its fault. The caller holds the lock.
func (c *Catalog) again(e *entry) { delete(c.dir.taken, e.spec.Source) }

// watch follows the directory in the background.
func (c *Catalog) watch() error {
	watcher, err := fsnotify.NewWatcher()
	if err == nil {
		err = watcher.Add(c.dir.path)
	}
	if err != nil {
		c.log.Warn("adapters.dir cannot be watched and is read every adapters.rescan only", "error", err)
	}
	c.wg.Go(func() {
		if watcher != nil {
			defer watcher.Close()
		}
		c.watchFolder(watcher)
	})
	return nil
}

func (c *Catalog) watchFolder(watcher *fsnotify.Watcher) {
	var events chan fsnotify.Event
	var failures chan error
	if watcher != nil {
		events, failures = watcher.Events, watcher.Errors
	}
	var tick <-chan time.Time
	if c.opts.Rescan > 0 {
		ticker := time.NewTicker(c.opts.Rescan)
		defer ticker.Stop()
		tick = ticker.C
	}
	timer := time.NewTimer(0) // what changed between the first look and the watch
	armed := true             // not put off by every further event, or a busy directory would never be read
	for {
		wait := c.opts.Settle
		select {
		case <-c.ctx.Done():
			return
		case <-events:
		case err := <-failures: // events were lost
			c.log.Warn("watching adapters.dir", "error", err)
		case <-tick:
			wait = 0
		case <-timer.C:
			if armed = c.rescan(watcher); armed {
				timer.Reset(wait)
			}
			continue
		}
		if !armed || wait == 0 {
			armed = true
			timer.Reset(wait)
		}
	}
}

// rescan reads the directory and reports whether there are files to look at
// again soon.
func (c *Catalog) rescan(watcher *fsnotify.Watcher) (again bool) {
	found, err := scan(c.dir.path)
	if err != nil {
		c.log.Error("adapters.dir cannot be read", "error", err)
		return false // its models stay: it may be back
	}
	for _, f := range found {
		if f.dir && watcher != nil {
			_ = watcher.Add(f.path) // one that is watched already is no error, and one that is gone is no loss
		}
	}
	c.mu.Lock()
	if c.ctx.Err() != nil {
		c.mu.Unlock()
		return false
	}
	_, changed, again := c.follow(found, nil, false)
	if changed {
		c.publish()
	}
	c.mu.Unlock()
	if changed {
		c.opts.Changed()
	}
	return again
}
