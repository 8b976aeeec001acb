package worker

import "syscall"

// sysProcAttr puts the child in a process group of its own, so that the whole
// group can be killed, and lets the kernel kill it when the thread that started
// it ends. That thread is locked for as long as the child lives (see launch).
func sysProcAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
