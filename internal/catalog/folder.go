package catalog

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/loragate/loragate/internal/lora"
)

// folder is what is known of the watched directory. Its paths and prints are
// owned by whoever holds the catalog's lock.
type folder struct {
	path string
	// taken are the prints of the files as they were last taken in, and moving
	// those that were seen once: they are taken in when they stay so.
	taken, moving map[string]string
	away          bool          // it could not be read last time
	look          chan struct{} // filled when it is to be read at once
}

func newFolder(path string) folder {
	return folder{path: path, taken: make(map[string]string), moving: make(map[string]string), look: make(chan struct{}, 1)}
}

// lookAgain has the directory read at once. It does not block.
func (f *folder) lookAgain() {
	select {
	case f.look <- struct{}{}:
	default:
	}
}

// candidate is something in the directory that looks like an adapter.
type candidate struct {
	name  string // of the model
	path  string
	print string // changes when the bytes do
	dir   bool
	// unsure is set if it cannot be seen whether there is an adapter.
	unsure bool
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
	print, err := printOfFolder(c.path)
	if err == nil {
		c.print, c.dir = print, true
		return c, true
	}
	c.unsure = !absent(err)
	for _, suffix := range suffixes {
		if name, ok := strings.CutSuffix(file, suffix); ok {
			c.name = name
			c.print, err = printOf(c.path)
			c.unsure = err != nil && !absent(err)
			return c, err == nil || c.unsure
		}
	}
	return c, c.unsure
}

// absent reports whether an error says that there is no such file.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, errNotRegular)
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
	there := make(map[string]bool)
	aliases := c.st.aliases()
	for _, f := range found {
		there[f.path] = true
		e := c.st.entries[f.name]
		if f.unsure { // it goes on as it is, if it is there
			if e == nil && c.mayHave(f, nil, owners, aliases) == nil {
				e = past[pastKey{FromDirectory, f.name}]
			}
			if e != nil && e.origin == FromDirectory && e.spec.Source == f.path {
				owners[f.name], c.st.entries[f.name] = f.path, e
			}
			continue
		}
		if err := c.mayHave(f, e, owners, aliases); err != nil {
			strays[f.path] = stray(Spec{Name: f.name, Source: f.path}, FromDirectory, err.Error(), time.Now().UTC())
			continue
		}
		owners[f.name] = f.path
		if e != nil && e.spec.Source == f.path && c.dir.taken[f.path] == f.print {
			continue
		}
		if old := past[pastKey{FromDirectory, f.name}]; e == nil && c.unchanged(old, f.path, f.print) {
			c.st.entries[f.name], c.dir.taken[f.path] = old, f.print
			c.known++
			continue
		}
		if !atOnce && c.dir.moving[f.path] != f.print {
			c.dir.moving[f.path], again = f.print, true
			continue
		}
		jobs = append(jobs, c.takeFile(f, e, past[pastKey{FromDirectory, f.name}]))
	}
	gone := c.removeGone(owners)
	for _, prints := range []map[string]string{c.dir.taken, c.dir.moving} {
		maps.DeleteFunc(prints, func(path, _ string) bool { return !there[path] })
	}
	return jobs, c.renewStrays(strays) || len(jobs) > 0 || gone, again
}

// mayHave returns why a file cannot have its name, or nil. aliases are those of the
// records.
func (c *Catalog) mayHave(f candidate, e *entry, owners map[string]string, aliases map[string]bool) error {
	if !filePattern.MatchString(f.name) {
		return refuse(Invalid, "%q cannot name a model: letters, digits and . _ : - only, beginning with a letter or digit, at most 128", shorten(f.name))
	}
	if other, twice := owners[f.name]; twice {
		return refuse(Conflict, "the name %q is taken by the file %s of the directory", f.name, filepath.Base(other))
	}
	if e != nil && e.origin == FromDirectory {
		return nil
	}
	if e == nil && !aliases[f.name] && f.name != c.base.Name {
		return nil // nearly always: to look for a clash takes a look at every record
	}
	return c.st.clash(Spec{Name: f.name}, nil)
}

func (c *Catalog) takeFile(f candidate, e, past *entry) *job {
	spec := Spec{Name: f.name, Source: f.path, Scale: 1, Settings: lora.Settings{Weight: 1}}
	if e == nil {
		if e = past; e == nil {
			e = &entry{kind: KindAdapter, origin: FromDirectory, state: Downloading, updated: time.Now().UTC()}
		}
		c.st.entries[f.name] = e
	}
	e.become(spec)
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
			c.complain("removing a model whose file is gone", err, "name", name)
			continue
		}
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

// again has a source looked at once more at the next rescan or sweep, after what
// was not its fault. The caller holds the lock.
func (c *Catalog) again(e *entry) {
	e.retry = true
	delete(c.dir.taken, e.spec.Source)
}

// watch follows the directory in the background.
func (c *Catalog) watch() {
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
		case <-c.ctx.Done():
			return
		case <-events:
			arm(c.opts.Settle)
		case err := <-failures: // events were lost
			c.log.Warn("watching adapters.dir", "error", err)
			arm(c.opts.Settle)
		case <-tick:
			arm(0)
		case <-c.dir.look:
			arm(0)
		case <-timer.C:
			armed = false
			if c.rescan(watcher) || c.isAway() {
				arm(c.opts.Settle)
			}
		}
	}
}

// rescan reads the directory and reports whether there are files to look at
// again soon.
func (c *Catalog) rescan(watcher *fsnotify.Watcher) (again bool) {
	if watcher != nil {
		c.watchAll(watcher)
	}
	found, err := scan(c.dir.path)
	c.mu.Lock()
	if away := err != nil; away != c.dir.away {
		if c.dir.away = away; away {
			c.log.Error("adapters.dir cannot be read, its models stay as they are", "error", err)
		} else {
			c.log.Info("adapters.dir can be read again")
		}
	}
	if err != nil || c.ctx.Err() != nil {
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

// watchAll has the watcher tell of changes in the directory, which may be another
// one of its name by now, and in the folders in it. Whatever was written before
// is seen by the scan that follows.
func (c *Catalog) watchAll(watcher *fsnotify.Watcher) {
	_ = watcher.Add(c.dir.path) // if that fails, watch has logged it, or the scan will
	files, _ := os.ReadDir(c.dir.path)
	for _, f := range files {
		path := filepath.Join(c.dir.path, f.Name())
		if info, err := os.Stat(path); err == nil && info.IsDir() && !strings.HasPrefix(f.Name(), ".") {
			_ = watcher.Add(path) // one that is gone is no loss
		}
	}
}

// isAway reports whether the directory could not be read last time.
func (c *Catalog) isAway() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dir.away
}
