package accept

import (
	"bytes"
	"strconv"
	"strings"
	"sync/atomic"
)

// framing follows the requests on a connection, as HTTP/1.1 frames them, to find one
// that says in two ways where it ends: by Content-Length and by Transfer-Encoding. A
// proxy in front may have gone by the other than net/http, which keeps the second and
// drops the first without a word; what one takes for the end of a body is then another
// client's request to the other (RFC 9112, section 6.1).
//
// The connection's reader owns it, but for ambiguous.
type framing struct {
	ambiguous atomic.Bool

	part    part
	line    []byte // of the head, as far as it has come, its beginning only
	begun   bool   // a line of the head has come
	remain  int64  // bytes of the body, or of a chunk, that are still to come
	length  string // Content-Length, "" if not given
	chunked bool   // Transfer-Encoding was given
}

// part is what is being read.
type part int

const (
	head part = iota
	body
	chunkSize
	chunk
	chunkEnd
	trailer
	lost // it is not to be followed any more
)

// maxLine is how much is kept of a line: more than the longest name that counts and a
// number.
const maxLine = 128

// Ambiguous reports whether a request on the connection said in two ways where it ends.
// What comes after is not to be trusted.
func (f *framing) Ambiguous() bool { return f.ambiguous.Load() }

func (f *framing) watch(text []byte) {
	for len(text) > 0 && f.part != lost {
		if f.part == body || f.part == chunk {
			n := min(int64(len(text)), f.remain)
			text, f.remain = text[n:], f.remain-n
			if f.remain == 0 {
				f.part = map[part]part{body: head, chunk: chunkEnd}[f.part]
			}
			continue
		}
		end := bytes.IndexByte(text, '\n')
		piece := text
		if end >= 0 {
			piece = text[:end]
		}
		f.line = append(f.line, piece[:min(len(piece), maxLine-len(f.line))]...)
		if end < 0 {
			return
		}
		text = text[end+1:]
		line := strings.TrimSuffix(string(f.line), "\r")
		f.line = f.line[:0]
		f.take(line)
	}
}

// take takes in a line of a head, or of what is around chunks.
func (f *framing) take(line string) {
	switch f.part {
	case chunkSize:
		digits, _, _ := strings.Cut(line, ";")
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 16, 64)
		switch {
		case err != nil || n < 0:
			f.part = lost // net/http ends the connection, too
		case n == 0:
			f.part = trailer
		default:
			f.part, f.remain = chunk, n
		}
	case chunkEnd:
		f.part = chunkSize
	case trailer:
		if line == "" {
			f.part = head
		}
	case head:
		f.field(line)
	}
}

// field takes in a line of a head.
func (f *framing) field(line string) {
	if line == "" {
		if f.begun {
			f.ends()
		}
		return
	}
	name, value, ok := strings.Cut(line, ":")
	switch {
	case !f.begun: // the request line
		f.begun = true
	case !ok:
	case strings.EqualFold(name, "Content-Length"):
		f.length = strings.TrimSpace(value)
		if f.length == "" {
			f.length = "0"
		}
	case strings.EqualFold(name, "Transfer-Encoding"):
		f.chunked = true
	}
}

// ends begins what comes after a head.
func (f *framing) ends() {
	length, chunked := f.length, f.chunked
	f.begun, f.length, f.chunked = false, "", false
	switch {
	case length != "" && chunked:
		f.ambiguous.Store(true)
		f.part = lost
	case chunked:
		f.part = chunkSize
	case length != "":
		n, err := strconv.ParseInt(length, 10, 64)
		if f.remain = n; err != nil || n < 0 {
			f.part = lost
		} else if n > 0 {
			f.part = body
		}
	}
}
