//go:build !unix

package top

import "os"

func terminalSize(*os.File) (width, height int, ok bool) { return 0, 0, false }

// isTerminal is false where it cannot be told: one plain frame is always right.
func isTerminal(*os.File) bool { return false }

func notifyResize() (resized <-chan os.Signal, stop func()) { return nil, func() {} }
