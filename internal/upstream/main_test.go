package upstream

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	maybeServe()
	goleak.VerifyTestMain(m)
}

// socketPath returns a path for a socket: a test's own folder is too long.
func socketPath(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "up-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s.sock")
}

// peerConn is the server's side of a connection.
type peerConn struct {
	*net.UnixConn
	r *bufio.Reader
	t testing.TB
}

// request reads one request with its body; nil means that the client has gone.
func (c *peerConn) request() *http.Request {
	req, err := http.ReadRequest(c.r)
	if err != nil {
		return nil
	}
	if _, err := io.Copy(io.Discard, req.Body); err != nil {
		return nil
	}
	return req
}

func (c *peerConn) send(text string) {
	io.WriteString(c.UnixConn, text) // the client may have gone
}

// untilGone blocks until the client has closed the connection.
func (c *peerConn) untilGone() { io.Copy(io.Discard, c.r) }

// rawServer is a server whose every byte is scripted.
type rawServer struct {
	socket   string
	listener *net.UnixListener

	mu       sync.Mutex
	change   *sync.Cond
	accepted int
	open     int // connections whose script has not ended
	conns    map[*peerConn]bool
}

// serve runs script for every connection, with the connection's number from 0,
// and closes the connection when it returns.
func serve(t testing.TB, script func(n int, c *peerConn)) *rawServer {
	t.Helper()
	s := &rawServer{socket: socketPath(t), conns: map[*peerConn]bool{}}
	s.change = sync.NewCond(&s.mu)
	var err error
	if s.listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: s.socket, Net: "unix"}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := s.listener.AcceptUnix()
			if err != nil {
				return
			}
			c := &peerConn{UnixConn: nc, r: bufio.NewReader(nc), t: t}
			n := s.add(c)
			wg.Go(func() {
				defer s.remove(c)
				script(n, c)
			})
		}
	})
	t.Cleanup(func() {
		s.listener.Close()
		s.mu.Lock()
		for c := range s.conns {
			c.Close()
		}
		s.mu.Unlock()
		wg.Wait()
	})
	return s
}

func (s *rawServer) add(c *peerConn) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[c] = true
	s.accepted++
	s.open++
	return s.accepted - 1
}

func (s *rawServer) remove(c *peerConn) {
	c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	s.open--
	s.change.Broadcast()
}

// awaitOpen blocks until n connections are open. The scripts end when the client
// closes, so a leaked connection makes the test time out.
func (s *rawServer) awaitOpen(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.open != n {
		s.change.Wait()
	}
}

func (s *rawServer) dials() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted
}

// client returns a client of the server that is closed with the test.
func (s *rawServer) client(t testing.TB) *Client {
	c := New(s.socket, "Authorization: Bearer k\r\n", 4)
	t.Cleanup(c.Close)
	return c
}

// answering serves the same bytes to every request, on as many connections as
// are made. With last it closes the connection after the first.
func answering(t testing.TB, text string, last bool) *rawServer {
	t.Helper()
	return serve(t, func(_ int, c *peerConn) {
		for c.request() != nil {
			c.send(text)
			if last {
				return
			}
		}
	})
}

// get makes a request and reads the whole answer.
func get(t testing.TB, c *Client, method string) (*Response, string, error) {
	t.Helper()
	resp, err := c.Do(t.Context(), method, "/x", nil)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp, string(text), err
}

// mustGet is get for what has to succeed.
func mustGet(t testing.TB, c *Client) string {
	t.Helper()
	resp, text, err := get(t, c, http.MethodGet)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Status != http.StatusOK {
		t.Fatalf("status %d: %s", resp.Status, text)
	}
	return text
}

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func wantError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("the error is %v, want %v in its chain", err, want)
	}
}
