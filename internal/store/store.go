// Package store keeps bytes on the disk under the digest of what they are, each once, with
// what is on its way there and what is known of where they came from. One process at a time
// may have it open: whoever opens it sees to that.
package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Store is one folder: all of it is on one disk, so that what is complete gets its name
// without being copied. It is safe for concurrent use.
type Store struct {
	Blobs    *Blobs
	Partials *Partials
	Origins  *Origins

	work string // for what does not outlive the process
}

// Open opens the store in a folder that exists, and clears away what a killed process left.
// Downloads that can go on stay for a week.
func Open(dir string) (*Store, error) {
	work := filepath.Join(dir, "work")
	if err := empty(work); err != nil {
		return nil, err
	}
	blobs, err := openBlobs(filepath.Join(dir, "blobs"), work)
	if err != nil {
		return nil, err
	}
	return &Store{
		Blobs: blobs, Partials: openPartials(filepath.Join(dir, "partial"), time.Now()),
		Origins: openOrigins(filepath.Join(dir, "origins"), blobs.exists), work: work,
	}, nil
}

// empty makes a folder that has nothing in it. One that is there stays: on a full disk there
// would be no room for another.
func empty(dir string) error {
	found, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return os.MkdirAll(dir, 0o700)
	}
	for _, f := range found {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, f.Name())))
	}
	return err
}

// Scratch makes an empty folder for what is being put together. It is the caller's to
// remove, and does not outlive the process.
func (s *Store) Scratch() (dir string, err error) { return os.MkdirTemp(s.work, "") }
