package upstream

import (
	"context"
	"errors"
	"fmt"
	"syscall"
)

// ErrStarved is what an error is when no connection could be had before ctx's deadline
// because this process, or the machine, had no file or memory for one. It tells
// nothing of the server, and is no deadline's error.
var ErrStarved = errors.New("no file is left to open a connection with")

// starved reports whether a connection failed for what is short on this side.
func starved(err error) bool {
	for _, short := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, short) {
			return true
		}
	}
	return false
}

// waitedFor is the error of a dial that has tried until ctx ended; last is why it had
// to try again.
func waitedFor(ctx context.Context, last error) error {
	if starved(last) && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%w: %v", ErrStarved, last)
	}
	return contextError(ctx)
}
