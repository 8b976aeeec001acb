// Package mps has NVIDIA's multi-process service for as long as gateways need it.
// Under it the workers on one GPU compute at the same time instead of in turns.
//
// The service's control daemon belongs to a keeper, a process of its own that no
// gateway owns: each gateway that uses the daemon holds a connection to the keeper,
// a Lease, and the keeper ends the daemon and itself when the last one is gone,
// however it went. So a gateway that takes over from another finds the daemon that
// the workers are already using. A daemon that somebody else runs is used instead,
// and left alone.
package mps

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// Program is the control program as NVIDIA's driver installs it.
const Program = "nvidia-cuda-mps-control"

// Options says how to have the service. Only Keeper must be set.
type Options struct {
	// Dir is where the keeper and its daemon have their sockets and logs. All gateways
	// that are to share a daemon name the same one. It is made private to this user and
	// has to stay short: "" is DefaultDir.
	Dir string
	// Keeper is the command that ends up in Keep, the program by an absolute path;
	// "--dir DIR --control PROGRAM" is added.
	Keeper []string
	// Control is the control program; "" looks for Program in PATH.
	Control string
	// Environ is this process's, as in os.Environ, which is what nil means.
	Environ []string
	// Default is the directory of a daemon that the system runs for everybody; "" is
	// CUDA's own default.
	Default string
	// WatchInterval is how often a daemon that is not ours is asked for a sign of
	// life; 0 is ten seconds.
	WatchInterval time.Duration

	Log *slog.Logger // nil discards
}

// Code says for machines why the service is not to be had.
type Code string

const (
	ProgramMissing Code = "mps_program_missing" // there is no control program
	BadDirectory   Code = "mps_bad_directory"   // Options.Dir cannot be used
	NotStarted     Code = "mps_not_started"     // the keeper or the daemon did not come up
	Ended          Code = "mps_ended"           // it was there, and is not any more
)

// Error is why the service is not to be had, in words for people.
type Error struct {
	Code    Code
	Message string
	Cause   error // nil for none; exec.ErrNotFound is in ProgramMissing's
}

func (e *Error) Error() string {
	if e.Cause == nil {
		return e.Message
	}
	return e.Message + ": " + e.Cause.Error()
}

func (e *Error) Unwrap() error { return e.Cause }

// DefaultDir returns the directory that one user's gateways share: in the user's
// runtime directory where there is one, else in the system's temporary directory
// with the user's number. Both are on a local file system and are emptied at boot.
// A path to a socket holds 107 bytes, and the daemon's is a few names deeper.
func DefaultDir() string {
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, "loragate-mps")
	}
	return filepath.Join(os.TempDir(), "loragate-mps-"+strconv.Itoa(os.Geteuid()))
}

// Acquire has the service ready for use: an existing daemon that the environment
// names or that is at CUDA's default place, else the one that a running keeper has,
// else one with a keeper of its own. It blocks until the daemon answers, until it is
// clear that it will not, or until ctx ends; two that are called at once share one.
// Every error is an *Error, but for the one of ctx.
func Acquire(ctx context.Context, o Options) (*Lease, error) {
	o = o.complete()
	program, err := find(o.Control)
	if err != nil {
		return nil, &Error{Code: ProgramMissing, Message: "the control program of CUDA's multi-process service is not " +
			"there", Cause: err}
	}
	o.Control = program
	if lease := o.existing(ctx); lease != nil {
		return lease, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if err := private(o.Dir); err != nil {
		return nil, &Error{Code: BadDirectory, Message: "the directory for CUDA's multi-process service cannot be used",
			Cause: err}
	}
	// One gateway at a time looks for a keeper and starts one. Nobody holds the lock
	// for longer than a daemon takes to start, or an old one to end.
	lock, err := waitForLock(ctx, func() (*os.File, error) { return os.Open(o.Dir) })
	if err != nil {
		return nil, failed(ctx, BadDirectory, "the directory for CUDA's multi-process service cannot be locked", err)
	}
	defer lock.Close()
	return o.join(ctx)
}

// complete fills in what was left out.
func (o Options) complete() Options {
	if o.Dir == "" {
		o.Dir = DefaultDir()
	}
	if o.Control == "" {
		o.Control = Program
	}
	if o.Environ == nil {
		o.Environ = os.Environ()
	}
	if o.Default == "" {
		o.Default = "/tmp/nvidia-mps"
	}
	if o.WatchInterval == 0 {
		o.WatchInterval = 10 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// find returns the program's absolute path. The error has exec.ErrNotFound in it
// where there is no such file, also for a program that is named by its path.
func find(program string) (string, error) {
	path, err := exec.LookPath(program)
	if errors.Is(err, fs.ErrNotExist) {
		return "", &exec.Error{Name: program, Err: exec.ErrNotFound}
	}
	if err != nil {
		return "", err
	}
	return filepath.Abs(path)
}

// failed makes an Error of err unless ctx ended meanwhile, which is why it failed then.
func failed(ctx context.Context, code Code, message string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var known *Error
	if errors.As(err, &known) {
		return known
	}
	return &Error{Code: code, Message: message, Cause: err}
}

// ended is a lease's error.
func ended(format string, args ...any) *Error {
	return &Error{Code: Ended, Message: "CUDA's multi-process service ended", Cause: fmt.Errorf(format, args...)}
}
