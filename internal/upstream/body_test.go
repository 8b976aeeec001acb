package upstream

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
)

// decodeBody reads an answer's head from src and returns its body, which has no
// connection.
func decodeBody(src io.Reader, method string) (*Body, head, error) {
	b := &Body{}
	b.src, b.buf = src, buffers.Get().(*[bufferSize]byte)
	h, err := b.readHead(method)
	if err != nil {
		b.Close()
		return nil, h, err
	}
	b.advance()
	return b, h, nil
}

func openBody(t *testing.T, src io.Reader) *Body {
	t.Helper()
	b, _, err := decodeBody(src, http.MethodGet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// chunked returns an answer with a chunk for every part.
func chunked(parts ...string) string {
	var b strings.Builder
	b.WriteString("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
	for _, part := range append(parts, "") {
		if part != "" {
			b.WriteString(hex(len(part)) + "\r\n" + part + "\r\n")
		} else {
			b.WriteString("0\r\n\r\n")
		}
	}
	return b.String()
}

func hex(n int) string {
	const digits = "0123456789abcdef"
	if n < 16 {
		return digits[n : n+1]
	}
	return hex(n/16) + digits[n%16:n%16+1]
}

// lines reads a body by lines, the parts of long ones joined.
func lines(b *Body) ([]string, error) {
	var all []string
	line := ""
	for {
		part, err := b.ReadSlice('\n')
		line += string(part)
		switch {
		case err == nil:
			all = append(all, line)
			line = ""
		case !errors.Is(err, ErrBufferFull):
			if line != "" {
				all = append(all, line)
			}
			return all, err
		}
	}
}

func TestBodyHoweverItArrives(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 3000) // 48 KB without an end of line
	parts := []string{"data: a\n", "\nda", "ta", ": b\n\ndata: ", "c", "\n\n" + long, long, "\n", "end"}
	want := strings.Join(parts, "")
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"at once":   func(r io.Reader) io.Reader { return r },
		"by bytes":  iotest.OneByteReader,
		"by halves": iotest.HalfReader,
		"with end":  iotest.DataErrReader,
	} {
		t.Run(name, func(t *testing.T) {
			open := func() *Body { return openBody(t, wrap(strings.NewReader(chunked(parts...)))) }
			if text, err := io.ReadAll(open()); string(text) != want || err != nil {
				t.Errorf("Read gave %d bytes, %v; want %d", len(text), err, len(want))
			}
			if text, err := io.ReadAll(iotest.OneByteReader(open())); string(text) != want || err != nil {
				t.Errorf("Read of single bytes gave %d bytes, %v; want %d", len(text), err, len(want))
			}
			large := make([]byte, len(want)+1)
			if n, err := io.ReadFull(open(), large); string(large[:n]) != want || err != io.ErrUnexpectedEOF {
				t.Errorf("Read into a large buffer gave %d bytes, %v; want %d", n, err, len(want))
			}
			got, err := lines(open())
			if err != io.EOF || strings.Join(got, "\x00") != strings.Join(strings.SplitAfter(want, "\n"), "\x00") {
				t.Errorf("ReadSlice gave %d lines, %v", len(got), err)
			}
		})
	}
}

func TestReadSliceOfLongLine(t *testing.T) {
	b := openBody(t, strings.NewReader(chunked(strings.Repeat("x", bufferSize)+"y\n", "z")))
	part, err := b.ReadSlice('\n')
	if !errors.Is(err, ErrBufferFull) || len(part) == 0 || len(bytes.Trim(part, "x")) > 0 {
		t.Fatalf("got %d bytes, %v", len(part), err)
	}
	n := len(part)
	part, err = b.ReadSlice('\n')
	if err != nil || n+len(part) != bufferSize+2 || !bytes.HasSuffix(part, []byte("y\n")) {
		t.Errorf("got %d and %d bytes, %v", n, len(part), err)
	}
	if part, err = b.ReadSlice('\n'); string(part) != "z" || err != io.EOF {
		t.Errorf("got %q, %v", part, err)
	}
}

func TestPeek(t *testing.T) {
	b := openBody(t, iotest.OneByteReader(strings.NewReader(chunked("ab", "cd"))))
	if n := b.Buffered(); n != 0 {
		t.Errorf("%d bytes are buffered before the first read", n)
	}
	for _, want := range []string{"a", "abc", "ab"} {
		if got, err := b.Peek(len(want)); string(got) != want || err != nil {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	if n := b.Buffered(); n != 3 {
		t.Errorf("%d bytes are buffered, want 3", n)
	}
	if got, err := b.Peek(5); string(got) != "abcd" || err != io.EOF {
		t.Errorf("got %q, %v", got, err)
	}
	if text, err := io.ReadAll(b); string(text) != "abcd" || err != nil {
		t.Errorf("read %q, %v", text, err)
	}
	b = openBody(t, strings.NewReader(chunked(strings.Repeat("x", 2*bufferSize))))
	if got, err := b.Peek(bufferSize + 1); len(got) == 0 || !errors.Is(err, ErrBufferFull) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	b.Close()
	if got, err := b.Peek(1); len(got) != 0 || err == nil {
		t.Errorf("after Close, got %q, %v", got, err)
	}
}

// All that has come is decoded at once, so that a reader of events can tell
// whether a further one is there.
func TestBufferedSeesAllThatCame(t *testing.T) {
	b := openBody(t, strings.NewReader(chunked("data: a\n\n", "data: b\n\n", "data: c")))
	if line, err := b.ReadSlice('\n'); string(line) != "data: a\n" || err != nil {
		t.Fatalf("got %q, %v", line, err)
	}
	if got, err := b.Peek(b.Buffered()); string(got) != "\ndata: b\n\ndata: c" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// What came before the framing broke is given out, then the error, each time.
func TestErrorAfterData(t *testing.T) {
	b := openBody(t, strings.NewReader("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na\nb\r\nzz"))
	if line, err := b.ReadSlice('\n'); string(line) != "a\n" || err != nil {
		t.Errorf("got %q, %v", line, err)
	}
	line, first := b.ReadSlice('\n')
	if string(line) != "b" || first == nil || first == io.EOF {
		t.Errorf("got %q, %v", line, first)
	}
	if _, err := b.Read(make([]byte, 1)); err != first {
		t.Errorf("then came %v, not %v", err, first)
	}
	broken := errors.New("broken")
	b = openBody(t, io.MultiReader(strings.NewReader("HTTP/1.1 200 OK\r\n\r\nab"), iotest.ErrReader(broken)))
	text, err := io.ReadAll(b)
	if string(text) != "ab" {
		t.Errorf("read %q", text)
	}
	wantError(t, err, broken)
}
