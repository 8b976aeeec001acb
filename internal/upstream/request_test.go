package upstream

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestRequestBytes(t *testing.T) {
	const common = "Host: worker\r\nAuthorization: Bearer k\r\n"
	large := strings.Repeat("x", maxJoined+1)
	for _, test := range []struct {
		method string
		body   []byte
		want   string
	}{
		{"GET", nil, "GET /a?b=c HTTP/1.1\r\n" + common + "\r\n"},
		{"POST", nil, "POST /a?b=c HTTP/1.1\r\n" + common + "Content-Length: 0\r\n\r\n"},
		{"POST", []byte{}, "POST /a?b=c HTTP/1.1\r\n" + common + "Content-Type: application/json\r\nContent-Length: " +
			"0\r\n\r\n"},
		{"POST", []byte("{}"), "POST /a?b=c HTTP/1.1\r\n" + common + "Content-Type: application/json\r\nContent-Length: " +
			"2\r\n\r\n{}"},
		{"POST", []byte(large), "POST /a?b=c HTTP/1.1\r\n" + common + fmt.Sprintf("Content-Type: "+
			"application/json\r\nContent-Length: %d\r\n\r\n%s", len(large), large)},
	} {
		got := make([]byte, len(test.want))
		s := serve(t, func(_ int, c *peerConn) {
			io.ReadFull(c, got)
			c.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
		})
		resp, err := s.client(t).Do(t.Context(), test.method, "/a?b=c", test.body)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		s.awaitOpen(0)
		if !bytes.Equal(got, []byte(test.want)) {
			t.Errorf("the request was %.300q, want %.300q", got, test.want)
		}
	}
}

// A server that refuses a body without reading it gets its answer through.
func TestAnswerBeforeBodyWasRead(t *testing.T) {
	s := serve(t, func(_ int, c *peerConn) {
		c.Read(make([]byte, 100))
		c.send("HTTP/1.1 413 Payload Too Large\r\nContent-Length: 3\r\n\r\nbig")
	})
	resp, err := s.client(t).Do(t.Context(), http.MethodPost, "/x", make([]byte, 10<<20))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if resp.Status != http.StatusRequestEntityTooLarge || string(text) != "big" || err != nil {
		t.Errorf("got %d %q, %v", resp.Status, text, err)
	}
	s.awaitOpen(0)
}

func TestRequestFailsToBeSent(t *testing.T) {
	s := serve(t, func(_ int, c *peerConn) { c.Read(make([]byte, 100)) })
	_, err := s.client(t).Do(t.Context(), http.MethodPost, "/x", make([]byte, 10<<20))
	if err == nil || !strings.Contains(err.Error(), "send the request") {
		t.Errorf("the error is %v", err)
	}
}

func TestBadRequests(t *testing.T) {
	for _, test := range []struct{ header, method, path, want string }{
		{"", "", "/x", "no method"},
		{"", "G T", "/x", `method "G T"`},
		{"", "GET", "", "does not begin with /"},
		{"", "GET", "x", "does not begin with /"},
		{"", "GET", "/x y", "must be escaped"},
		{"", "GET", "/x\r\nA: b", "must be escaped"},
		{"A: b", "GET", "/x", "no CR LF behind"},
		{"A\r\n", "GET", "/x", "malformed"},
		{"A: b\r\n\r\n", "GET", "/x", "malformed"},
	} {
		c := New("/nowhere", test.header, 1)
		_, err := c.Do(t.Context(), test.method, test.path, nil)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: the error is %v", test, err)
		}
	}
}
