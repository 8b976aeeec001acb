package upstream

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"testing"
)

// pieces gives at most n bytes a read.
type pieces struct {
	data []byte
	n    int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.data) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.n)], p.data)
	p.data = p.data[n:]
	return n, nil
}

// readAnswer decodes an answer and reads its body in two ways that must agree.
func readAnswer(t *testing.T, data []byte, piece int, method string) (head, []byte, error) {
	t.Helper()
	b, h, err := decodeBody(&pieces{data, piece}, method)
	if err != nil {
		return h, nil, err
	}
	defer b.Close()
	text, err := io.ReadAll(b)

	again, _, headErr := decodeBody(&pieces{data, len(data) + 1}, method)
	if headErr != nil {
		t.Fatalf("the head is right in pieces of %d, whole it is %v", piece, headErr)
	}
	defer again.Close()
	parts, byLines := lines(again)
	var joined []byte
	for _, part := range parts {
		joined = append(joined, part...)
	}
	if !bytes.Equal(text, joined) || (err == nil) != (byLines == io.EOF) {
		t.Fatalf("in pieces: %q, %v; by lines: %q, %v", text, err, joined, byLines)
	}
	return h, text, err
}

// FuzzResponse feeds arbitrary bytes to the parser. What it takes for a whole
// answer must be what net/http takes for one, wherever that one does not refuse.
func FuzzResponse(f *testing.F) {
	for _, seed := range []string{
		okAnswer,
		chunked("data: a\n\n", "data: b\n\n"),
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nA: b\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nuntil the end",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
		"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
	} {
		f.Add([]byte(seed), uint16(3), false)
		f.Add([]byte(seed), uint16(100), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, piece uint16, isHead bool) {
		method := http.MethodGet
		if isHead {
			method = http.MethodHead
		}
		h, text, err := readAnswer(t, data, int(piece)+1, method)
		if len(text) > len(data) || h.length >= 0 && int64(len(text)) > h.length {
			t.Fatalf("%d bytes of %d, %d were declared", len(text), len(data), h.length)
		}
		if err != nil {
			return
		}
		if h.length >= 0 && !isHead && h.status != 204 && h.status != 304 && int64(len(text)) != h.length {
			t.Fatalf("%d bytes without an error, %d were declared", len(text), h.length)
		}
		if want, ok := byNetHTTP(data, method); ok && !bytes.Equal(text, want) {
			t.Fatalf("the body is %q, for net/http %q", text, want)
		}
	})
}

// byNetHTTP reads an answer's body as net/http does; not ok if it refuses.
func byNetHTTP(data []byte, method string) ([]byte, bool) {
	r := bufio.NewReader(bytes.NewReader(data))
	for {
		resp, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			return nil, false
		}
		if resp.StatusCode < 200 {
			continue
		}
		text, err := io.ReadAll(resp.Body)
		return text, err == nil
	}
}
