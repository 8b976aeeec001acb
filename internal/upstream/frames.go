package upstream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
)

const (
	bufferSize = 16 << 10 // of a Body; a line of the head must fit into it
	maxHead    = 64 << 10 // bytes of one head, and of all trailers
	maxLine    = 4 << 10  // bytes of a trailer, or a chunk's size with extensions
	maxInterim = 8        // 1xx answers before the answer itself
)

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// state is where in an answer the next raw byte belongs.
type state int

const (
	inHead     state = iota
	inBody           // of a length that is known
	untilClose       // the connection's end is the body's
	inSize           // a chunk's size
	inChunk          // a chunk's data
	afterChunk       // the CRLF behind them
	inTrailer
	ended
)

// frames takes HTTP/1.1's framing off an answer, in place: one buffer holds
// decoded bytes that nobody has read yet and behind them raw bytes, of which
// only an unfinished line is ever left over.
type frames struct {
	src   io.Reader
	buf   *[bufferSize]byte
	begun bool // a byte has come
	state state
	left  int64 // bytes still to come of the body or the chunk
	lines int   // bytes of the head's or the trailers' lines so far

	// buf[r:d] is decoded, buf[p:w] is raw; r <= d <= p <= w.
	r, d, p, w int
}

var errFull = errors.New("buffer full")

// malformed is an error about what the server sent.
func malformed(format string, args ...any) error {
	return fmt.Errorf("malformed answer: "+format, args...)
}

// receive blocks for raw bytes. errFull says that there is no room for any
// before decoded ones have been read. The source's end is io.EOF.
func (f *frames) receive() error {
	f.makeRoom()
	if f.w == bufferSize {
		return errFull
	}
	n, err := f.src.Read(f.buf[f.w:])
	f.w += n
	if n > 0 {
		f.begun = true
		return nil // an error comes again with the next read
	}
	return err
}

// makeRoom moves what is in the buffer to its beginning, where that is cheap or
// needed.
func (f *frames) makeRoom() {
	if f.r < f.d && f.w < bufferSize/2 {
		return
	}
	f.d = copy(f.buf[:], f.buf[f.r:f.d])
	f.r = 0
	f.w = f.d + copy(f.buf[f.d:], f.buf[f.p:f.w])
	f.p = f.d
}

// decode takes the framing off all raw bytes that have come.
func (f *frames) decode() error {
	for f.state != ended {
		var ok bool
		var err error
		switch f.state {
		case inBody, inChunk:
			ok = f.takeData()
		case untilClose:
			f.take(f.w - f.p)
		case afterChunk:
			ok, err = f.takeChunkEnd()
		case inSize:
			ok, err = f.takeSize()
		case inTrailer:
			ok, err = f.takeTrailer()
		}
		if !ok || err != nil {
			return err
		}
	}
	return nil
}

// take decodes n raw bytes, as they are.
func (f *frames) take(n int) {
	if f.r == f.d {
		f.r, f.d = f.p, f.p+n
	} else {
		f.d += copy(f.buf[f.d:], f.buf[f.p:f.p+n])
	}
	f.p += n
}

// takeData reports whether the body, or the chunk, is whole.
func (f *frames) takeData() bool {
	n := int(min(f.left, int64(f.w-f.p)))
	f.take(n)
	return f.count(n)
}

// count notes that n bytes of the body, or the chunk, have come.
func (f *frames) count(n int) (whole bool) {
	f.left -= int64(n)
	if f.left > 0 {
		return false
	}
	if f.state == inBody {
		f.state = ended
	} else {
		f.state = afterChunk
	}
	return true
}

func (f *frames) takeChunkEnd() (bool, error) {
	raw := f.buf[f.p:min(f.w, f.p+2)]
	if !bytes.HasPrefix([]byte("\r\n"), raw) {
		return false, malformed("%q where a chunk of the declared size ends", raw)
	}
	if len(raw) < 2 {
		return false, nil
	}
	f.p += 2
	f.state = inSize
	return true, nil
}

func (f *frames) takeSize() (bool, error) {
	line, ok, err := f.line(maxLine)
	if !ok {
		return false, err
	}
	if f.left, err = parseSize(line); err != nil {
		return false, err
	}
	f.state = inChunk
	if f.left == 0 {
		f.state, f.lines = inTrailer, 0
	}
	return true, nil
}

// parseSize reads a chunk's size; extensions behind it mean nothing to us.
func parseSize(line []byte) (int64, error) {
	digits, _, _ := bytes.Cut(line, []byte(";"))
	digits = bytes.TrimRight(digits, " \t")
	if len(digits) == 0 {
		return 0, malformed("chunk size %q", shorten(line))
	}
	var size int64
	for _, c := range digits {
		v := hexValue(c)
		if v < 0 || size > math.MaxInt64>>4 {
			return 0, malformed("chunk size %q", shorten(line))
		}
		size = size<<4 | v
	}
	return size, nil
}

func hexValue(c byte) int64 {
	switch {
	case '0' <= c && c <= '9':
		return int64(c - '0')
	case 'a' <= c && c <= 'f':
		return int64(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int64(c-'A') + 10
	}
	return -1
}

// takeTrailer checks a trailer and drops it: nobody here needs one.
func (f *frames) takeTrailer() (bool, error) {
	line, ok, err := f.field(maxLine)
	if !ok {
		return false, err
	}
	if len(line) == 0 {
		f.state = ended
		return true, nil
	}
	_, _, err = parseField(line)
	return true, err
}

// field is line for the head and the trailers, whose sum is bounded.
func (f *frames) field(limit int) ([]byte, bool, error) {
	line, ok, err := f.line(limit)
	if ok {
		f.lines += len(line) + 2
	}
	if f.lines > maxHead {
		return nil, false, malformed("more than %d bytes of header fields", maxHead)
	}
	return line, ok, err
}

// line takes a line off the raw bytes and returns it without its CRLF, valid
// until the next read. It is not ok if the line has not come as a whole, which
// is an error if it has more than limit bytes.
func (f *frames) line(limit int) ([]byte, bool, error) {
	raw := f.buf[f.p:f.w]
	end := bytes.IndexByte(raw, '\n')
	if end < 0 && len(raw) < limit {
		return nil, false, nil
	}
	if end < 0 || end >= limit {
		return nil, false, malformed("a line of more than %d bytes: %q", limit, shorten(raw))
	}
	if end == 0 || raw[end-1] != '\r' {
		return nil, false, malformed("a line that does not end in CR LF: %q", shorten(raw[:end]))
	}
	f.p += end + 1
	return raw[:end-1], true, nil
}

// shorten makes what the server sent fit into an error's text.
func shorten(text []byte) []byte {
	return text[:min(len(text), 80)]
}
