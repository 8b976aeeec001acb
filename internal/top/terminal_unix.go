//go:build unix

package top

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

func terminalSize(f *os.File) (width, height int, ok bool) {
	w, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0, 0, false
	}
	return int(w.Col), int(w.Row), true
}

// isTerminal: only terminals have a window size, even if it is 0 by 0.
func isTerminal(f *os.File) bool {
	_, _, ok := terminalSize(f)
	return ok
}

// notifyResize returns a channel that tells of changes of the terminal's size,
// until stop is called.
func notifyResize() (resized <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, unix.SIGWINCH)
	return c, func() { signal.Stop(c) }
}
