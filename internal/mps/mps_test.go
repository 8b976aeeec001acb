//go:build linux

package mps

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestStartAndEnd(t *testing.T) {
	r := newRig(t, "server")
	t.Setenv(visibleVariable, "1")
	lease := r.acquire()
	daemon := r.daemon(lease)
	pipe := filepath.Join(r.opts.Dir, "pipe")
	if want := []string{pipeVariable + "=" + pipe,
		logsVariable + "=" + filepath.Join(r.opts.Dir, "log")}; !slices.Equal(lease.Env(), want) {
		t.Errorf("environment %q, want %q", lease.Env(), want)
	}
	if !lease.Own() || lease.Err() != nil {
		t.Errorf("own %v, error %v", lease.Own(), lease.Err())
	}
	if text, err := os.ReadFile(filepath.Join(pipe, "visible")); err != nil || len(text) != 0 {
		t.Errorf("the daemon sees the GPUs %q alone, %v", text, err)
	}
	lease.Close()
	lease.Close()
	<-lease.Done()
	if lease.Err() != nil {
		t.Errorf("error %v", lease.Err())
	}
	r.gone(daemon)
	r.allGone()
	r.empty()
}

func TestDaemonStaysForTheOther(t *testing.T) {
	r := newRig(t, "")
	first, second := r.acquire(), r.acquire()
	daemon := r.daemon(first)
	if r.daemon(second) != daemon {
		t.Error("each has a daemon")
	}
	first.Close()
	third := r.acquire() // after the keeper has noticed, or before
	if r.daemon(second) != daemon || r.daemon(third) != daemon || second.Err() != nil {
		t.Errorf("the daemon did not stay: %v", second.Err())
	}
	second.Close()
	r.alive(daemon)
	third.Close()
	r.gone(daemon)
	r.allGone()
	r.empty()
}

// TestGatewayIsKilled: a gateway that is killed counts as one that is gone, and takes
// nobody's daemon with it, though the keeper was its child.
func TestGatewayIsKilled(t *testing.T) {
	r := newRig(t, "")
	gateway := r.hold()
	lease := r.acquire()
	daemon := r.daemon(lease)
	if err := gateway.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = gateway.Wait()
	if r.daemon(lease) != daemon || lease.Err() != nil {
		t.Errorf("the daemon went with its gateway: %v", lease.Err())
	}
	lease.Close()
	r.gone(daemon)
}

func TestTheOnlyGatewayIsKilled(t *testing.T) {
	r := newRig(t, "server")
	gateway := r.hold()
	if err := gateway.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = gateway.Wait()
	r.allGone()
	r.empty()
}

func TestDaemonDies(t *testing.T) {
	r := newRig(t, "server")
	first, second := r.acquire(), r.acquire()
	if err := syscall.Kill(r.daemon(first), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for _, lease := range []*Lease{first, second} {
		if err := r.lost(lease); !strings.Contains(err.Error(), "signal: killed") {
			t.Errorf("error %v", err)
		}
		lease.Close()
	}
	again := r.acquire() // a new one, as soon as what is left of the old one is gone
	r.daemon(again)
	again.Close()
	r.allGone()
	r.empty()
}

// TestKeeperIsKilled: the daemon goes with it, and what it leaves does not stand in a
// new one's way.
func TestKeeperIsKilled(t *testing.T) {
	r := newRig(t, "")
	lease := r.acquire()
	daemon := r.daemon(lease)
	if err := syscall.Kill(r.pids("mps-keeper")[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := r.lost(lease); !strings.Contains(err.Error(), "keeper is gone") {
		t.Errorf("error %v", err)
	}
	r.gone(daemon)
	if _, err := os.Stat(filepath.Join(r.opts.Dir, socketName)); err != nil {
		t.Fatalf("nothing stale is left, so nothing would be tested: %v", err)
	}
	again := r.acquire()
	if r.daemon(again) == daemon {
		t.Error("the daemon is the old one")
	}
	again.Close()
	r.allGone()
	r.empty()
}

func TestManyAtOnceShareOne(t *testing.T) {
	r := newRig(t, "")
	leases := make([]*Lease, 6)
	var all sync.WaitGroup
	for i := range leases {
		all.Go(func() {
			lease, err := Acquire(t.Context(), r.opts)
			if err != nil {
				t.Error(err)
				return
			}
			leases[i] = lease
		})
	}
	all.Wait()
	if n := len(r.pids("f")); n != 1 {
		t.Errorf("%d daemons were started", n)
	}
	for _, lease := range leases {
		if lease != nil {
			lease.Close()
		}
	}
}

// TestOneAfterAnother comes while the keeper of the last one is ending, or is about to.
func TestOneAfterAnother(t *testing.T) {
	r := newRig(t, "")
	for range 8 {
		lease := r.acquire()
		r.daemon(lease)
		lease.Close()
	}
	r.allGone()
	r.empty()
}

func TestDaemonThatDoesNotEnd(t *testing.T) {
	for _, how := range []string{"no-quit server", "no-quit no-term server"} {
		t.Run(how, func(t *testing.T) {
			r := newRig(t, how)
			lease := r.acquire()
			daemon := r.daemon(lease)
			lease.Close()
			r.gone(daemon)
			r.allGone()
			r.empty()
		})
	}
}

func TestDaemonThatDoesNotStart(t *testing.T) {
	for how, want := range map[string]string{
		"crash": "the control daemon ended with exit status 1; its last lines:\nno CUDA-capable device is detected",
		"mute":  "the control daemon does not answer; its last lines:\nStarting control daemon",
	} {
		t.Run(how, func(t *testing.T) {
			r := newRig(t, how)
			_, err := Acquire(t.Context(), r.opts)
			var e *Error
			if !errors.As(err, &e) || e.Code != NotStarted || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v", err)
			}
			r.allGone()
			if _, err := os.Stat(filepath.Join(r.opts.Dir, logsName, outputName)); err != nil {
				t.Errorf("nothing tells why: %v", err)
			}
		})
	}
}

// TestNobodyWaits: the context ends somewhere on the way.
func TestNobodyWaits(t *testing.T) {
	r := newRig(t, "mute")
	for _, wait := range []time.Duration{0, time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		_, err := Acquire(ctx, r.opts)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			var e *Error
			if !errors.As(err, &e) || e.Code != NotStarted { // it was late
				t.Errorf("%v: error %v", wait, err)
			}
		}
	}
}

func TestNoProgram(t *testing.T) {
	r := newRig(t, "")
	for _, program := range []string{"no-such-program-anywhere", "/no/such/program"} {
		r.opts.Control = program
		_, err := Acquire(t.Context(), r.opts)
		var e *Error
		if !errors.As(err, &e) || e.Code != ProgramMissing || !errors.Is(err, exec.ErrNotFound) ||
			!strings.Contains(err.Error(), program) {
			t.Errorf("error %v", err)
		}
	}
	if _, err := os.Stat(r.opts.Dir); !os.IsNotExist(err) {
		t.Errorf("a directory was made: %v", err)
	}
}

func TestNoKeeper(t *testing.T) {
	r := newRig(t, "")
	for _, tt := range []struct{ program, want string }{
		{"/no/such/program", "could not be started"},
		{"/bin/false", "its keeper ended: exit status 1"},
	} {
		r.opts.Keeper = []string{tt.program, "mps-keeper"}
		_, err := Acquire(t.Context(), r.opts)
		var e *Error
		if !errors.As(err, &e) || e.Code != NotStarted || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %v", err)
		}
	}
}

func TestKeeperByHand(t *testing.T) {
	r := newRig(t, "")
	out, err := exec.Command(r.opts.Control, "mps-keeper", "--dir", r.root, "--control", r.opts.Control).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "not for use by hand") {
		t.Errorf("%s, %v", out, err)
	}
}

// TestSomebodyElsesDaemon: one that is there already is used and left alone, and
// missed when it goes.
func TestSomebodyElsesDaemon(t *testing.T) {
	for _, named := range []bool{false, true} {
		r := newRig(t, "")
		pipe := r.opts.Default
		if named {
			pipe = r.path("named")
			t.Setenv(pipeVariable, pipe)
		}
		daemon := r.system(pipe)
		first, second := r.acquire(), r.acquire()
		if first.Own() || first.Dir() != pipe || first.Env()[0] != pipeVariable+"="+pipe {
			t.Errorf("own %v, %q", first.Own(), first.Env())
		}
		first.Close()
		if first.Err() != nil {
			t.Errorf("error %v", first.Err())
		}
		if r.daemon(second) != daemon.Process.Pid {
			t.Error("it is another one")
		}
		if n := len(r.pids("mps-keeper")); n != 0 {
			t.Errorf("%d keepers", n)
		}
		if err := daemon.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := r.lost(second); !strings.Contains(err.Error(), pipe) {
			t.Errorf("error %v", err)
		}
	}
}

// TestDaemonThatIsNotThere: the environment names one, and another left its files at
// the default place.
func TestDaemonThatIsNotThere(t *testing.T) {
	r := newRig(t, "")
	dead := r.system(r.opts.Default)
	dead.Process.Kill()
	dead.Wait()
	t.Setenv(pipeVariable, r.path("nowhere"))
	lease := r.acquire()
	if !lease.Own() {
		t.Errorf("%q", lease.Env())
	}
	r.daemon(lease)
	lease.Close()
}

func TestDirectoriesThatAreNotPrivate(t *testing.T) {
	r := newRig(t, "")
	open, file, link := r.path("open"), r.path("file"), r.path("link")
	if err := errors.Join(os.Mkdir(open, 0o700), os.Chmod(open, 0o750), os.WriteFile(file, nil, 0o600),
		os.Symlink(r.root, link)); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{
		"relative":                          "not an absolute path",
		open:                                "open to others (mode 0750)",
		file:                                "not a directory",
		link:                                "not a directory",
		r.path(strings.Repeat("x", maxDir)): "longer than",
		filepath.Join(file, "x"):            "not a directory",
	} {
		r.opts.Dir = dir
		_, err := Acquire(t.Context(), r.opts)
		var e *Error
		if !errors.As(err, &e) || e.Code != BadDirectory || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v", dir, err)
		}
	}
	r.opts.Dir = r.path("made/on/the/way")
	r.acquire().Close()
}

func TestDefaultDir(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/1000")
	if dir := DefaultDir(); dir != "/run/user/1000/loragate-mps" {
		t.Error(dir)
	}
	t.Setenv("XDG_RUNTIME_DIR", "")
	t.Setenv("TMPDIR", "/tmp")
	if dir := DefaultDir(); !strings.HasPrefix(dir, "/tmp/loragate-mps-") || len(dir) > maxDir {
		t.Error(dir)
	}
}
