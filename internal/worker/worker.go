// Package worker runs one llama-server: its arguments, its readiness, its HTTP
// API, its end. It knows nothing of queues or of other workers.
//
// What it relies on in llama-server is measured in test/conformance and, where
// safety leans on it, in this package's tests.
package worker

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/loragate/loragate/internal/childenv"
	"github.com/loragate/loragate/internal/upstream"
)

// Options says how to start a worker. All paths must be absolute.
type Options struct {
	Name     string   // for logs and file names, short: it is part of a socket's path
	Command  string   // the llama-server program
	Args     []string // the user's, handed over as they are
	Model    string   // the base model's GGUF
	Alias    string   // what llama-server calls the model
	Adapters []string // GGUF files; an adapter's position is its id
	Slots    int      // sequences decoded at once
	Context  int      // tokens a slot
	KV       KV       // how the slots share the KV cache; "" is SplitKV
	Threads  int      // for the CPU's part of the work; 0 leaves it to llama-server
	Device   string   // as --device names it; "" leaves it to llama-server
	Dir      string   // a private directory that exists; the worker makes its own in it
	Env      []string // further variables of the process, as NAME=value

	// MemoryLimit is how many bytes of its own, without files' pages, the process may
	// have once it is ready; it is ended when it has more. 0 is what it has then and half
	// of what the machine has free.
	MemoryLimit int64

	StartTimeout time.Duration // from start until ready
	StopTimeout  time.Duration // from SIGTERM until SIGKILL

	Log *slog.Logger
}

// KV is how a worker's slots share its KV cache.
type KV string

const (
	// SplitKV gives every slot a buffer of its own. llama.cpp then puts into one pass
	// over the model only slots whose numbers follow each other.
	SplitKV KV = "split"
	// UnifiedKV lets all slots share one buffer, as large as those together would be,
	// and any of them run in one pass. Programs with the flag --kv-unified-per-slot
	// keep each slot to its context; others must not be used so.
	UnifiedKV KV = "unified"
)

// UnifiedFlag is what a program must have for UnifiedKV.
const UnifiedFlag = "--kv-unified-per-slot"

// Worker is a llama-server that was ready once. It is safe for concurrent use.
// Whoever started it must Stop it.
type Worker struct {
	opts    Options
	dir     string
	names   []string // of the adapters, as llama-server is told them
	key     string
	process *process
	tail    *tail
	client  *upstream.Client
	killed  atomic.Pointer[string] // the cause of the first Kill
	outgrew atomic.Bool            // that was because of its memory
	facts   Facts                  // since it is ready
}

// ExitError says how a worker's process ended.
type ExitError struct {
	Worker string
	Status string // "exit status 1", "signal: killed"
	Cause  string // why the gateway killed it, if it did
	// Outside is true if neither the gateway ended it nor itself: a signal came that no
	// process sends itself for a fault, such as that of an operator.
	Outside bool
	// Outgrew is true if it was ended because it took too much memory.
	Outgrew bool
	Log     string // the last lines it wrote
}

func (e *ExitError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "worker %s ended: %s", e.Worker, e.Status)
	if e.Cause != "" {
		fmt.Fprintf(&b, " (%s)", e.Cause)
	}
	if e.Log != "" {
		fmt.Fprintf(&b, "; its last lines:\n%s", e.Log)
	}
	return b.String()
}

// End says in one word how a process ended that nobody asked to end.
type End string

// The ends.
const (
	EndCrash   End = "crash"   // by itself
	EndOutside End = "outside" // by a signal from elsewhere
	EndMemory  End = "memory"  // it took too much
	EndKill    End = "kill"    // the gateway did not trust it any more
)

// End returns how the process ended.
func (e *ExitError) End() End {
	switch {
	case e.Outgrew:
		return EndMemory
	case e.Outside:
		return EndOutside
	case e.Cause != "":
		return EndKill
	default:
		return EndCrash
	}
}

// Start runs llama-server and blocks until it is ready with every adapter
// loaded and none in force. When that fails, or ctx ends first, the process is
// gone by the time Start returns, and an *ExitError in the error's chain tells
// what it wrote, if it ended by itself.
func Start(ctx context.Context, opts Options) (*Worker, error) {
	w, err := prepare(opts)
	if err != nil {
		return nil, fmt.Errorf("worker %s: %w", opts.Name, err)
	}
	w.process, err = launch(opts.Command, w.arguments(), w.environment(), w.tail)
	if err != nil {
		w.clean()
		return nil, fmt.Errorf("worker %s: %w", opts.Name, err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, opts.StartTimeout,
		fmt.Errorf("not ready after %s", opts.StartTimeout))
	defer cancel()
	if err := w.becomeReady(ctx); err != nil {
		w.Stop()
		return nil, fmt.Errorf("worker %s: %w", opts.Name, err)
	}
	go w.watchMemory(w.memoryLimit())
	return w, nil
}

// prepare makes the worker's directory: socket, saved slots, adapter links.
func prepare(opts Options) (*Worker, error) {
	dir, err := os.MkdirTemp(opts.Dir, "w"+opts.Name+"-")
	if err != nil {
		return nil, err
	}
	secret := make([]byte, 24)
	rand.Read(secret) // never fails, by its contract
	w := &Worker{
		opts: opts,
		dir:  dir,
		key:  hex.EncodeToString(secret),
		tail: &tail{each: func(line string) { opts.Log.Debug("llama-server", "worker", opts.Name, "line", line) }},
	}
	// A request a slot, and the pool's own calls beside them.
	w.client = upstream.New(w.socket(), "Authorization: Bearer "+w.key+"\r\n", 2*opts.Slots+4)
	if err := w.link(); err != nil {
		w.clean()
		return nil, err
	}
	return w, nil
}

func (w *Worker) socket() string  { return filepath.Join(w.dir, "s.sock") }
func (w *Worker) slotDir() string { return filepath.Join(w.dir, "slots") }

// arguments returns llama-server's command line. Ours come after the user's, so
// that they win where both are given.
func (w *Worker) arguments() []string {
	o := w.opts
	var args []string
	if o.Threads > 0 {
		args = append(args, "--threads", strconv.Itoa(o.Threads)) // Args may say otherwise
	}
	if o.Device != "" {
		args = append(args, "--device", o.Device)
	}
	args = append(args, o.Args...)
	args = append(args,
		"--host", w.socket(), // a path that ends in .sock is a Unix socket
		"--model", o.Model,
		"--alias", o.Alias,
		"--parallel", strconv.Itoa(o.Slots),
		"--ctx-size", strconv.Itoa(o.Slots*o.Context),
		"--cache-ram", "0", // the host cache is not keyed by adapter
		"--slot-save-path", w.slotDir(), // without it slots cannot be erased
		"--metrics",
		"--no-webui",
	)
	// Said either way: what llama-server does by default depends on other flags.
	if o.KV == UnifiedKV {
		args = append(args, "--kv-unified", UnifiedFlag, strconv.Itoa(o.Context))
	} else {
		args = append(args, "--no-kv-unified")
	}
	if len(o.Adapters) > 0 {
		args = append(append(args, loraArguments(w.names)...), "--lora-init-without-apply")
	}
	return args
}

// environment is what llama-server needs of ours, with the worker's key: an argument
// could be read by every user of the machine.
func (w *Worker) environment() []string {
	env := append(childenv.Of(os.Environ()), w.opts.Env...)
	return append(env, "LLAMA_API_KEY="+w.key, mediaMarker)
}

// mediaMarker is what stands for a picture in a prompt. It cannot be guessed, as llama-server's own
// cannot, but is that of all workers: clients that read it in GET /props meet any of them.
var mediaMarker = "LLAMA_MEDIA_MARKER=<__media_" + rand.Text() + "__>"

// becomeReady waits for health, then checks and turns off the adapters.
func (w *Worker) becomeReady(ctx context.Context) error {
	if err := w.waitHealthy(ctx); err != nil {
		return err
	}
	if err := w.checkAdapters(ctx); err != nil {
		return err
	}
	w.facts = w.readFacts(ctx)
	// --lora-init-without-apply leaves every adapter at scale 1.
	return w.Apply(ctx, nil)
}

// pollInterval is how often a starting worker is asked whether it is ready.
const pollInterval = 20 * time.Millisecond

func (w *Worker) waitHealthy(ctx context.Context) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		if err := w.call(ctx, http.MethodGet, "/health", nil, nil); err == nil {
			return nil
		}
		select {
		case <-w.process.exited:
			return w.Err()
		case <-ctx.Done():
			return w.withLog(context.Cause(ctx))
		case <-ticker.C:
		}
	}
}

// PID returns the process's id, which is also its process group's.
func (w *Worker) PID() int { return w.process.pid }

// Exited is closed when the process has ended.
func (w *Worker) Exited() <-chan struct{} { return w.process.exited }

// outsiders are the signals that people and systems send to end a process. The kernel's
// own SIGKILL when memory runs out is among them: a worker that grows is ended before, by
// the memory limit.
var outsiders = []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT}

// Err returns an *ExitError once the process has ended, nil before.
func (w *Worker) Err() error {
	select {
	case <-w.process.exited:
	default:
		return nil
	}
	e := &ExitError{Worker: w.opts.Name, Status: w.process.status, Log: w.tail.String()}
	if cause := w.killed.Load(); cause != nil {
		e.Cause = *cause
	}
	e.Outgrew = w.outgrew.Load()
	e.Outside = e.Cause == "" && slices.Contains(outsiders, w.process.ended)
	return e
}

// Kill ends the process group at once, without waiting. The cause appears in
// Err; that of the first call counts.
func (w *Worker) Kill(cause string) {
	w.killed.CompareAndSwap(nil, &cause)
	select {
	case <-w.process.exited: // its id may be another's by now
	default:
		w.process.signal(syscall.SIGKILL)
	}
}

// Stop asks the process to end, kills its group after the stop timeout, and
// removes the worker's files. It blocks until the process is gone. llama-server
// cuts running answers on SIGTERM: drain first.
func (w *Worker) Stop() {
	select {
	case <-w.process.exited:
	default:
		w.process.stop(w.opts.StopTimeout)
	}
	w.client.Close()
	w.clean()
}

func (w *Worker) clean() {
	if err := os.RemoveAll(w.dir); err != nil {
		w.opts.Log.Warn("cannot remove a worker's directory", "worker", w.opts.Name, "error", err)
	}
}

// withLog adds the last lines of the worker's log to an error of its start.
func (w *Worker) withLog(err error) error {
	if log := w.tail.String(); log != "" {
		return fmt.Errorf("%w; its last lines:\n%s", err, log)
	}
	return err
}
