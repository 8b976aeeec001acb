package mps

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// daemon is the control daemon as the keeper's child, in a process group of its own.
// The server that computes for the workers is the daemon's child.
type daemon struct {
	program string
	environ []string // of the keeper, less what the daemon must not see
	pipe    string
	logs    string

	pid    int
	exited chan struct{} // closed when it has been reaped
	status string        // how it ended; written before exited is closed
}

// outputName is what the daemon says itself, beside its server's log.
const outputName = "daemon.log"

// startDaemon starts the control daemon in the foreground with fresh directories. It
// does not wait until the daemon answers.
//
// The daemon must see all GPUs: it numbers those it sees anew, and a worker whose
// environment says CUDA_VISIBLE_DEVICES=1 would look for the second of them.
func startDaemon(program string, environ []string, dir string) (*daemon, error) {
	d := &daemon{
		program: program, environ: without(environ, visibleVariable, pipeVariable, logsVariable),
		pipe: filepath.Join(dir, pipeName), logs: filepath.Join(dir, logsName),
		exited: make(chan struct{}),
	}
	for _, path := range []string{d.pipe, d.logs} {
		if err := os.RemoveAll(path); err != nil {
			return nil, err
		}
		if err := os.Mkdir(path, 0o700); err != nil {
			return nil, err
		}
	}
	output, err := os.OpenFile(filepath.Join(d.logs, outputName), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer output.Close()
	cmd := exec.Command(program, "-f")
	cmd.Env = append(d.environ[:len(d.environ):len(d.environ)], pipeVariable+"="+d.pipe, logsVariable+"="+d.logs)
	cmd.Stdout, cmd.Stderr = output, output // a file: its end does not wait for its children's
	cmd.SysProcAttr = daemonAttr()
	return d, d.launch(cmd)
}

// launch starts the command. A goroutine stays locked to the thread that did for as
// long as the daemon lives: Linux ends it when that thread ends.
func (d *daemon) launch(cmd *exec.Cmd) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		d.pid = cmd.Process.Pid
		guard, err := startGuard(d.pid)
		if err != nil {
			d.signal(syscall.SIGKILL)
			_ = cmd.Wait()
			started <- err
			return
		}
		started <- nil
		d.status = describe(cmd.Wait())
		d.signal(syscall.SIGKILL) // what it left behind in its group
		guard.release()
		close(d.exited)
	}()
	return <-started
}

// signal sends sig to the daemon's group; it does nothing once that is gone.
func (d *daemon) signal(sig syscall.Signal) { _ = syscall.Kill(-d.pid, sig) }

// readyPoll is how often a daemon that starts is asked whether it answers.
const readyPoll = 50 * time.Millisecond

// ready blocks until the daemon answers, has ended, or ctx ends.
func (d *daemon) ready(ctx context.Context) error {
	ticker := time.NewTicker(readyPoll)
	defer ticker.Stop()
	for !answers(ctx, d.program, d.environ, d.pipe) {
		select {
		case <-d.exited:
			return d.ended()
		case <-ctx.Done():
			return fmt.Errorf("the control daemon does not answer%s", d.lastWords())
		case <-ticker.C:
		}
	}
	return nil
}

// ended says how the daemon ended, once it has.
func (d *daemon) ended() error {
	return fmt.Errorf("the control daemon ended with %s%s", d.status, d.lastWords())
}

// lastWords returns the end of what the daemon wrote.
func (d *daemon) lastWords() string {
	const most = 1024
	file, err := os.Open(filepath.Join(d.logs, outputName))
	if err != nil {
		return ""
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.Size() > most {
		_, _ = file.Seek(-most, io.SeekEnd)
	}
	text, _ := io.ReadAll(io.LimitReader(file, most))
	if words := strings.TrimSpace(string(text)); words != "" {
		return "; its last lines:\n" + words
	}
	return ""
}

// Bounds limit how long the keeper waits; zero fields get the defaults.
type Bounds struct {
	Grace time.Duration // with no gateway left, before the daemon is ended; 2 s
	Start time.Duration // from its start until the daemon answers; 20 s
	Quit  time.Duration // from being asked to quit until SIGTERM; 5 s
	Term  time.Duration // from SIGTERM until SIGKILL; 3 s
	Kill  time.Duration // from SIGKILL until what still lives is given up; 10 s
}

func (b Bounds) complete() Bounds {
	set := func(d *time.Duration, value time.Duration) {
		if *d <= 0 {
			*d = value
		}
	}
	set(&b.Grace, 2*time.Second)
	set(&b.Start, 20*time.Second)
	set(&b.Quit, 5*time.Second)
	set(&b.Term, 3*time.Second)
	set(&b.Kill, 10*time.Second)
	return b
}

// errGivenUp is when even SIGKILL did not end it: a driver may hold a process back.
var errGivenUp = errors.New("the control daemon could not be killed")

// end ends the daemon, with ever less regard, and everything that it started. A daemon
// that has clients waits for them when it is asked to quit, so that is bounded.
func (d *daemon) end(bounds Bounds) error {
	quit, cancel := context.WithTimeout(context.Background(), bounds.Quit)
	defer cancel()
	if !d.over() {
		_, _ = ask(quit, d.program, d.environ, d.pipe, "quit") // how it ends tells more
	}
	if !d.gone(quit) {
		d.signal(syscall.SIGTERM)
		term, cancel := context.WithTimeout(context.Background(), bounds.Term)
		defer cancel()
		if !d.gone(term) {
			d.signal(syscall.SIGKILL)
		}
	}
	kill, cancel := context.WithTimeout(context.Background(), bounds.Kill)
	defer cancel()
	if !d.gone(kill) || !killChildren(kill) {
		return errGivenUp
	}
	return nil
}

// gone blocks until the daemon has ended or ctx has, and reports whether it was the
// daemon.
func (d *daemon) gone(ctx context.Context) bool {
	select {
	case <-d.exited:
		return true
	case <-ctx.Done():
		return d.over()
	}
}

// over reports whether the daemon has ended.
func (d *daemon) over() bool {
	select {
	case <-d.exited:
		return true
	default:
		return false
	}
}

// guard is a small shell that kills the daemon's group if the keeper vanishes: the
// daemon is told by the kernel, its server is not.
type guard struct {
	cmd   *exec.Cmd
	alive *os.File // the write end that only the keeper holds
}

// guardScript reads from a pipe that nobody writes to: read returns when the keeper,
// which has the other end, is gone.
const guardScript = `trap "" HUP INT TERM; read -r _; kill -s KILL -- "-$1" 2>/dev/null`

func startGuard(pid int) (*guard, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("guard: %w", err)
	}
	defer read.Close()
	cmd := exec.Command("/bin/sh", "-c", guardScript, "loragate-mps-guard", strconv.Itoa(pid))
	cmd.Stdin = read
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		write.Close()
		return nil, fmt.Errorf("guard: %w", err)
	}
	return &guard{cmd: cmd, alive: write}, nil
}

// release ends the guard without letting it act.
func (g *guard) release() {
	_ = g.cmd.Process.Kill()
	_ = g.cmd.Wait()
	g.alive.Close()
}
