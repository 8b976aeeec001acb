//go:build linux

package mps

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// hanging bounds what would never come if something were wrong.
const hanging = time.Minute

func neverEnds() context.Context { return context.Background() }

// rig is one test's directory. When the test ends, no process that it started may be
// left, whoever started it.
type rig struct {
	t    *testing.T
	root string
	opts Options
}

func newRig(t *testing.T, how string) *rig {
	t.Helper()
	root, err := os.MkdirTemp("", "lg-mps-") // t.TempDir's path is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, root: root}
	if err := os.Mkdir(r.path("pids"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv(behaviour, "as "+how)
	t.Setenv(registry, r.path("pids"))
	t.Setenv(pipeVariable, "")
	t.Setenv("GORACE", "atexit_sleep_ms=0") // each process would take a second to end
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r.opts = Options{
		Dir: r.path("m"), Keeper: []string{self, "mps-keeper"}, Control: self,
		Default: r.path("default"), WatchInterval: 10 * time.Millisecond,
	}
	t.Cleanup(func() {
		r.allGone()
		os.RemoveAll(root)
	})
	return r
}

func (r *rig) path(name string) string { return filepath.Join(r.root, name) }

// pids returns the processes that there were in a role, "" for all.
func (r *rig) pids(role string) []int {
	r.t.Helper()
	files, err := os.ReadDir(r.path("pids"))
	if err != nil {
		r.t.Fatal(err)
	}
	var list []int
	for _, file := range files {
		was, number, _ := strings.Cut(file.Name(), ".")
		pid, err := strconv.Atoi(number)
		if err != nil {
			r.t.Fatal(err)
		}
		if role == "" || was == role {
			list = append(list, pid)
		}
	}
	return list
}

// gone blocks until a process has ended.
func (r *rig) gone(pid int) {
	r.t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return
	}
	if err != nil {
		r.t.Fatal(err)
	}
	defer unix.Close(fd)
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(hanging.Milliseconds()))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if n != 1 || err != nil {
			r.t.Fatalf("process %d does not end: %v", pid, err)
		}
		return
	}
}

// allGone blocks until all processes have ended, also such as start meanwhile.
func (r *rig) allGone() {
	r.t.Helper()
	for seen := 0; ; {
		pids := r.pids("")
		for _, pid := range pids {
			r.gone(pid)
		}
		if len(pids) == seen {
			return
		}
		seen = len(pids)
	}
}

// alive fails the test if a process has ended.
func (r *rig) alive(pid int) {
	r.t.Helper()
	if err := unix.Kill(pid, 0); err != nil {
		r.t.Errorf("process %d: %v", pid, err)
	}
}

func (r *rig) acquire() *Lease {
	r.t.Helper()
	lease, err := Acquire(r.t.Context(), r.opts)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(lease.Close)
	return lease
}

// daemon returns the process that has a lease's daemon, and sees to it that it answers.
func (r *rig) daemon(l *Lease) int {
	r.t.Helper()
	text, err := os.ReadFile(filepath.Join(l.Dir(), "nvidia-cuda-mps-control.pid"))
	if err != nil {
		r.t.Fatal(err)
	}
	pid, err := strconv.Atoi(string(text))
	if err != nil {
		r.t.Fatal(err)
	}
	if !answers(r.t.Context(), r.opts.Control, os.Environ(), l.Dir()) {
		r.t.Errorf("the daemon of %s does not answer", l.Dir())
	}
	return pid
}

// lost blocks until a lease's daemon is gone and returns its error.
func (r *rig) lost(l *Lease) error {
	r.t.Helper()
	select {
	case <-l.Done():
	case <-time.After(hanging):
		r.t.Fatal("nobody noticed that the daemon is gone")
	}
	var e *Error
	if err := l.Err(); !errors.As(err, &e) || e.Code != Ended {
		r.t.Fatalf("error %v", err)
	}
	return l.Err()
}

// empty fails the test if the keeper left anything.
func (r *rig) empty() {
	r.t.Helper()
	left, err := os.ReadDir(r.opts.Dir)
	if err != nil || len(left) != 0 {
		r.t.Errorf("left behind: %v, %v", left, err)
	}
}

// hold starts another gateway, which has a lease when this returns.
func (r *rig) hold() *exec.Cmd {
	r.t.Helper()
	cmd := exec.Command(r.opts.Control, "hold", r.opts.Dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := cmd.StdinPipe(); err != nil { // open until it is killed
		r.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
		r.t.Fatalf("%q, %v", line, err)
	}
	return cmd
}

// system starts a daemon that is not the gateway's, at pipe, and returns it when it
// answers.
func (r *rig) system(pipe string) *exec.Cmd {
	r.t.Helper()
	if err := os.Mkdir(pipe, 0o700); err != nil {
		r.t.Fatal(err)
	}
	cmd := exec.Command(r.opts.Control, "-f")
	cmd.Env = append(os.Environ(), pipeVariable+"="+pipe)
	out, err := cmd.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		r.t.Fatal(err)
	}
	return cmd
}
