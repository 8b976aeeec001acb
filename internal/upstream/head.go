package upstream

import (
	"bytes"
	"io"
	"math"
	"net/http"
	"strings"
)

// head is what matters of an answer's head.
type head struct {
	status      int
	contentType string
	length      int64 // -1 if not given
	chunked     bool
	old         bool // HTTP/1.0
	close       bool // Connection: close
	keepAlive   bool // Connection: keep-alive
}

// readHead blocks until the answer's head has come, interim answers skipped, and
// leaves f at the body. With not a byte received the error is the source's own.
func (f *frames) readHead(method string) (head, error) {
	for range maxInterim + 1 {
		h, err := f.readOneHead()
		if err != nil {
			return head{}, err
		}
		if h.status == http.StatusSwitchingProtocols {
			return head{}, malformed("status 101, which was not asked for")
		}
		if h.status >= 200 {
			f.begin(h, method)
			return h, nil
		}
	}
	return head{}, malformed("more than %d interim answers", maxInterim)
}

func (f *frames) readOneHead() (head, error) {
	h := head{length: -1}
	f.lines = 0
	first := true
	for {
		line, ok, err := f.field(bufferSize)
		switch {
		case err != nil:
			return head{}, err
		case !ok:
			if err := f.receive(); err == io.EOF && f.begun {
				return head{}, io.ErrUnexpectedEOF
			} else if err != nil {
				return head{}, err
			}
			continue
		case first:
			err = h.parseStatus(line)
			first = false
		case len(line) == 0:
			return h, h.check()
		default:
			err = h.parseLine(line)
		}
		if err != nil {
			return head{}, err
		}
	}
}

// begin turns to the body that the head announces.
func (f *frames) begin(h head, method string) {
	f.left = h.length
	switch {
	case method == http.MethodHead || h.status == http.StatusNoContent || h.status == http.StatusNotModified ||
		h.length == 0:
		f.state = ended
	case h.chunked:
		f.state = inSize
	case h.length > 0:
		f.state = inBody
	default:
		f.state = untilClose
	}
}

// parseStatus reads a status line, such as "HTTP/1.1 200 OK".
func (h *head) parseStatus(line []byte) error {
	version, rest, ok := bytes.Cut(line, []byte(" "))
	h.old = string(version) == "HTTP/1.0"
	if !ok || !h.old && string(version) != "HTTP/1.1" {
		return malformed("status line %q", shorten(line))
	}
	if len(rest) < 3 || len(rest) > 3 && rest[3] != ' ' {
		return malformed("status line %q", shorten(line))
	}
	for _, c := range rest[:3] {
		if c < '0' || c > '9' {
			return malformed("status line %q", shorten(line))
		}
		h.status = h.status*10 + int(c-'0')
	}
	if h.status < 100 {
		return malformed("status line %q", shorten(line))
	}
	return nil
}

// parseLine reads a header field. Those that nobody needs are only checked.
func (h *head) parseLine(line []byte) error {
	name, value, err := parseField(line)
	if err != nil {
		return err
	}
	switch {
	case is(name, "content-type"):
		h.contentType = intern(value)
	case is(name, "content-length"):
		return h.parseLength(value)
	case is(name, "transfer-encoding"):
		if h.chunked || !is(value, "chunked") {
			return malformed("transfer coding %q", shorten(value))
		}
		h.chunked = true
	case is(name, "connection"):
		for option := range bytes.SplitSeq(value, []byte(",")) {
			option = bytes.Trim(option, " \t")
			h.close = h.close || is(option, "close")
			h.keepAlive = h.keepAlive || is(option, "keep-alive")
		}
	}
	return nil
}

func (h *head) parseLength(value []byte) error {
	length := int64(0)
	for _, c := range value {
		if c < '0' || c > '9' || length > (math.MaxInt64-9)/10 {
			return malformed("Content-Length %q", shorten(value))
		}
		length = length*10 + int64(c-'0')
	}
	if len(value) == 0 {
		return malformed("an empty Content-Length")
	}
	if h.length >= 0 && h.length != length {
		return malformed("two lengths, %d and %d", h.length, length)
	}
	h.length = length
	return nil
}

// check refuses a head whose fields contradict each other.
func (h *head) check() error {
	if h.chunked && h.length >= 0 {
		return malformed("both chunked and of length %d", h.length)
	}
	if h.chunked && h.old {
		return malformed("chunked in HTTP/1.0")
	}
	return nil
}

// reusable reports whether the connection may be used again after the answer.
//
// llama-server closes it after a stream of events, although its head promises to
// keep it. Of 300 such connections that went into the pool all the same, none
// could be used again: 256 were found closed before the next request, the other
// 44 only by a request that then had to be sent twice. So they do not go there.
func (h *head) reusable() bool {
	if h.close || h.old && !h.keepAlive {
		return false
	}
	return !h.chunked || !strings.HasPrefix(h.contentType, "text/event-stream")
}

// parseField splits a header field and refuses what no sound server sends.
func parseField(line []byte) (name, value []byte, err error) {
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 {
		return nil, nil, malformed("header field %q", shorten(line))
	}
	name = line[:colon]
	for _, c := range name {
		if !tokenChars[c] {
			return nil, nil, malformed("header field %q", shorten(line))
		}
	}
	value = bytes.Trim(line[colon+1:], " \t")
	for _, c := range value {
		if c < ' ' && c != '\t' || c == 0x7f {
			return nil, nil, malformed("header field %q", shorten(line))
		}
	}
	return name, value, nil
}

// tokenChars are the bytes of a header field's name.
var tokenChars = func() (table [256]bool) {
	for c := range table {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		digit := '0' <= c && c <= '9'
		table[c] = letter || digit || strings.IndexByte("!#$%&'*+-.^_`|~", byte(c)) >= 0
	}
	return table
}()

// is compares without case; word is in lower case.
func is(text []byte, word string) bool {
	if len(text) != len(word) {
		return false
	}
	for i := range len(word) {
		c := text[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != word[i] {
			return false
		}
	}
	return true
}

// intern returns a content type as a string, without allocating the usual ones.
func intern(value []byte) string {
	for _, usual := range []string{"application/json; charset=utf-8", "application/json", "text/event-stream"} {
		if string(value) == usual {
			return usual
		}
	}
	return string(value)
}
