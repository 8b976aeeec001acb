package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/auth"
)

// TestTwoEndsAreNone sends requests that say in two ways where they end, one before each
// that is answered, and one behind that is not.
func TestTwoEndsAreNone(t *testing.T) {
	t.Parallel()
	g := serve(t, fakeConfig(t, 1, ""))
	body := chat("coding", "Hi", "")
	chunks := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	const models = "GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n"
	for _, c := range []struct {
		headers string
		want    []int
	}{
		{"Transfer-Encoding: chunked\r\n", []int{200, 200, 200}},
		{fmt.Sprintf("Transfer-Encoding: chunked\r\nContent-Length: %d\r\n", len(chunks)), []int{200, 400}},
		{"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", []int{200, 400}},
		{"content-length: 0\r\ntransfer-encoding:chunked\r\n", []int{200, 400}},
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "%sPOST %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n%s%s", models, chatPath, c.headers, chunks, models)
		r := bufio.NewReader(conn)
		var got []int
		for range c.want {
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Errorf("%q: %v", c.headers, err)
				break
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			got = append(got, resp.StatusCode)
		}
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%q: %v, want %v", c.headers, got, c.want)
		}
		if c.want[1] == 400 {
			if rest, _ := io.ReadAll(r); len(rest) > 0 {
				t.Errorf("%q: behind the refusal comes %q", c.headers, rest)
			}
		}
		conn.Close()
	}
}

// TestScalesAreNoWayToTheBase asks for what is the base in all but name, with a key
// that may not use it and with one that may.
func TestScalesAreNoWayToTheBase(t *testing.T) {
	t.Parallel()
	g := serve(t, fakeConfig(t, 1, "")+fmt.Sprintf("tenants:\n  - {name: one, keys: [%s], models: [chat, coding]}\n  - "+
		"{name: all, keys: [%s]}\n",
		auth.Hash("one-key"), auth.Hash("all-key")))
	for model, one := range map[string]int{
		"chat": 200, "chat@0.5": 200, "chat@-1": 200, "chat+coding@0": 200, "demo": 404,
		"chat@0": 404, "chat@-0.0": 404, "chat@0+coding@0": 404, "chat@1+chat@-1": 404, "chat@0.001": 404,
		"chat@0.0001+coding@-0.009": 404,
	} {
		for key, want := range map[string]int{"one-key": one, "all-key": 200} {
			if got := g.statusFor(key, "POST", chatPath, chat(model, "Hi", "")); got != want {
				t.Errorf("%s asks for %s: %d, want %d", key, model, got, want)
			}
		}
	}
}
