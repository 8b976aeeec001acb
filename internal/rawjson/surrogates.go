package rawjson

import (
	"bytes"
	"strconv"
)

// MendSurrogates puts U+FFFD in place of halves of surrogate pairs that stand alone, as most readers
// of JSON do: clients that cut a text in the middle of a character send such. It changes the text.
func MendSurrogates(text []byte) {
	if !bytes.Contains(text, []byte(`\ud`)) && !bytes.Contains(text, []byte(`\uD`)) {
		return
	}
	for i := 0; i < len(text); {
		n := bytes.IndexByte(text[i:], '\\')
		if n < 0 {
			return
		}
		i += n
		switch code := escaped(text[i:]); {
		case code < 0:
			i += len(`\n`)
		case code>>10 == highHalf && escaped(text[i+len(`\uffff`):])>>10 == lowHalf:
			i += 2 * len(`\uffff`)
		default:
			if code>>10 == highHalf || code>>10 == lowHalf {
				copy(text[i:], `\ufffd`)
			}
			i += len(`\uffff`)
		}
	}
}

// highHalf and lowHalf are the upper bits of the halves of a pair.
const (
	highHalf = 0xD800 >> 10
	lowHalf  = 0xDC00 >> 10
)

// escaped returns the code that a text begins with as \uffff, -1 if it does not.
func escaped(text []byte) int {
	if len(text) < len(`\uffff`) || text[0] != '\\' || text[1] != 'u' {
		return -1
	}
	code, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return int(code)
}
