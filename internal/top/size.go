package top

import (
	"os"
	"strconv"
)

const (
	defaultWidth  = 80
	defaultHeight = 24
)

// size returns the terminal's columns and lines.
func size(f *os.File) (width, height int) {
	width, height, ok := terminalSize(f)
	if !ok || width == 0 || height == 0 {
		return fallbackWidth(), environment("LINES", defaultHeight)
	}
	return width, height
}

func fallbackWidth() int { return environment("COLUMNS", defaultWidth) }

func environment(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
		return n
	}
	return otherwise
}
