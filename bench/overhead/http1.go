package overhead

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// What the fake upstream and the load generator need of HTTP/1.1, without
// allocating: their own cost is part of every number.

// framing says how a message's body is delimited, and whether the connection
// goes on after it.
type framing struct {
	length  int64 // of the body; -1 if no Content-Length was given
	chunked bool
	close   bool // Connection: close
	expect  bool // Expect: 100-continue
}

var errHeaderLine = errors.New("a header line has no colon")

// readLine returns a line without its end; it is valid until the next read. A
// line that does not fit the reader's buffer is an error.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		if errors.Is(err, io.EOF) && len(line) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	line = line[:len(line)-1]
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line, nil
}

// readHeaders reads up to the empty line that ends the headers.
func readHeaders(r *bufio.Reader) (framing, error) {
	f := framing{length: -1}
	for {
		line, err := readLine(r)
		if err != nil {
			return f, noEOF(err)
		}
		if len(line) == 0 {
			return f, nil
		}
		colon := bytes.IndexByte(line, ':')
		if colon < 0 {
			return f, errHeaderLine
		}
		if err := f.take(line[:colon], bytes.TrimSpace(line[colon+1:])); err != nil {
			return f, err
		}
	}
}

// take notes a header if it is one that counts here.
func (f *framing) take(name, value []byte) error {
	switch {
	case is(name, "content-length"):
		n, err := strconv.ParseInt(string(value), 10, 64)
		if err != nil || n < 0 {
			return fmt.Errorf("bad Content-Length %q", value)
		}
		f.length = n
	case is(name, "transfer-encoding"):
		if !is(value, "chunked") {
			return fmt.Errorf("unknown Transfer-Encoding %q", value)
		}
		f.chunked = true
	case is(name, "connection"):
		f.close = is(value, "close")
	case is(name, "expect"):
		f.expect = is(value, "100-continue")
	}
	return nil
}

// is compares without regard to case; lower must be in lower case.
func is(text []byte, lower string) bool {
	if len(text) != len(lower) {
		return false
	}
	for i, c := range text {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// readBody hands a body's parts to each as they come, in chunks as they were
// sent or in what the buffer holds. A part is valid during the call only.
func readBody(r *bufio.Reader, f framing, each func(part []byte)) error {
	if !f.chunked {
		return readPart(r, max(f.length, 0), each)
	}
	for {
		line, err := readLine(r)
		if err != nil {
			return noEOF(err)
		}
		if semicolon := bytes.IndexByte(line, ';'); semicolon >= 0 {
			line = line[:semicolon]
		}
		size, err := strconv.ParseUint(string(bytes.TrimSpace(line)), 16, 31)
		if err != nil {
			return fmt.Errorf("bad chunk size %q", line)
		}
		if size == 0 {
			return readTrailers(r)
		}
		if err := readPart(r, int64(size), each); err != nil {
			return err
		}
		if line, err = readLine(r); err != nil {
			return noEOF(err)
		}
		if len(line) != 0 {
			return errors.New("a chunk is longer than it says")
		}
	}
}

// readPart hands on exactly n bytes.
func readPart(r *bufio.Reader, n int64, each func(part []byte)) error {
	for n > 0 {
		if r.Buffered() == 0 {
			if _, err := r.Peek(1); err != nil { // blocks until there is something
				return noEOF(err)
			}
		}
		part, err := r.Peek(int(min(n, int64(r.Buffered()))))
		if err != nil {
			return noEOF(err)
		}
		each(part)
		n -= int64(len(part))
		if _, err := r.Discard(len(part)); err != nil {
			return noEOF(err)
		}
	}
	return nil
}

func readTrailers(r *bufio.Reader) error {
	for {
		line, err := readLine(r)
		if err != nil {
			return noEOF(err)
		}
		if len(line) == 0 {
			return nil
		}
	}
}

// noEOF makes the end of a connection inside a message an error of its own.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
