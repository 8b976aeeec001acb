package pool

import (
	"errors"
	"fmt"
	"time"
)

// ErrStopping is returned for requests that come or still wait while the pool
// stops.
var ErrStopping = errors.New("the gateway is stopping")

// Reason says why a request was turned away.
type Reason string

const (
	ReasonQueueFull Reason = "queue_full" // too many wait already
	ReasonWaited    Reason = "queue_wait" // it waited as long as a request may
	ReasonNoWorker  Reason = "no_worker"  // every worker is down and keeps failing
)

// BusyError turns a request away that may come again.
type BusyError struct {
	Reason     Reason
	RetryAfter time.Duration // when to come again, never less than a second
}

func (e *BusyError) Error() string {
	return fmt.Sprintf("%s, retry after %s", e.Reason, e.RetryAfter.Round(time.Second))
}

// WorkerError says that workers failed while the request was being made ready
// on them, more than once.
type WorkerError struct{ Cause error }

func (e *WorkerError) Error() string { return fmt.Sprintf("worker failed: %v", e.Cause) }

func (e *WorkerError) Unwrap() error { return e.Cause }

// QuarantinedFileError says that an adapter's file cannot be loaded: it ended the
// processes that tried, or it is gone.
type QuarantinedFileError struct {
	File   File
	Reason string
}

func (e *QuarantinedFileError) Error() string {
	return fmt.Sprintf("%s cannot be loaded: %s", e.File, e.Reason)
}

// NoRoomError says that a target needs more files at once than a worker may have
// loaded beside those that are pinned.
type NoRoomError struct{ Files int }

func (e *NoRoomError) Error() string {
	return fmt.Sprintf("no worker has room for %d files at once", e.Files)
}

// The bounds of Retry-After, which counts in whole seconds.
const (
	retrySoon = time.Second
	retryLate = time.Minute
)
