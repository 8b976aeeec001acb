// Package framing follows where requests begin and end on a connection, as HTTP/1.1 frames
// them, for what net/http does not tell.
package framing

import (
	"bytes"
	"strconv"
	"strings"
	"sync/atomic"
)

// Watcher looks at what comes on a connection, from its first byte on. It counts requests,
// and finds one that says in two ways where it ends: by Content-Length and by
// Transfer-Encoding. A proxy in front may have gone by the other than net/http, which
// keeps the second and drops the first without a word; what one takes for the end of a
// body is then another client's request to the other (RFC 9112, section 6.1).
//
// The connection's reader owns it, but for begun and twofold.
type Watcher struct {
	begun   atomic.Int64 // requests of which something has come
	twofold atomic.Int64 // which of them, counted from 1, has two ends; 0 is none

	part    part
	line    []byte // of the head, as far as it has come, its beginning only
	counted bool   // something of the head has come
	asked   bool   // its first line has come
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

// Begun returns of how many requests something has come.
func (w *Watcher) Begun() int64 { return w.begun.Load() }

// Ambiguous reports whether one of the first n requests said in two ways where it ends.
// What comes after it is not to be trusted; what came before is.
func (w *Watcher) Ambiguous(n int64) bool {
	twofold := w.twofold.Load()
	return twofold > 0 && twofold <= n
}

// Watch looks at what has come next.
func (w *Watcher) Watch(text []byte) {
	for len(text) > 0 && w.part != lost {
		if w.part == body || w.part == chunk {
			n := min(int64(len(text)), w.remain)
			text, w.remain = text[n:], w.remain-n
			if w.remain == 0 {
				w.part = map[part]part{body: head, chunk: chunkEnd}[w.part]
			}
			continue
		}
		end := bytes.IndexByte(text, '\n')
		piece := text
		if end >= 0 {
			piece = text[:end]
		}
		if w.part == head && !w.counted && len(piece) > 0 && piece[0] != '\r' {
			w.counted = true
			w.begun.Add(1)
		}
		w.line = append(w.line, piece[:min(len(piece), maxLine-len(w.line))]...)
		if end < 0 {
			return
		}
		text = text[end+1:]
		line := strings.TrimSuffix(string(w.line), "\r")
		w.line = w.line[:0]
		w.take(line)
	}
}

// take takes in a line of a head, or of what is around chunks.
func (w *Watcher) take(line string) {
	switch w.part {
	case chunkSize:
		digits, _, _ := strings.Cut(line, ";")
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 16, 64)
		switch {
		case err != nil || n < 0:
			w.part = lost // net/http ends the connection, too
		case n == 0:
			w.part = trailer
		default:
			w.part, w.remain = chunk, n
		}
	case chunkEnd:
		w.part = chunkSize
	case trailer:
		if line == "" {
			w.part = head
		}
	case head:
		w.field(line)
	}
}

// field takes in a line of a head.
func (w *Watcher) field(line string) {
	if line == "" {
		if w.asked {
			w.ends()
		}
		return
	}
	name, value, ok := strings.Cut(line, ":")
	switch {
	case !w.asked: // the request line
		w.asked = true
	case !ok:
	case strings.EqualFold(name, "Content-Length"):
		w.length = strings.TrimSpace(value)
		if w.length == "" {
			w.length = "0"
		}
	case strings.EqualFold(name, "Transfer-Encoding"):
		w.chunked = true
	}
}

// ends begins what comes after a head.
func (w *Watcher) ends() {
	length, chunked := w.length, w.chunked
	w.counted, w.asked, w.length, w.chunked = false, false, "", false
	switch {
	case length != "" && chunked:
		w.twofold.Store(w.begun.Load())
		w.part = lost
	case chunked:
		w.part = chunkSize
	case length != "":
		n, err := strconv.ParseInt(length, 10, 64)
		if w.remain = n; err != nil || n < 0 {
			w.part = lost
		} else if n > 0 {
			w.part = body
		}
	}
}
