package admin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener in memory, so that connections and their deadlines live by
// a test's own clock.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// client is one connection to a server.
type client struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

// serving runs a test against a server, with all its timeouts, in virtual time.
func serving(t *testing.T, r *rig, test func(t *testing.T, c *client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		server, listener := New(Handler(r.options()), slog.New(slog.DiscardHandler)),
			&pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
		ended := make(chan error)
		go func() { ended <- server.Serve(listener) }()
		ours, theirs := net.Pipe()
		listener.conns <- theirs
		test(t, &client{t, ours, bufio.NewReader(ours)})
		ours.Close()
		server.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

// send writes a request's head, or some of its body.
func (c *client) send(format string, args ...any) {
	c.t.Helper()
	if _, err := fmt.Fprintf(c.conn, format, args...); err != nil {
		c.t.Fatal(err)
	}
}

// receive reads an answer and returns its status and body.
func (c *client) receive() (int, string) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

const (
	putHead = "PUT /admin/v1/adapters/shop?wait=true HTTP/1.1\r\nHost: localhost\r\nContent-Type: " +
		"application/json\r\nContent-Length: %d\r\n\r\n"
	uploadHead = "PUT /admin/v1/adapters/shop/file?filename=a.gguf HTTP/1.1\r\nHost: localhost\r\n%s\r\n\r\n"
	someBody   = `{"source":"/a.gguf"}`
)

// TestSlowUploads may take any time, as long as bytes come, and the connection
// serves on.
func TestSlowUploads(t *testing.T) {
	for head, piece := range map[string]string{"Content-Length: 20": "x", "Transfer-Encoding: chunked": "1\r\nx\r\n"} {
		r := newCatalog()
		serving(t, r, func(t *testing.T, c *client) {
			c.send(uploadHead, head)
			for range 20 { // ten minutes
				time.Sleep(uploadPause - time.Second)
				c.send("%s", piece)
			}
			if strings.HasPrefix(head, "Transfer") {
				c.send("0\r\n\r\n")
			}
			if status, body := c.receive(); status != 200 || r.body != strings.Repeat("x", 20) {
				t.Errorf("%s: %d %s, the catalog got %q", head, status, body, r.body)
			}
			time.Sleep(time.Minute)
			c.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
			if status, _ := c.receive(); status != 200 {
				t.Errorf("%s: then /health answers %d", head, status)
			}
		})
	}
}

// TestUploadsThatStop end after a while.
func TestUploadsThatStop(t *testing.T) {
	r := newCatalog()
	serving(t, r, func(t *testing.T, c *client) {
		c.send(uploadHead, "Content-Length: 20")
		c.send("xx")
		began := time.Now()
		status, body := c.receive()
		if status != 400 || !strings.Contains(body, "ended before its end") || len(r.calls) > 0 {
			t.Errorf("%d %s, calls %v", status, body, r.calls)
		}
		if took := time.Since(began); took != uploadPause {
			t.Errorf("after %v", took)
		}
	})
}

// TestUploadsThatAreCut bring nothing.
func TestUploadsThatAreCut(t *testing.T) {
	for _, head := range []string{"Content-Length: 20", "Transfer-Encoding: chunked"} {
		r := newCatalog()
		serving(t, r, func(t *testing.T, c *client) {
			c.send(uploadHead, head)
			c.send("5\r\nab")
			c.conn.Close()
			synctest.Wait()
			if len(r.calls) > 0 || r.spec.Name != "shop" {
				t.Errorf("%s: calls %v, asked for %q", head, r.calls, r.spec.Name)
			}
		})
	}
}

// TestRefusedBodies are answered before their bytes are sent.
func TestRefusedBodies(t *testing.T) {
	for head, want := range map[string]int{
		"Content-Length: 20": 413, "Content-Length: 2\r\nContent-Type: multipart/form-data; boundary=x": 415,
		"Content-Length: 2\r\nOrigin: http://x": 403,
	} {
		r := newCatalog()
		r.max = 10
		serving(t, r, func(t *testing.T, c *client) {
			c.send(uploadHead, head+"\r\nExpect: 100-continue")
			if status, body := c.receive(); status != want || len(r.calls) > 0 {
				t.Errorf("%q: %d %s, calls %v; want %d", head, status, body, r.calls, want)
			}
		})
	}
}

// TestRefusedJSON is too large by its own word.
func TestRefusedJSON(t *testing.T) {
	r := newCatalog()
	serving(t, r, func(t *testing.T, c *client) {
		c.send(strings.Replace(putHead, "\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n", 1), maxJSON+1)
		if status, body := c.receive(); status != 413 {
			t.Errorf("%d %s", status, body)
		}
	})
}

// TestLongWaits outlast the server's timeouts, whatever is waited for.
func TestLongWaits(t *testing.T) {
	for _, c := range []struct {
		send   string
		status int
	}{
		{fmt.Sprintf(putHead, len(someBody)) + someBody, 200},
		{fmt.Sprintf(uploadHead, "Content-Length: 2") + "xx", 200},
		{fmt.Sprintf(uploadHead, "Transfer-Encoding: chunked") + "2\r\nxx\r\n0\r\n\r\n", 200},
		{"DELETE /admin/v1/adapters/shop HTTP/1.1\r\nHost: localhost\r\n\r\n", 204},
		{"POST /admin/v1/adapters/shop/rollback HTTP/1.1\r\nHost: localhost\r\n\r\n", 200},
	} {
		r := newCatalog()
		r.before = func() { time.Sleep(10 * time.Hour) } // for its turn
		r.during = func(ctx context.Context) error {
			time.Sleep(10 * time.Hour)
			return ctx.Err()
		}
		serving(t, r, func(t *testing.T, cl *client) {
			sent := make(chan struct{})
			go func() { // a body may be read late
				defer close(sent)
				if _, err := io.WriteString(cl.conn, c.send); err != nil {
					t.Error(err)
				}
			}()
			if status, body := cl.receive(); status != c.status {
				t.Errorf("%.50q: %d %s", c.send, status, body)
			}
			<-sent
		})
	}
}

// TestClientsThatLeaveWaiting end the wait.
func TestClientsThatLeaveWaiting(t *testing.T) {
	r := newCatalog()
	ended := false
	r.during = func(ctx context.Context) error {
		<-ctx.Done()
		ended = true
		return ctx.Err()
	}
	serving(t, r, func(t *testing.T, c *client) {
		c.send(putHead, len(someBody))
		c.send(someBody)
		synctest.Wait()
		if ended {
			t.Error("the wait ended too early")
		}
		c.conn.Close()
		synctest.Wait()
		if !ended {
			t.Error("the wait goes on for nobody")
		}
	})
}

// TestSlowJSON is cut: nobody types bodies by hand.
func TestSlowJSON(t *testing.T) {
	r := newCatalog()
	serving(t, r, func(t *testing.T, c *client) {
		c.send(putHead, len(someBody))
		c.send("{")
		if status, body := c.receive(); status != 400 || !strings.Contains(body, "could not be read") || len(r.calls) > 0 {
			t.Errorf("%d %s, calls %v", status, body, r.calls)
		}
	})
}

// TestClientsThatDoNotRead hold nothing for longer than the answer's time.
func TestClientsThatDoNotRead(t *testing.T) {
	serving(t, newCatalog(), func(t *testing.T, c *client) {
		c.send("GET /admin/v1/adapters HTTP/1.1\r\nHost: localhost\r\n\r\n")
		time.Sleep(writeTimeout + time.Second)
		if _, err := http.ReadResponse(c.r, nil); err == nil {
			t.Error("the server waited")
		}
	})
}
