package proxy_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestBodiesShareTheMemory announces a body and sends none of it: what another one
// would take is refused before it is read, a small one is not, and there is room again
// when the first has gone.
func TestBodiesShareTheMemory(t *testing.T) {
	t.Parallel()
	s := start(t, func(s *settings) { s.body, s.memory = 1<<20, 3<<20 })
	begin := func(length int) (net.Conn, int) {
		c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n",
			chatPath, length)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode == http.StatusServiceUnavailable && (resp.Header.Get("Retry-After") == "" || !resp.Close) {
			t.Errorf("refused with %v, and the connection stays: %t", resp.Header, !resp.Close)
		}
		return c, resp.StatusCode
	}
	first, status := begin(600 << 10)
	if status != http.StatusContinue {
		t.Fatal(status)
	}
	if _, status := begin(600 << 10); status != http.StatusServiceUnavailable {
		t.Errorf("beside another: %d", status)
	}
	if resp, text := s.post(chatPath, chat("coding", "Hi", "")); resp.StatusCode != http.StatusOK {
		t.Errorf("a small one: %d %s", resp.StatusCode, text)
	}
	first.Close()
	s.log.wait(t, func(l map[string]any) bool { return l["status"] == float64(499) || l["status"] == float64(400) })
	for range 100 { // the line is written before the room is given back
		if _, status = begin(600 << 10); status == http.StatusContinue {
			return
		}
	}
	t.Errorf("after the other has gone: %d", status)
}
