package load

import "syscall"

// sysProcAttr has the kernel end a server when the benchmark dies.
func sysProcAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} }
