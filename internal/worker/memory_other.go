//go:build !linux

package worker

import "errors"

// Only Linux tells in a way that costs nothing.
func privateMemory(int) (int64, error) { return 0, errors.ErrUnsupported }
func freeMemory() (int64, error)       { return 0, errors.ErrUnsupported }
