// Package terminal is about what is safe to show on one.
package terminal

import (
	"strings"
	"unicode"
)

// Clean replaces what is not printable, such as the start of a control sequence, so
// that what others named cannot move the cursor.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
