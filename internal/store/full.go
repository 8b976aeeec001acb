package store

import (
	"errors"
	"syscall"
)

// IsFull reports whether an error of the system is of a disk, or a quota, with no room.
func IsFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
