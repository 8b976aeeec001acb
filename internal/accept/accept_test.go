package accept

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// TestFraming follows requests that come in one piece and byte by byte.
func TestFraming(t *testing.T) {
	const post = "POST /v1/x HTTP/1.1\r\nHost: x\r\n"
	for name, c := range map[string]struct {
		text string
		want bool
	}{
		"a length":                  {post + "Content-Length: 5\r\n\r\nhello", false},
		"chunks":                    {post + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", false},
		"both":                      {post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", true},
		"both, the other way":       {post + "transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n", true},
		"both, no space":            {post + "TRANSFER-ENCODING:chunked\r\nCONTENT-LENGTH:0\r\n\r\n", true},
		"both, bare line feeds":     {"POST / HTTP/1.1\nContent-Length: 5\nTransfer-Encoding: chunked\n\n", true},
		"both, behind much":         {post + "X: " + strings.Repeat("y", 5000) + "\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", true},
		"an empty length":           {post + "Content-Length:\r\nTransfer-Encoding: chunked\r\n\r\n", true},
		"in a body":                 {post + "Content-Length: 66\r\n\r\nPOST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", false},
		"in a chunk":                {post + "Transfer-Encoding: chunked\r\n\r\n42\r\nPOST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n\r\n0\r\n\r\n", false},
		"in a value":                {post + "X: Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello", false},
		"another's length":          {post + "X-Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false},
		"in a second request":       {post + "Content-Length: 5\r\n\r\nhello" + post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", true},
		"behind chunks":             {post + "Transfer-Encoding: chunked\r\n\r\nA;x=y\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n" + post + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", true},
		"in two requests, one each": {post + "Content-Length: 0\r\n\r\n" + post + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false},
	} {
		for _, read := range []func(io.Reader) io.Reader{func(r io.Reader) io.Reader { return r }, iotest.OneByteReader, iotest.HalfReader} {
			var f framing
			r, buf := read(strings.NewReader(c.text)), make([]byte, 64)
			for {
				n, err := r.Read(buf)
				f.watch(buf[:n])
				if err != nil {
					break
				}
			}
			if f.Ambiguous() != c.want {
				t.Errorf("%s: %t", name, f.Ambiguous())
			}
		}
	}
}

// TestNoMoreThanCanBeServed has a server with two places: a third client waits until
// one of the others has no request any more.
func TestNoMoreThanCanBeServed(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := Listen(inner, 2)
	began, end := make(chan string), make(chan struct{})
	server := &http.Server{ConnState: l.State, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		began <- r.URL.Path
		<-end
	})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	ask := func(path string) net.Conn {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
		return c
	}
	ask("/1")
	ask("/2")
	both := <-began + <-began
	ask("/3") // is in the system's queue: there is no place
	select {
	case path := <-began:
		t.Fatalf("%s began beside %s", path, both)
	default:
	}
	end <- struct{}{} // and its connection stays open, idle
	if path := <-began; path != "/3" {
		t.Errorf("%s began", path)
	}
	end <- struct{}{}
	ask("/4") // there are two idle ones in its place
	if path := <-began; path != "/4" {
		t.Errorf("%s began", path)
	}
	end <- struct{}{}
	end <- struct{}{}
	server.Close()
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}

// TestCloseWakes closes a listener that waits for a place.
func TestCloseWakes(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := Listen(inner, 1)
	c, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	first, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error)
	go func() {
		_, err := l.Accept()
		failed <- err
	}()
	l.Close()
	if err := <-failed; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	first.Close()
	first.Close() // gives one place back, not two
	if len(l.places) != 0 {
		t.Error(len(l.places))
	}
}

// TestSilentConnectionsMakeRoom fills all places, and the queue behind them, with
// connections on which nothing is ever sent.
func TestSilentConnectionsMakeRoom(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := Listen(tcp, 8)
	server := &http.Server{
		ConnState: l.State, ReadHeaderTimeout: time.Minute,
		Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
	}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close() })
	begun := time.Now() // before the oldest of them
	for range 20 {
		c, err := net.Dial("tcp", tcp.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
	client := http.Client{Timeout: 30 * time.Second}
	resp, err := client.Get("http://" + tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if took := time.Since(begun); took < firstRequest {
		t.Errorf("took %s: connections are closed before they could send anything", took)
	}
}
