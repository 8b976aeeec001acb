package httpkit

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// TestLingerIsBounded: who was refused and does not send what he has announced gets the answer, and
// is let go, when the time for it is over.
func TestLingerIsBounded(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		Linger(w, r, 1<<20, 50*time.Millisecond)
	}))
	defer s.Close()
	for _, framing := range []string{"Content-Length: 10", "Content-Length: 10000000", "Transfer-Encoding: chunked"} {
		conn, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n", framing)
		if answer, err := io.ReadAll(conn); err != nil || len(answer) == 0 {
			t.Errorf("%s: %q, %v", framing, answer, err)
		}
	}
}
