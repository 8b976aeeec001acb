package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// FileState tells one state of a file from another without reading it. Its text changes when
// the file's bytes do, or when another file takes its place: also one of equal size and time,
// and behind a link that turns.
type FileState struct {
	size, written, changed int64 // the bytes, and when these and when anything of it changed last, in ns
	inode                  uint64
	target                 string // where a link leads in the end, "" for none
}

// ErrNotRegular says that something is no file.
var ErrNotRegular = errors.New("not a regular file")

// StateOf returns that of the file at a path.
func StateOf(path string) (FileState, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return FileState{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return FileState{}, ErrNotRegular
	}
	return FileState{st.Size, st.Mtim.Nano(), st.Ctim.Nano(), uint64(st.Ino), LinkTarget(path)}, nil
}

// LinkTarget returns where a link leads in the end, "" if that is nowhere or it is none.
func LinkTarget(path string) string {
	if info, err := os.Lstat(path); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		return ""
	}
	target, _ := filepath.EvalSymlinks(path)
	return target
}

func (s FileState) String() string {
	text := fmt.Sprint(s.size, s.written, s.changed, s.inode)
	if s.target != "" {
		text += " " + s.target
	}
	return text
}

// coarse is the longest step of the clocks of file systems: FAT's.
const coarse = 2 * time.Second

// Unsure reports whether another change could have left the same state: the file changed just
// now, and its file system counts whole seconds.
func (s FileState) Unsure(now time.Time) bool {
	age := now.Sub(time.Unix(0, s.changed))
	return s.changed%int64(time.Second) == 0 && age > -coarse && age < coarse+coarse/4
}
