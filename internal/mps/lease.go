package mps

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Lease is the right to use the service, for one gateway. It is safe for concurrent
// use. Whoever acquired it must Close it, after its workers have ended.
type Lease struct {
	pipe, logs string
	own        bool
	release    func() // makes the goroutine that watches the daemon end

	done chan struct{} // closed by that goroutine
	err  error         // its too, written before
	once sync.Once
}

// Env returns the variables that make CUDA programs use the service, for the
// environments of workers, in which they take the place of any of these names.
// Should the daemon be gone when a worker starts, CUDA goes on without it.
func (l *Lease) Env() []string {
	env := []string{pipeVariable + "=" + l.pipe}
	if l.logs != "" {
		env = append(env, logsVariable+"="+l.logs)
	}
	return env
}

// Own reports whether the daemon is a keeper's; else somebody else runs it.
func (l *Lease) Own() bool { return l.own }

// Dir returns the daemon's pipe directory, for the log.
func (l *Lease) Dir() string { return l.pipe }

// Done is closed when the daemon is gone or the lease was closed. A daemon that is
// not ours is missed only after some tens of seconds.
func (l *Lease) Done() <-chan struct{} { return l.done }

// Err returns why the daemon is gone, an *Error, once Done is closed; nil before, and
// if the lease was closed first.
func (l *Lease) Err() error {
	select {
	case <-l.done:
		return l.err
	default:
		return nil
	}
}

// Close gives the lease back. The keeper ends the daemon soon if it was the last; Close
// does not wait for that. Closing again does nothing.
func (l *Lease) Close() {
	l.once.Do(l.release)
	<-l.done
}

// finish ends a lease; it is called once.
func (l *Lease) finish(err error) {
	l.err = err
	close(l.done)
}

// existing returns a lease on a daemon that somebody else runs, or nil: the one that
// the environment names, else the one at CUDA's default place, where CUDA would look
// anyway, unless neither root nor this user made that place.
func (o Options) existing(ctx context.Context) *Lease {
	for _, pipe := range []string{value(o.Environ, pipeVariable), o.Default} {
		if pipe == "" || pipe == filepath.Join(o.Dir, pipeName) {
			continue // ours, inherited from a gateway's environment
		}
		if pipe == o.Default && !trusted(pipe) || !answers(ctx, o.Control, o.Environ, pipe) {
			continue
		}
		o.Log.Info("using the control daemon of CUDA's multi-process service that is already running", "dir", pipe)
		watching, stop := context.WithCancel(context.Background())
		l := &Lease{pipe: pipe, logs: value(o.Environ, logsVariable), release: stop, done: make(chan struct{})}
		go func() { l.finish(o.watch(watching, pipe)) }()
		return l
	}
	return nil
}

// trusted reports whether a directory is root's or this user's.
func trusted(dir string) bool {
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && (stat.Uid == 0 || int(stat.Uid) == os.Geteuid())
}

// watch asks a daemon for signs of life until it gives none twice, and returns the
// error of that, or nil when ctx ends.
func (o Options) watch(ctx context.Context, pipe string) error {
	ticker := time.NewTicker(o.WatchInterval)
	defer ticker.Stop()
	missed := 0
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
		if answers(ctx, o.Control, o.Environ, pipe) {
			missed = 0
		} else if missed++; missed == 2 && ctx.Err() == nil {
			return ended("the control daemon at %s does not answer", pipe)
		}
	}
}
