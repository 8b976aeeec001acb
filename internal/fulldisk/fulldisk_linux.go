// Package fulldisk gives tests a small disk of their own that really is full.
package fulldisk

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Disk is a file system in memory that only the test's process, and those that it starts,
// can see.
type Disk struct {
	t   testing.TB
	Dir string // where it is mounted
}

// inside marks the process that has the disk.
const inside = "LORAGATE_TEST_DISK"

// New runs the test that calls it, first of all, once more in a process that may mount
// something. There it returns a disk of that size, such as "8m". In the process that called
// it first it returns nil when the other has ended, with what that has printed as this
// test's: the test is over then. A system that does not allow it is a failure.
func New(t *testing.T, size string) *Disk {
	t.Helper()
	if os.Getenv(inside) == "" {
		again(t)
		return nil
	}
	d := &Disk{t: t, Dir: t.TempDir()}
	if err := unix.Mount("tmpfs", d.Dir, "tmpfs", 0, "size="+size+",mode=700"); err != nil {
		t.Fatalf("no disk to fill: tmpfs cannot be mounted in a user namespace (%v): run the tests where it can", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(d.Dir, unix.MNT_DETACH) })
	return d
}

// again runs the test in a user and mount namespace of its own.
func again(t *testing.T) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.count=1")
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		t.Fatalf("in its own namespace: %v\n%s", err, out)
	case err != nil:
		t.Fatalf("no disk to fill: no user namespace can be made (%v): allow it (sysctl "+
			"kernel.unprivileged_userns_clone=1, user.max_user_namespaces above 0, "+
			"kernel.apparmor_restrict_unprivileged_userns=0), or run the tests as root", err)
	}
	t.Logf("in its own namespace:\n%s", out)
}

func (d *Disk) filler() string { return filepath.Join(d.Dir, "filler") }

// Fill takes all the room that there is, to the last byte.
func (d *Disk) Fill() {
	d.t.Helper()
	f, err := os.OpenFile(d.filler(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 64<<10))
	}
	if !errors.Is(err, unix.ENOSPC) || d.Room() > 0 {
		d.t.Fatalf("the disk is not full: %d bytes are free, %v", d.Room(), err)
	}
}

// Empty gives back what Fill has taken.
func (d *Disk) Empty() {
	d.t.Helper()
	if err := os.Remove(d.filler()); err != nil {
		d.t.Fatal(err)
	}
}

// Room returns how many bytes are free.
func (d *Disk) Room() int64 {
	d.t.Helper()
	var fs unix.Statfs_t
	if err := unix.Statfs(d.Dir, &fs); err != nil {
		d.t.Fatal(err)
	}
	return int64(fs.Bavail) * fs.Bsize
}
