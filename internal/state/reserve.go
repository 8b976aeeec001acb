package state

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/loragate/loragate/internal/store"
)

const (
	// reserveBytes is what the reserve has when it is whole: the log of a few hundred
	// removals, and what the database may have to grow by when its own log is emptied.
	reserveBytes = 1 << 20
	// chunk is how much is taken at once, and what must be free beside the reserve for
	// a disk to have room.
	chunk = 64 << 10
)

// reserve is a file that is there for the room that it takes. On a full disk it is given
// up for as long as it takes to commit what frees room. It has no lock: whoever holds
// DB.writing owns it.
type reserve struct {
	path string
	size int64 // bytes that are held
}

// openReserve finds out what an earlier process left of the reserve.
func openReserve(dir string) *reserve {
	r := &reserve{path: filepath.Join(dir, "reserve")}
	if info, err := os.Lstat(r.path); err == nil && single(info) {
		r.size = info.Size()
	}
	return r
}

// take makes the reserve whole. The error is of a disk that has no room for it; where it
// cannot be kept for another reason there is none, and no error. What could be had of it
// is held all the same. It waits for the disk unless the reserve is whole.
func (r *reserve) take() error { return r.grow(reserveBytes) }

// room reports whether the disk has room for more than the reserve.
func (r *reserve) room() bool {
	held := r.size
	err := r.grow(held + chunk)
	if r.size > held {
		r.shrink(held)
	}
	return err == nil
}

// plenty reports whether the file system says that it has room for much more. Of quotas it
// does not tell.
func (r *reserve) plenty() bool {
	var fs unix.Statfs_t
	return unix.Statfs(filepath.Dir(r.path), &fs) == nil && fs.Bavail > uint64(reserveBytes)/uint64(fs.Bsize)
}

// grow adds to the file. What is written is random: a file system that packs zeros would
// hold nothing.
func (r *reserve) grow(to int64) error {
	if r.size >= to {
		return nil
	}
	f, err := openPrivate(r.path, os.O_CREATE)
	if err != nil {
		return onlyFull(err)
	}
	defer f.Close()
	content := make([]byte, chunk)
	for r.size < to && err == nil {
		rand.Read(content) // never fails, by its contract
		var n int
		n, err = f.WriteAt(content[:min(chunk, to-r.size)], r.size)
		r.size += int64(n)
	}
	// Some file systems find out only now that there is no room.
	if err = errors.Join(err, f.Sync()); store.IsFull(err) {
		if info, e := f.Stat(); e == nil {
			r.size = min(r.size, info.Size())
		}
	}
	return onlyFull(err)
}

// shrink gives room back to the disk.
func (r *reserve) shrink(to int64) {
	if err := os.Truncate(r.path, to); err == nil {
		r.size = to
	}
}

func onlyFull(err error) error {
	if store.IsFull(err) {
		return err
	}
	return nil
}
