package worker

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a child in its own process group that does not outlive this
// process, however this process ends.
type process struct {
	pid    int
	exited chan struct{} // closed when the child has been reaped and its group killed
	// How the child ended; written before exited is closed.
	status string
	ended  syscall.Signal // by this signal; 0 is none
}

// launch starts the command with its output going to log. It blocks until the
// child is started or could not be.
//
// A goroutine stays locked to the thread that started the child until the child
// ends: Linux sends Pdeathsig when that thread ends, not when the process does.
func launch(command string, args, env []string, log io.Writer) (*process, error) {
	cmd := exec.Command(command, args...)
	cmd.Env = env
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = sysProcAttr()
	// A grandchild that escaped the group must not keep Wait from returning.
	cmd.WaitDelay = time.Second

	p := &process{exited: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		p.pid = cmd.Process.Pid
		guard, err := startGuard(p.pid)
		if err != nil {
			p.signal(syscall.SIGKILL)
			_ = cmd.Wait()
			started <- err
			return
		}
		started <- nil
		p.status, p.ended = describeExit(cmd.Wait())
		p.signal(syscall.SIGKILL) // what the leader left behind in its group
		guard.release()
		close(p.exited)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", command, err)
	}
	return p, nil
}

// signal sends sig to the child's process group. It does nothing once the
// group is gone.
func (p *process) signal(sig syscall.Signal) { _ = syscall.Kill(-p.pid, sig) }

// stop asks the child to end with SIGTERM, kills its group after grace, and
// returns when it is gone.
func (p *process) stop(grace time.Duration) {
	p.signal(syscall.SIGTERM)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.exited:
	case <-timer.C:
		p.signal(syscall.SIGKILL)
		<-p.exited
	}
}

// describeExit returns how a child ended, and by which signal, if it was one.
func describeExit(err error) (status string, by syscall.Signal) {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return "exit status 0", 0
	case errors.As(err, &exit):
		if how, ok := exit.Sys().(syscall.WaitStatus); ok && how.Signaled() {
			by = how.Signal()
		}
		return exit.Error(), by
	default:
		return err.Error(), 0
	}
}

// guard is a small shell that waits for this process to vanish and then kills
// the child's process group. Pdeathsig reaches only the child itself and only
// on Linux; the guard reaches wrappers' children, too, and works everywhere.
type guard struct {
	cmd   *exec.Cmd
	alive *os.File // the write end that only this process holds
}

// guardScript reads from a pipe that nobody writes to: read returns when the
// last holder of the other end, this process, is gone.
const guardScript = `trap "" HUP INT TERM; read -r _; kill -s KILL -- "-$1" 2>/dev/null`

func startGuard(pid int) (*guard, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("guard: %w", err)
	}
	defer read.Close()
	cmd := exec.Command("/bin/sh", "-c", guardScript, "loragate-guard", strconv.Itoa(pid))
	cmd.Env = []string{} // it lives as long as the worker, beside it
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

// tail keeps the last lines that a child wrote, for the error that its death
// causes, and hands each line on. Safe for concurrent use.
type tail struct {
	each func(line string) // called outside the lock, by the writer

	mu      sync.Mutex
	partial []byte
	lines   []string // at most tailLines, oldest first
}

const (
	tailLines   = 40
	tailLineMax = 1024 // bytes kept of one line
)

// Write takes output as it comes and never fails.
func (t *tail) Write(p []byte) (int, error) {
	for _, line := range t.take(p) {
		t.each(line)
	}
	return len(p), nil
}

// take stores p and returns the lines that it completed.
func (t *tail) take(p []byte) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var done []string
	for _, b := range p {
		if b != '\n' {
			if len(t.partial) < tailLineMax {
				t.partial = append(t.partial, b)
			}
			continue
		}
		if line := strings.TrimRight(string(t.partial), "\r "); line != "" {
			done = append(done, line)
		}
		t.partial = t.partial[:0]
	}
	t.lines = append(t.lines, done...)
	if over := len(t.lines) - tailLines; over > 0 {
		t.lines = append([]string(nil), t.lines[over:]...)
	}
	return done
}

// String returns the kept lines, the unfinished one included.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := t.lines
	if len(t.partial) > 0 {
		lines = append(append([]string(nil), lines...), string(t.partial))
	}
	return strings.Join(lines, "\n")
}
