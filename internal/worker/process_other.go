//go:build unix && !linux

package worker

import "syscall"

// sysProcAttr puts the child in a process group of its own, so that the whole
// group can be killed. Here only the guard ends it when the gateway dies.
func sysProcAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
