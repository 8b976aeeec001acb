package config

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long something may take before a test has failed.
const patience = time.Minute

func receive[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("%s: nothing came", what)
		panic("unreachable")
	}
}

// records is a log whose records are "LEVEL MESSAGE [ATTRIBUTE]".
type records struct {
	mu  sync.Mutex
	all []string
}

func (r *records) Write(line []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, string(bytes.TrimSpace(line)))
	return len(line), nil
}

// take returns the records since the last call.
func (r *records) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.all
	r.all = nil
	return all
}

func (r *records) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "file" {
			return slog.Attr{}
		}
		return a
	}}))
}

// scaled returns a configuration of one adapter, with more text at its end.
func scaled(t *testing.T, scale, more string) string {
	t.Helper()
	return fmt.Sprintf("model: {name: demo, path: %s}\nadapters: {list: [{name: a, path: a.gguf, scale: %s}]}\n%s",
		abs(t, "testdata/base.gguf"), scale, more)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// replace puts a new file into the place of an old one, as most editors do.
func replace(t *testing.T, path, text string) {
	t.Helper()
	write(t, path+"~", text)
	rename(t, path+"~", path)
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// link makes a symbolic link, in the place of one that may be there.
func link(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path+"~"); err != nil {
		t.Fatal(err)
	}
	rename(t, path+"~", path)
}

func folder(t *testing.T, path string) string {
	t.Helper()
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

const (
	refused = `level=ERROR msg="the configuration is refused, the one before stays in force" error=`
	changed = `level=INFO msg="the configuration has changed" changes="[adapters.list[a].scale: 1 -> 0.5]"`
	same    = `level=INFO msg="the configuration is valid, and nothing is different"`
	bad0    = refused + `"FILE: adapters.list[0].scale: 0: must be a finite number other than 0"`
)

// reloads are what a file becomes, one after the other, and what is logged then;
// FILE stands for its name.
var reloads = []struct {
	name, scale, more string
	asked             bool
	applyErr          error
	applied           bool
	log               string
}{
	{name: "nothing", scale: "1"},
	{name: "comment", scale: "1.0", more: "# comment"},
	{name: "asked", scale: "1", asked: true, log: same},
	{name: "bad", scale: "0", log: bad0},
	{name: "bad in the same way", scale: "0", more: "#"},
	{name: "bad and asked", scale: "0", asked: true, log: bad0},
	{name: "good as before", scale: "1", log: same},
	{name: "restart", scale: "0.5", more: "workers: {count: 2}",
		log: refused + `"a restart is needed to change workers.count: auto -> 2"`},
	{name: "apply fails", scale: "0.5", applyErr: errors.New("the disk is full"), applied: true,
		log: refused + `"the disk is full"`},
	{name: "apply works now", scale: "0.5", applied: true, log: changed},
	{name: "applied", scale: "0.5"},
}

// TestReload covers what becomes of a file, without anything that watches it.
func TestReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	write(t, path, scaled(t, "1", ""))
	first, err := load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	var log records
	r := reloader{current: first}
	for _, step := range reloads {
		write(t, path, scaled(t, step.scale, step.more))
		var next *Config
		var changes []Change
		r.WatchOptions = WatchOptions{
			Load: func() (*Config, error) { return load(path, nil) },
			Apply: func(c *Config, ch []Change) error {
				next, changes = c, ch
				return step.applyErr
			},
			Log: log.logger(),
		}
		want := r.current
		r.reload(step.asked)
		if got := strings.ReplaceAll(strings.Join(log.take(), "\n"), path, "FILE"); got != step.log {
			t.Errorf("%s: got log\n%s\nwant\n%s", step.name, got, step.log)
		}
		if (next != nil) != step.applied || step.applied &&
			!slices.Equal(strs(changes), []string{"adapters.list[a].scale: 1 -> 0.5"}) {
			t.Errorf("%s: applied %v: %v", step.name, next != nil, changes)
		}
		if step.applied && step.applyErr == nil {
			want = next
		}
		if r.current != want {
			t.Errorf("%s: the wrong configuration is in force", step.name)
		}
	}
}

// watched is a Watch that runs.
type watched struct {
	log     records
	loads   chan error   // what each load returned
	applied chan float64 // the scale of each configuration that was applied
	trigger chan os.Signal
}

// watch starts a Watch of path, which has a configuration, and returns when it
// notices changes.
func watch(t *testing.T, path string) *watched {
	t.Helper()
	w := &watched{loads: make(chan error, 1000), applied: make(chan float64, 1000), trigger: make(chan os.Signal)}
	first, err := load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		Watch(ctx, WatchOptions{
			Current: first,
			Load: func() (*Config, error) {
				c, err := load(path, nil)
				w.loads <- err
				return c, err
			},
			Apply: func(next *Config, _ []Change) error {
				w.applied <- next.Adapters.List[0].Scale
				return nil
			},
			Trigger: w.trigger, Settle: 5 * time.Millisecond, Log: w.log.logger(),
		})
	}()
	t.Cleanup(func() {
		cancel()
		receive(t, "the end of Watch", ended)
	})
	if err := receive(t, "the first load", w.loads); err != nil {
		t.Fatal(err)
	}
	return w
}

// expect waits until a configuration with that scale is applied.
func (w *watched) expect(t *testing.T, scale float64) {
	t.Helper()
	if got := receive(t, "a change", w.applied); got != scale {
		t.Errorf("applied scale %v, want %v", got, scale)
	}
}

// expectRefused waits until the file cannot be loaded because of what.
func (w *watched) expectRefused(t *testing.T, what string) {
	t.Helper()
	for {
		if err := receive(t, "a load that fails", w.loads); err != nil && strings.Contains(err.Error(), what) {
			return
		}
	}
}

func TestWatchFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	write(t, path, scaled(t, "1", ""))
	w := watch(t, path)

	replace(t, path, scaled(t, "2", ""))
	w.expect(t, 2)
	write(t, path, scaled(t, "3", "")) // in place
	w.expect(t, 3)
	write(t, path, scaled(t, "4", "")) // as long as before
	w.expect(t, 4)

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	w.expectRefused(t, "no such file")
	write(t, path, scaled(t, "5", ""))
	w.expect(t, 5)

	replace(t, path, scaled(t, "0", ""))
	w.expectRefused(t, "other than 0")
	replace(t, path, scaled(t, "6", ""))
	w.expect(t, 6)
	if len(w.applied) != 0 {
		t.Errorf("%d more changes were applied", len(w.applied))
	}
}

// TestWatchNoDifference also has another file change in the folder.
func TestWatchNoDifference(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config.yaml")
	write(t, path, scaled(t, "1", ""))
	w := watch(t, path)
	write(t, filepath.Join(dir, "other.yaml"), "x")
	replace(t, path, scaled(t, "1", "# comment"))
	if err := receive(t, "a load", w.loads); err != nil {
		t.Error(err)
	}
	replace(t, path, scaled(t, "2", ""))
	w.expect(t, 2)
	w.trigger <- syscall.SIGHUP
	w.trigger <- syscall.SIGHUP // taken when the first has been dealt with
	want := []string{
		`level=INFO msg="the configuration has changed" changes="[adapters.list[a].scale: 1 -> 2]"`,
		`level=INFO msg="asked to load the configuration again" signal=hangup`,
		`level=INFO msg="the configuration is valid, and nothing is different"`,
	}
	if got := w.log.take(); len(got) < 3 || !slices.Equal(got[:3], want) {
		t.Errorf("got log\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestWatchSinceLoad has the file change before it is watched.
func TestWatchSinceLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	write(t, path, scaled(t, "1", ""))
	first, err := load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, scaled(t, "2", ""))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var log records
	var applied []float64
	Watch(ctx, WatchOptions{
		Current: first, Load: func() (*Config, error) { return load(path, nil) }, Log: log.logger(),
		Apply: func(next *Config, _ []Change) error {
			applied = append(applied, next.Adapters.List[0].Scale)
			cancel()
			return nil
		},
	})
	if !slices.Equal(applied, []float64{2}) {
		t.Errorf("applied %v, want 2", applied)
	}
}

// TestWatchKubernetes updates a file as a mounted ConfigMap is: the file is a
// link through a link to a folder, and that one is replaced.
func TestWatchKubernetes(t *testing.T) {
	dir := t.TempDir()
	version := func(name, scale string) {
		write(t, filepath.Join(folder(t, filepath.Join(dir, name)), "config.yaml"), scaled(t, scale, ""))
		link(t, name, filepath.Join(dir, "..data"))
	}
	path := filepath.Join(dir, "config.yaml")
	version("..1", "1")
	link(t, "..data/config.yaml", path)
	w := watch(t, path)
	for i, scale := range []float64{2, 3} {
		version(fmt.Sprintf("..%d", i+2), fmt.Sprint(scale))
		w.expect(t, scale)
		if err := os.RemoveAll(filepath.Join(dir, fmt.Sprintf("..%d", i+1))); err != nil {
			t.Fatal(err)
		}
	}
	// The target itself, in a folder that was not there at first.
	write(t, filepath.Join(dir, "..3", "config.yaml"), scaled(t, "4", ""))
	w.expect(t, 4)
}

// TestWatchFolders replaces the folder of the file, by a link and by renaming.
func TestWatchFolders(t *testing.T) {
	dir := t.TempDir()
	for i := 1; i <= 4; i++ {
		sub := folder(t, filepath.Join(dir, "releases", fmt.Sprint(i)))
		write(t, filepath.Join(sub, "config.yaml"), scaled(t, fmt.Sprint(i), ""))
	}
	current := filepath.Join(dir, "current")
	link(t, "releases/1", current)
	w := watch(t, filepath.Join(current, "config.yaml"))

	link(t, "releases/2", current)
	w.expect(t, 2)
	link(t, filepath.Join(dir, "releases/3"), current)
	w.expect(t, 3)
	rename(t, filepath.Join(dir, "releases/3"), filepath.Join(dir, "gone"))
	w.expectRefused(t, "no such file")
	rename(t, filepath.Join(dir, "releases/4"), filepath.Join(dir, "releases/3"))
	w.expect(t, 4)
	replace(t, filepath.Join(dir, "releases/3/config.yaml"), scaled(t, "5", ""))
	w.expect(t, 5)
}

// TestWatchOnlyTriggered has nothing to watch but signals.
func TestWatchOnlyTriggered(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	write(t, path, scaled(t, "1", ""))
	first, err := load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	trigger := make(chan os.Signal, 1)
	var log records
	loads, ended := make(chan struct{}, 10), make(chan struct{})
	go func() {
		defer close(ended)
		watchOn(ctx, WatchOptions{
			Current: first, Trigger: trigger, Log: log.logger(),
			Load: func() (*Config, error) {
				loads <- struct{}{}
				return load(path, nil)
			},
		}, nil, errors.New("too many open files"))
	}()
	receive(t, "the first load", loads)
	trigger <- syscall.SIGHUP
	receive(t, "the load that was asked for", loads)
	close(trigger) // must not be taken for signals
	cancel()
	receive(t, "the end of Watch", ended)
	want := []string{
		`level=WARN msg="changes of the configuration may go unnoticed: send SIGHUP after them" error="too many open files"`,
		`level=INFO msg="asked to load the configuration again" signal=hangup`,
		`level=INFO msg="the configuration is valid, and nothing is different"`,
	}
	if got := log.take(); !slices.Equal(got, want) {
		t.Errorf("got log\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestWay also covers links that go around in circles.
func TestWay(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	in := func(path string) string { return filepath.Join(dir, path) }
	write(t, filepath.Join(folder(t, in("real/sub")), "file"), "x")
	link(t, "real/../real", in("up"))
	link(t, "sub/file", in("real/direct"))
	link(t, in("up/direct"), in("far"))
	link(t, "circle", in("circle"))
	tests := []struct {
		path           string
		folders, names []string
	}{
		{"real/sub/file", []string{in("real/sub")}, []string{in("real/sub/file")}},
		{"far", []string{dir, in("real"), in("real/sub")},
			[]string{in("far"), in("up"), in("real/direct"), in("real/sub/file")}},
		{"real/sub/none", []string{in("real/sub")}, []string{in("real/sub/none")}},
		{"real/none/file", []string{in("real")}, []string{in("real/none")}},
		{"circle", []string{dir}, slices.Repeat([]string{in("circle")}, maxLinks+1)},
	}
	for _, tt := range tests {
		if folders, names := way(in(tt.path)); !slices.Equal(folders, tt.folders) || !slices.Equal(names, tt.names) {
			t.Errorf("%s: got %q and %q", tt.path, folders, names)
		}
	}
}

// TestFileWatchChanged tells events of the file from those of its neighbours.
func TestFileWatchChanged(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	path, other := filepath.Join(dir, "config.yaml"), filepath.Join(dir, "other.yaml")
	write(t, path, "one")
	w, err := watchFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	// next returns what changed says of the first event that has this name.
	next := func(name string) bool {
		t.Helper()
		for {
			event := receive(t, "an event of "+name, w.events())
			changed, err := w.changed(event)
			if err != nil {
				t.Fatal(err)
			}
			if event.Name == name {
				return changed
			}
		}
	}
	write(t, other, "one")
	if next(other) {
		t.Error("another file counts as a change")
	}
	write(t, path, "one")
	if !next(path) {
		t.Error("the file that was written does not count as a change")
	}
	if err := os.Chtimes(path, time.Time{}, w.last.ModTime()); err != nil {
		t.Fatal(err)
	}
	if !next(path) {
		t.Error("an event of the file does not count if nothing else tells")
	}
}

// TestWatchMissingFolder has a folder on the way that is gone: what is left of the
// way is watched.
func TestWatchMissingFolder(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a", "b", "config.yaml")
	write(t, filepath.Join(folder(t, filepath.Dir(path)), "config.yaml"), scaled(t, "1", ""))
	w := watch(t, path)
	rename(t, filepath.Join(dir, "a"), filepath.Join(dir, "c"))
	w.trigger <- syscall.SIGHUP // nothing tells that a folder further up was renamed
	w.expectRefused(t, "no such file")
	rename(t, filepath.Join(dir, "c"), filepath.Join(dir, "a"))
	write(t, path, scaled(t, "2", ""))
	w.expect(t, 2)
}
