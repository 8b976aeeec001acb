package gateway

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// runtimeDir is the private directory that holds the workers' sockets and saved
// slots. Its lock file tells directories in use from those that a killed
// gateway left behind.
type runtimeDir struct {
	path string
	lock *os.File
}

const runtimePrefix = "loragate-"

// newRuntimeDir makes a directory in parent, or in the system's temporary
// directory if that is "", and removes stale ones there.
func newRuntimeDir(parent string) (*runtimeDir, error) {
	if parent == "" {
		parent = os.TempDir()
	}
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return nil, fmt.Errorf("runtime directory: %w", err)
	}
	removeStale(parent)
	path, err := os.MkdirTemp(parent, runtimePrefix) // mode 0700
	if err != nil {
		return nil, fmt.Errorf("runtime directory: %w", err)
	}
	lock, err := lockIn(path)
	if err != nil {
		os.RemoveAll(path)
		return nil, fmt.Errorf("runtime directory: %w", err)
	}
	return &runtimeDir{path: path, lock: lock}, nil
}

// lockIn makes the lock file. It gets its name once it is locked, so that
// nobody can take the directory for a stale one in between.
func lockIn(dir string) (*os.File, error) {
	early := filepath.Join(dir, "lock.new")
	lock, err := os.OpenFile(early, os.O_CREATE|os.O_EXCL|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		return nil, err
	}
	return lock, os.Rename(early, filepath.Join(dir, "lock"))
}

// removeStale deletes what gateways that were killed have left in parent. Others'
// directories, and those without our lock file, are left alone.
func removeStale(parent string) {
	dirs, _ := filepath.Glob(filepath.Join(parent, runtimePrefix+"*"))
	for _, dir := range dirs {
		lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err != nil {
			continue
		}
		if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			os.RemoveAll(dir)
		}
		lock.Close()
	}
}

func (d *runtimeDir) remove() {
	os.RemoveAll(d.path)
	d.lock.Close()
}
