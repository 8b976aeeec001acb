package config

import (
	"context"
	"log/slog"
	"os"
	"time"
)

// WatchOptions says what Watch watches and whom it tells.
type WatchOptions struct {
	// Current is the configuration in force. Its File is watched.
	Current *Config
	// Load loads the file again the way it was loaded first: Load with the path
	// that it was called with.
	Load func() (*Config, error)
	// Apply puts next in force as a whole, or returns an error and has changed
	// nothing. It is called with changes, at least one, that Live allows, and
	// never by two goroutines at once. While it runs, nothing else is noticed.
	Apply func(next *Config, changes []Change) error
	// Trigger, if not nil, has the file loaded at once, whether or not it looks
	// changed: hand in the channel of signal.Notify for SIGHUP.
	Trigger <-chan os.Signal
	// Settle is how long the file must stay as it is before it is loaded, so that
	// nothing half-written is. 0 is 250ms.
	Settle time.Duration
	Log    *slog.Logger
}

const defaultSettle = 250 * time.Millisecond

// Watch loads the configuration again whenever its file changes, and applies what
// is different. It blocks until ctx ends. A configuration that is not valid, that
// needs a restart or that Apply refuses changes nothing, and is logged.
//
// It first loads the file once, for changes since Current was loaded. A file that
// cannot be watched is logged, and then only Trigger loads it. Without a file there is nothing to
// load again.
func Watch(ctx context.Context, opts WatchOptions) {
	if opts.Current.File == "" {
		<-ctx.Done()
		return
	}
	file, err := watchFile(opts.Current.File)
	if err == nil {
		defer file.close()
	}
	watchOn(ctx, opts, file, err)
}

// watchOn is Watch with the file that is watched, or with why it is not.
func watchOn(ctx context.Context, opts WatchOptions, file *fileWatch, err error) {
	if opts.Settle == 0 {
		opts.Settle = defaultSettle
	}
	r := reloader{WatchOptions: opts, current: opts.Current}
	if err != nil {
		r.unwatched(err)
	}
	r.reload(false)

	settled := time.NewTimer(0)
	settled.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case s, ok := <-r.Trigger:
			if !ok {
				r.Trigger = nil
				continue
			}
			r.Log.Info("asked to load the configuration again", "signal", s.String())
			if err := file.follow(); err != nil {
				r.unwatched(err)
			}
			settled.Stop()
			r.reload(true)
		case event := <-file.events():
			changed, err := file.changed(event)
			if err != nil {
				r.unwatched(err)
			}
			if changed {
				settled.Reset(r.Settle)
			}
		case <-file.errors(): // events were lost
			settled.Reset(r.Settle)
		case <-settled.C:
			r.reload(false)
		}
	}
}

// reloader holds the configuration in force. One goroutine uses it.
type reloader struct {
	WatchOptions
	current *Config
	refused string // why what the file has now was refused; "" if it was not
}

// reload loads the file and applies what is different in it. If someone asked for
// it, the log always tells what came of it.
func (r *reloader) reload(asked bool) {
	next, err := r.Load()
	if err != nil {
		r.refuse(asked, err)
		return
	}
	changes := r.current.Diff(next)
	if len(changes) == 0 {
		if asked || r.refused != "" {
			r.Log.Info("the configuration is valid, and nothing is different", "file", r.current.File)
		}
		r.refused = ""
		return
	}
	if err := r.current.Live(next); err != nil {
		r.refuse(asked, err)
		return
	}
	if err := r.Apply(next, changes); err != nil {
		r.refuse(asked, err)
		return
	}
	r.current, r.refused = next, ""
	lines := make([]string, len(changes))
	for i, change := range changes {
		lines[i] = change.String()
	}
	r.Log.Info("the configuration has changed", "file", r.current.File, "changes", lines)
}

func (r *reloader) refuse(asked bool, err error) {
	if asked || err.Error() != r.refused { // editors cause several events
		r.Log.Error("the configuration is refused, the one before stays in force", "file", r.current.File, "error", err)
	}
	r.refused = err.Error()
}

func (r *reloader) unwatched(err error) {
	r.Log.Warn("changes of the configuration may go unnoticed: send SIGHUP after them", "file", r.current.File, "error",
		err)
}
