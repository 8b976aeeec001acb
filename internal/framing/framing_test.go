package framing

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// TestFraming follows requests that come in one piece and byte by byte.
func TestFraming(t *testing.T) {
	const post = "POST /v1/x HTTP/1.1\r\nHost: x\r\n"
	for name, c := range map[string]struct {
		text string
		want bool
	}{
		"a length":              {post + "Content-Length: 5\r\n\r\nhello", false},
		"chunks":                {post + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", false},
		"both":                  {post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", true},
		"both, the other way":   {post + "transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n", true},
		"both, no space":        {post + "TRANSFER-ENCODING:chunked\r\nCONTENT-LENGTH:0\r\n\r\n", true},
		"both, bare line feeds": {"POST / HTTP/1.1\nContent-Length: 5\nTransfer-Encoding: chunked\n\n", true},
		"both, behind much": {post + "X: " + strings.Repeat("y",
			5000) + "\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", true},
		"an empty length": {post + "Content-Length:\r\nTransfer-Encoding: chunked\r\n\r\n", true},
		"in a body": {post + "Content-Length: 66\r\n\r\nPOST / HTTP/1.1\r\nContent-Length: " +
			"5\r\nTransfer-Encoding: chunked\r\n\r\n", false},
		"in a chunk": {post + "Transfer-Encoding: chunked\r\n\r\n42\r\nPOST / HTTP/1.1\r\nContent-Length: " +
			"5\r\nTransfer-Encoding: chunked\r\n\r\n\r\n0\r\n\r\n", false},
		"in a value":       {post + "X: Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello", false},
		"another's length": {post + "X-Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false},
		"in a second request": {post + "Content-Length: 5\r\n\r\nhello" + post + "Content-Length: " +
			"5\r\nTransfer-Encoding: chunked\r\n\r\n", true},
		"behind chunks": {post + "Transfer-Encoding: chunked\r\n\r\nA;x=y\r\n0123456789\r\n0\r\nTrailer: " +
			"x\r\n\r\n" + post + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", true},
		"in two requests, one each": {post + "Content-Length: 0\r\n\r\n" + post + "Transfer-Encoding: " +
			"chunked\r\n\r\n0\r\n\r\n", false},
	} {
		for _, read := range []func(io.Reader) io.Reader{func(r io.Reader) io.Reader { return r }, iotest.OneByteReader,
			iotest.HalfReader} {
			var w Watcher
			r, buf := read(strings.NewReader(c.text)), make([]byte, 64)
			for {
				n, err := r.Read(buf)
				w.Watch(buf[:n])
				if err != nil {
					break
				}
			}
			if w.Ambiguous(w.Begun()) != c.want {
				t.Errorf("%s: %t", name, w.Ambiguous(w.Begun()))
			}
		}
	}
}

// TestOrder tells which of several requests has two ends, and how many have begun.
func TestOrder(t *testing.T) {
	const get, post = "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "POST / HTTP/1.1\r\nHost: x\r\n"
	text := get + post + "Content-Length: 5\r\n\r\nhello" + post + "Transfer-Encoding: " +
		"chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n" +
		post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
	for name, read := range map[string]func(io.Reader) io.Reader{
		"whole": func(r io.Reader) io.Reader { return r }, "by bytes": iotest.OneByteReader,
	} {
		var w Watcher
		r, buf := read(strings.NewReader(text)), make([]byte, len(text))
		for {
			n, err := r.Read(buf)
			w.Watch(buf[:n])
			if err != nil {
				break
			}
		}
		if w.Begun() != 4 || w.Ambiguous(3) || !w.Ambiguous(4) {
			t.Errorf("%s: %d begun, ambiguous after three: %t, after four: %t", name, w.Begun(), w.Ambiguous(3), w.Ambiguous(4))
		}
	}
	var w Watcher
	w.Watch([]byte(get))
	if w.Begun() != 1 {
		t.Errorf("%d have begun after one whole", w.Begun())
	}
	if w.Watch([]byte("\r\n")); w.Begun() != 1 {
		t.Error("an empty line is no request")
	}
	if w.Watch([]byte("G")); w.Begun() != 2 {
		t.Errorf("%d have begun after the first byte of a second", w.Begun())
	}
}
