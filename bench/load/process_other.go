//go:build !linux

package load

import "syscall"

func sysProcAttr() *syscall.SysProcAttr { return nil }
