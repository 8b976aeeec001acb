package gateway

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// leaderEnv has this test's program end its first thread and go on with the others.
const leaderEnv = "LORAGATE_TEST_LEADER_ENDS"

func init() {
	if os.Getenv(leaderEnv) == "" {
		return
	}
	runtime.LockOSThread() // package initialization runs on the first thread
	go func() {
		os.Stdout.WriteString("running\n")
		_, _ = bufio.NewReader(os.Stdin).ReadByte()
		os.Exit(0)
	}()
	syscall.Syscall(syscall.SYS_EXIT, 0, 0, 0) // not the raw one, with which the scheduler would wait for this thread
}

// TestThreadsThatAreLeft: a process whose first thread has ended runs while another has
// not, though the kernel calls it a zombie.
func TestThreadsThatAreLeft(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Env = append(os.Environ(), leaderEnv+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer in.Close()
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	awaitState(t, cmd.Process.Pid, "Z")
	if !Runs(cmd.Process.Pid) {
		t.Error("a process with a thread counts as gone")
	}
	in.Close()
	for limit := time.Now().Add(10 * time.Second); Runs(cmd.Process.Pid); {
		if time.Now().After(limit) {
			t.Fatal("one without any counts")
		}
	}
}

// awaitState blocks until the first thread of a process has a state.
func awaitState(t *testing.T, pid int, want string) {
	t.Helper()
	for limit := time.Now().Add(10 * time.Second); ; {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(stat), ") "+want+" ") {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("the first thread is not %s: %s", want, stat)
		}
	}
}

// TestNamesOfProcesses that look like what is behind them in /proc do not hide that they have
// ended.
func TestNamesOfProcesses(t *testing.T) {
	cat, err := exec.LookPath("cat")
	if err != nil {
		t.Skip(err)
	}
	path := filepath.Join(t.TempDir(), "a) R (b) R 1")
	if err := os.Symlink(cat, path); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	if !Runs(cmd.Process.Pid) {
		t.Error("a process that runs counts as gone")
	}
	in.Close()
	awaitState(t, cmd.Process.Pid, "Z")
	if Runs(cmd.Process.Pid) {
		t.Error("one that has ended counts as running")
	}
}
