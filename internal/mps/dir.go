package mps

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// What is in the directory. The daemon has pipe and logs to itself.
const (
	socketName = "keeper.sock" // where gateways join
	lockName   = "lock"        // the keeper's, for as long as it lives
	logName    = "keeper.log"
	pipeName   = "pipe"
	logsName   = "log"
)

// maxDir bounds the directory's path. A socket's path has 107 bytes at most; the
// longest that the daemon is known to make is "pipe/control_privileged", and with
// too long a one it only says that it cannot find itself.
const maxDir = 107 - len("/pipe/control_privileged") - 15

// private makes the directory, and refuses one that others could have put something
// into.
func private(dir string) error {
	if !filepath.IsAbs(dir) {
		return fmt.Errorf("%s is not an absolute path", dir)
	}
	if len(dir) > maxDir {
		return fmt.Errorf("the path %s is longer than %d bytes, so that sockets in it could not be named", dir, maxDir)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory", dir)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !ok || int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to another user", dir)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("%s is open to others (mode %#o)", dir, mode)
	}
	return nil
}

// lockPoll is how often a lock that somebody holds is tried again.
const lockPoll = 20 * time.Millisecond

// waitForLock opens a file and locks it; closing the file gives the lock back. It
// blocks until nobody else has the lock or ctx ends. A file that was removed while
// it waited is opened anew: holders may remove it.
func waitForLock(ctx context.Context, open func() (*os.File, error)) (*os.File, error) {
	ticker := time.NewTicker(lockPoll)
	defer ticker.Stop()
	for {
		file, err := open()
		if err != nil {
			return nil, err
		}
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil && inPlace(file) {
			return file, nil
		}
		file.Close()
		if err != nil && !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// inPlace reports whether the file is still there under its name.
func inPlace(file *os.File) bool {
	held, err := file.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(file.Name())
	return err == nil && os.SameFile(held, named)
}
