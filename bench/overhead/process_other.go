//go:build !linux

package overhead

import (
	"errors"
	"syscall"
	"time"
)

var errNotLinux = errors.New("the overhead benchmark measures processes on Linux only")

func attributes() *syscall.SysProcAttr { return nil }

func cpuTime(int) (time.Duration, error) { return 0, errNotLinux }

func peakMemory(int) (int64, error) { return 0, errNotLinux }

func children(int) ([]int, error) { return nil, errNotLinux }
