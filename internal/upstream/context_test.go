package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
)

var errLeft = errors.New("the client left")

// endable returns a context that the test ends with errLeft.
func endable(t *testing.T) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(t.Context())
	t.Cleanup(func() { cancel(nil) })
	return ctx, func() { cancel(errLeft) }
}

func wantLeft(t *testing.T, err error) {
	t.Helper()
	wantError(t, err, context.Canceled)
	wantError(t, err, errLeft)
}

func TestContextEndedBefore(t *testing.T) {
	s := answering(t, okAnswer, false)
	ctx, end := endable(t)
	end()
	_, err := s.client(t).Do(ctx, http.MethodGet, "/x", nil)
	wantLeft(t, err)
	if n := s.dials(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
}

func TestContextEndsWhileWriting(t *testing.T) {
	ctx, end := endable(t)
	resume := make(chan struct{})
	s := serve(t, func(_ int, c *peerConn) {
		c.Read(make([]byte, 1))
		end()
		<-resume
		c.untilGone()
	})
	_, err := s.client(t).Do(ctx, http.MethodPost, "/x", make([]byte, 10<<20))
	wantLeft(t, err)
	close(resume)
	s.awaitOpen(0)
}

func TestContextEndsWhileWaiting(t *testing.T) {
	for _, reused := range []bool{false, true} {
		t.Run(fmt.Sprintf("reused=%t", reused), func(t *testing.T) {
			ctx, end := endable(t)
			s := serve(t, func(_ int, c *peerConn) {
				if reused {
					c.request()
					c.send(okAnswer)
				}
				c.request()
				end()
				c.untilGone()
			})
			c := s.client(t)
			if reused {
				mustGet(t, c)
			}
			_, err := c.Do(ctx, http.MethodGet, "/x", nil)
			wantLeft(t, err)
			s.awaitOpen(0)
			if n := s.dials(); n != 1 {
				t.Errorf("the request was sent again: %d connections", n)
			}
		})
	}
}

func TestContextTimesOut(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 1)
	defer cancel()
	s := serve(t, func(_ int, c *peerConn) { c.untilGone() })
	_, err := s.client(t).Do(ctx, http.MethodGet, "/x", nil)
	wantError(t, err, context.DeadlineExceeded)
}

func TestContextEndsInBody(t *testing.T) {
	for name, head := range map[string]string{
		"length":      "Content-Length: 99\r\n\r\npart",
		"chunked":     "Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
		"until close": "\r\npart",
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, func(_ int, c *peerConn) {
				c.request()
				c.send("HTTP/1.1 200 OK\r\n" + head)
				c.untilGone()
			})
			ctx, end := endable(t)
			resp, err := s.client(t).Do(ctx, http.MethodGet, "/x", nil)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if _, err := io.ReadFull(resp.Body, make([]byte, 4)); err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			wg.Go(end)
			text, err := io.ReadAll(resp.Body)
			wantLeft(t, err)
			if len(text) > 0 {
				t.Errorf("read %q", text)
			}
			_, err = resp.Body.Read(make([]byte, 1))
			wantLeft(t, err) // it stays
			s.awaitOpen(0)
			wg.Wait()
		})
	}
}

// A client that leaves is noticed though nobody reads or closes the body.
func TestContextEndsUnread(t *testing.T) {
	s := serve(t, func(_ int, c *peerConn) {
		c.request()
		c.send("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n")
		c.untilGone()
	})
	ctx, end := endable(t)
	resp, err := s.client(t).Do(ctx, http.MethodGet, "/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	end()
	s.awaitOpen(0)
	resp.Body.Close()
}

// What was received as a whole outlives its context, and so does its connection.
func TestContextEndsAfterAnswer(t *testing.T) {
	s := answering(t, okAnswer, false)
	c := s.client(t)
	for range 3 {
		ctx, end := endable(t)
		resp, err := c.Do(ctx, http.MethodGet, "/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		first := make([]byte, 1)
		if _, err := io.ReadFull(resp.Body, first); err != nil {
			t.Fatal(err)
		}
		end()
		rest, err := io.ReadAll(resp.Body)
		if err != nil || string(first)+string(rest) != "ok" {
			t.Errorf("read %q and %q, %v", first, rest, err)
		}
		resp.Body.Close()
	}
	if n := s.dials(); n != 1 {
		t.Errorf("three requests took %d connections", n)
	}
}

func TestContextThatNeverEnds(t *testing.T) {
	s := answering(t, okAnswer, false)
	c := s.client(t)
	for range 2 {
		if text, err := read(context.Background(), c, "/x"); text != "ok" || err != nil {
			t.Errorf("read %q, %v", text, err)
		}
	}
	if n := s.dials(); n != 1 {
		t.Errorf("two requests took %d connections", n)
	}
}

// Contexts that end at any moment must never leave a connection in the pool that
// is being closed, or that still brings another request's answer.
func TestContextsEndAnytime(t *testing.T) {
	s := serve(t, func(_ int, c *peerConn) {
		for req := c.request(); req != nil; req = c.request() {
			c.send(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(req.URL.Path)))
			c.send(req.URL.Path)
		}
	})
	c := s.client(t)
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 200 {
				ctx, cancel := context.WithCancel(t.Context())
				if i%2 == 0 {
					wg.Go(cancel)
				}
				path := fmt.Sprintf("/%d/%d", worker, i)
				text, err := read(ctx, c, path)
				if err == nil && text != path || err != nil && (i%2 == 1 || !errors.Is(err, context.Canceled)) {
					t.Errorf("%s: read %q, %v", path, text, err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	c.Close()
	s.awaitOpen(0)
}

func read(ctx context.Context, c *Client, path string) (string, error) {
	resp, err := c.Do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}
