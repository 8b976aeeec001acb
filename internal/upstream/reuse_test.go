package upstream

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// secondFails serves one request on the first connection, does what fail says
// with the second, and serves all on the others.
func secondFails(t *testing.T, fail func(c *peerConn)) *rawServer {
	t.Helper()
	return serve(t, func(n int, c *peerConn) {
		if n == 0 {
			c.request()
			c.send(okAnswer)
			fail(c)
			return
		}
		for c.request() != nil {
			c.send(okAnswer)
		}
	})
}

func TestReusedConnectionIsClosed(t *testing.T) {
	for name, fail := range map[string]func(c *peerConn){
		"end":   func(c *peerConn) { c.request() },
		"reset": func(c *peerConn) { c.Read(make([]byte, 1)) }, // the rest is never read
	} {
		for size, body := range map[string][]byte{"small": []byte("{}"), "large": make([]byte, 1<<20)} {
			t.Run(name+" "+size, func(t *testing.T) {
				s := secondFails(t, fail)
				c := s.client(t)
				mustGet(t, c)
				resp, err := c.Do(t.Context(), http.MethodPost, "/x", body)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				mustGet(t, c)
				if n := s.dials(); n != 2 {
					t.Errorf("%d connections, want 2", n)
				}
				s.awaitOpen(1)
			})
		}
	}
}

func TestReusedConnectionFailsInAnswer(t *testing.T) {
	for _, part := range []string{"H", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 200 OK\r\n"} {
		s := secondFails(t, func(c *peerConn) {
			c.request()
			c.send(part)
		})
		c := s.client(t)
		mustGet(t, c)
		_, _, err := get(t, c, http.MethodGet)
		wantError(t, err, io.ErrUnexpectedEOF)
		if n := s.dials(); n != 1 {
			t.Errorf("after %q of an answer the request was sent again", part)
		}
	}
}

func TestRetriedOnlyOnce(t *testing.T) {
	s := serve(t, func(n int, c *peerConn) {
		if n == 0 {
			c.request()
			c.send(okAnswer)
		}
		c.request()
	})
	c := s.client(t)
	mustGet(t, c)
	_, _, err := get(t, c, http.MethodGet)
	wantError(t, err, io.ErrUnexpectedEOF)
	if n := s.dials(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

func TestNoServer(t *testing.T) {
	c := New(socketPath(t), "", 1)
	if _, _, err := get(t, c, http.MethodGet); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("the error is %v", err)
	}
}

func TestDeadConnectionIsNotTaken(t *testing.T) {
	s := answering(t, okAnswer, true)
	c := s.client(t)
	mustGet(t, c)
	s.awaitOpen(0)
	if conn := c.pool.get(); conn != nil {
		t.Error("the pool gave a connection that the server has closed")
	}
}

func TestChattyConnectionIsNotTaken(t *testing.T) {
	more, sent := make(chan struct{}), make(chan struct{})
	s := serve(t, func(_ int, c *peerConn) {
		c.request()
		c.send(okAnswer)
		<-more
		c.send("x")
		close(sent)
		c.untilGone()
	})
	c := s.client(t)
	mustGet(t, c)
	close(more)
	<-sent
	if conn := c.pool.get(); conn != nil {
		t.Error("the pool gave a connection with an answer that nobody asked for")
	}
	s.awaitOpen(0)
}

func TestPoolOrderAndBound(t *testing.T) {
	s := serve(t, func(_ int, c *peerConn) { c.untilGone() })
	c := s.client(t)
	var conns []*conn
	for range 6 { // the client keeps 4
		conn, err := dial(t.Context(), c.addr)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	for _, conn := range conns {
		c.pool.put(conn)
	}
	s.awaitOpen(4)
	for _, want := range []int{3, 2} {
		got := c.pool.get()
		if got != conns[want] {
			t.Errorf("the pool did not give connection %d", want)
		}
		got.close()
	}
	s.awaitOpen(2)
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	s := answering(t, okAnswer, false)
	c := s.client(t)
	c.pool.timeout = time.Millisecond
	for range 3 { // the timer is set again
		mustGet(t, c)
		s.awaitOpen(0)
	}
}

func TestOldConnectionIsNotTaken(t *testing.T) {
	s := answering(t, okAnswer, false)
	c := s.client(t)
	mustGet(t, c)
	c.pool.mu.Lock()
	c.pool.idle[0].since = time.Now().Add(-idleTimeout)
	c.pool.mu.Unlock()
	if conn := c.pool.get(); conn != nil {
		t.Error("the pool gave a connection that is too old")
	}
	s.awaitOpen(0)
}

func TestClose(t *testing.T) {
	finish := make(chan struct{})
	s := serve(t, func(n int, c *peerConn) {
		c.request()
		if n == 0 {
			c.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
			<-finish
			c.send("k")
		} else {
			c.send(okAnswer)
		}
		c.untilGone()
	})
	c := s.client(t)
	running, err := c.Do(t.Context(), http.MethodGet, "/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer running.Body.Close()
	mustGet(t, c)
	c.Close()
	s.awaitOpen(1) // the idle one is closed
	close(finish)
	if text, err := io.ReadAll(running.Body); err != nil || string(text) != "ok" {
		t.Errorf("read %q, %v", text, err)
	}
	s.awaitOpen(0)
	mustGet(t, c) // still possible
	s.awaitOpen(0)
}

// A stream's connection is closed by the client first: see head.reusable.
func TestEventStreamIsNotReused(t *testing.T) {
	s := answering(t, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"+
		"9\r\ndata: x\n\n\r\n0\r\n\r\n", false)
	if text := mustGet(t, s.client(t)); text != "data: x\n\n" {
		t.Errorf("read %q", text)
	}
	s.awaitOpen(0)
}

func TestCloseOfUnfinishedBody(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"
	for _, test := range []struct {
		name, answer string
		dials        int
	}{
		{"more to come", head, 2},
		{"part of the last chunk", head + "0\r\n", 2},
		{"all received", head + "0\r\n\r\n", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := answering(t, test.answer, false)
			c := s.client(t)
			for range 2 {
				resp, err := c.Do(t.Context(), http.MethodGet, "/x", nil)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				resp.Body.Close()
				if n, err := resp.Body.Read(make([]byte, 9)); n != 0 || err == nil || err == io.EOF {
					t.Errorf("after Close, Read gave %d, %v", n, err)
				}
			}
			if n := s.dials(); n != test.dials {
				t.Errorf("%d connections, want %d", n, test.dials)
			}
			c.Close()
			s.awaitOpen(0)
		})
	}
}
