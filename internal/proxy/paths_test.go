package proxy_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// TestPaths: llama-server's other paths, a slash at the end, and HEAD.
func TestPaths(t *testing.T) {
	t.Parallel()
	st := start(t, nil)
	for _, c := range []struct {
		method, path string
		status       int
		says         string
	}{
		{"GET", "/models", 200, `"object":"list"`},
		{"GET", "/v1/models/", 200, `"object":"list"`},
		{"GET", "/models/coding", 200, `"id":"coding"`},
		{"GET", "/v1/models/coding/", 200, `"id":"coding"`},
		{"GET", "/v1/health", 200, `"ok"`},
		{"GET", "/health/", 200, `"ok"`},
		{"HEAD", "/health", 200, ""},
		{"HEAD", "/ready", 200, ""},
		{"HEAD", "/v1/models", 200, ""},
		{"HEAD", "/v1/models/coding", 200, ""},
		{"HEAD", "/v1/models/nobody", 404, ""},
		{"POST", "/chat/completions", 200, `"object":"chat.completion"`},
		{"POST", "/v1/chat/completions/", 200, `"object":"chat.completion"`},
		{"POST", "/v1/nothing/", 404, "error"},
		{"GET", "/v1/chat/completions", 405, "error"},
		{"GET", "/v1/responses/resp_1", 404, "not stored"},
		{"DELETE", "/v1/responses/resp_1", 404, "not stored"},
		{"POST", "/v1/responses/resp_1/cancel", 404, "not stored"},
		{"GET", "/v1/responses/resp_1/input_items", 404, "not stored"},
		{"POST", "/v1/responses/compact", 404, "not stored"},
		{"POST", "/v1/conversations", 404, "not stored"},
		{"GET", "/v1/conversations/conv_1/items", 404, "not stored"},
		{"POST", "/v1/batches", 404, "no batches"},
		{"POST", "/v1/batches/b/cancel", 404, "no batches"},
		{"POST", "/v1/files", 404, "not stored"},
		{"GET", "/v1/files/f/content", 404, "not stored"},
		{"POST", "/v1/responses", 400, "input"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, st.url+c.path,
			strings.NewReader(chat("coding", "hi", "")))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != c.status || !strings.Contains(string(text), c.says) {
			t.Errorf("%s %s: %d, %v: %.200s", c.method, c.path, resp.StatusCode, err, text)
		}
	}
}

// TestEncodings: bodies come in what HTTP clients have, and their limit is that of what they
// stand for.
func TestEncodings(t *testing.T) {
	t.Parallel()
	st := start(t, func(s *settings) { s.body = 64 << 10 })
	packed := func(pack func(w io.Writer) io.WriteCloser) func(string) []byte {
		return func(text string) []byte {
			var out bytes.Buffer
			w := pack(&out)
			if _, err := io.WriteString(w, text); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			return out.Bytes()
		}
	}
	ask := func(encoding string, body []byte) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, st.url+"/v1/chat/completions",
			bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Encoding", encoding)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	small, bomb := chat("coding", "hi", ""), chat("coding", strings.Repeat("a", 8<<20), "")
	for name, c := range map[string]struct {
		encoding string
		pack     func(string) []byte
	}{
		"gzip": {"gzip", packed(func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })},
		"GZIP": {" GZIP ", packed(func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })},
		"zlib": {"deflate", packed(func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) })},
		"bare deflate": {"deflate", packed(func(w io.Writer) io.WriteCloser {
			f, err := flate.NewWriter(w, flate.DefaultCompression)
			if err != nil {
				t.Fatal(err)
			}
			return f
		})},
		"zstd": {"zstd", packed(func(w io.Writer) io.WriteCloser {
			z, err := zstd.NewWriter(w)
			if err != nil {
				t.Fatal(err)
			}
			return z
		})},
		"br":       {"br", packed(func(w io.Writer) io.WriteCloser { return brotli.NewWriter(w) })},
		"identity": {"identity", func(text string) []byte { return []byte(text) }},
	} {
		if status, text := ask(c.encoding, c.pack(small)); status != http.StatusOK {
			t.Errorf("%s: %d %s", name, status, text)
		}
		if status, text := ask(c.encoding, c.pack(bomb)); status != http.StatusRequestEntityTooLarge {
			t.Errorf("%s of too much: %d %.200s", name, status, text)
		}
		if c.encoding == "identity" {
			continue
		}
		if status, text := ask(c.encoding, []byte("no such thing as that")); status != http.StatusBadRequest {
			t.Errorf("no %s: %d %.200s", name, status, text)
		}
		whole := c.pack(small)
		if status, text := ask(c.encoding, whole[:len(whole)/2]); status != http.StatusBadRequest {
			t.Errorf("half of %s: %d %.200s", name, status, text)
		}
	}
	if status, text := ask("lzma", []byte("x")); status != http.StatusUnsupportedMediaType ||
		!strings.Contains(text, "zstd") {
		t.Errorf("lzma: %d %s", status, text)
	}
	if status, text := ask("", append([]byte("\ufeff"), small...)); status != http.StatusOK {
		t.Errorf("with a byte order mark: %d %s", status, text)
	}
}

// TestEncodedBodiesAreBounded while they come: by their own length whatever they stand for, and
// by what it takes to decode them. Of several encodings none is tried.
func TestEncodedBodiesAreBounded(t *testing.T) {
	t.Parallel()
	st := start(t, func(s *settings) { s.body = 64 << 10 })
	ask := func(body io.Reader, encodings ...string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, st.url+"/v1/chat/completions", body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header["Content-Encoding"] = encodings
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	for _, twice := range [][]string{{"gzip", "gzip"}, {"identity", "gzip"}, {"gzip, gzip"}} {
		if status := ask(strings.NewReader("x"), twice...); status != http.StatusUnsupportedMediaType {
			t.Errorf("%q: %d", twice, status)
		}
	}
	var nothing bytes.Buffer
	if err := gzip.NewWriter(&nothing).Close(); err != nil {
		t.Fatal(err)
	}
	members := bytes.Repeat(nothing.Bytes(), 8<<10) // each stands for nothing
	if status := ask(io.MultiReader(bytes.NewReader(members)), "gzip"); status != http.StatusRequestEntityTooLarge {
		t.Errorf("members without bytes: %d", status)
	}
	// The beginning of a br stream of a window, and a part, of 16 MiB.
	head := "\xcf\xff\xff\xff  "
	before := liveHeap()
	const clients = 32
	for range clients {
		conn, err := net.Dial("tcp", strings.TrimPrefix(st.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := fmt.Fprintf(conn, "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"+
			"Content-Encoding: br\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(head), head); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(200 * time.Millisecond) // they are read; were they not, nothing would be found
	if after := liveHeap(); after > before+clients<<20*4 {
		t.Errorf("%d clients that have sent a few bytes take %d MiB", clients, (after-before)>>20)
	}
}

// liveHeap returns how many bytes are in use.
func liveHeap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestWhoSendsAllBeforeReadingGetsTheAnswer: of a body that nobody reads, too, and on a connection
// that ends.
func TestWhoSendsAllBeforeReadingGetsTheAnswer(t *testing.T) {
	t.Parallel()
	st := start(t, nil)
	const size = 4 << 20
	for path, status := range map[string]string{"/v1/nothing": "404", chatPath: "413"} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(st.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n", path, size)
		if _, err := io.Copy(conn, strings.NewReader(strings.Repeat("x", size))); err != nil {
			t.Errorf("%s: sending: %v", path, err)
		}
		answer, err := io.ReadAll(conn)
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 "+status) {
			t.Errorf("%s: %v, %.200s", path, err, answer)
		}
	}
}
