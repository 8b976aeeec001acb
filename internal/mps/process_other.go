//go:build unix && !linux

package mps

import (
	"context"
	"os"
	"syscall"
)

// CUDA's multi-process service is for Linux. Elsewhere the package compiles, and finds
// no control program.

func daemonAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func adopt() error { return nil }

func logTo(*os.File) error { return nil }

func killChildren(context.Context) bool { return true }
