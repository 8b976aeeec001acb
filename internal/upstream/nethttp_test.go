package upstream

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
)

// goServer is net/http's server on a Unix socket; it counts connections.
func goServer(t testing.TB, handler http.HandlerFunc) (*Client, *atomic.Int64) {
	t.Helper()
	socket := socketPath(t)
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var dials atomic.Int64
	s := httptest.NewUnstartedServer(handler)
	s.Listener.Close()
	s.Listener = listener
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			dials.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	c := New(socket, "Authorization: Bearer k\r\n", 64)
	t.Cleanup(c.Close)
	return c, &dials
}

func echo(w http.ResponseWriter, r *http.Request) {
	if got := r.Header.Get("Authorization"); got != "Bearer k" {
		http.Error(w, got, http.StatusUnauthorized)
		return
	}
	text, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
	w.Header().Set("Content-Length", fmt.Sprint(len(text)))
	w.Write(text)
}

func post(t testing.TB, c *Client, path string, body []byte) []byte {
	t.Helper()
	resp, err := c.Do(t.Context(), http.MethodPost, path, body)
	if err != nil {
		t.Error(err)
		return nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.Status != http.StatusOK || resp.ContentType != "application/json" {
		t.Errorf("%s: %d %q, %v", path, resp.Status, resp.ContentType, err)
	}
	return text
}

func TestGoServerKeepsConnection(t *testing.T) {
	c, dials := goServer(t, echo)
	for i := range 20 {
		body := fmt.Appendf(nil, "body %d", i)
		if got := post(t, c, "/", body); !bytes.Equal(got, body) {
			t.Errorf("got %q, want %q", got, body)
		}
	}
	if n := dials.Load(); n != 1 {
		t.Errorf("20 requests took %d connections", n)
	}
}

func TestGoServerLargeBodies(t *testing.T) {
	body := make([]byte, 10<<20)
	for i := range body {
		body[i] = byte(i ^ i>>8 ^ i>>16)
	}
	c, dials := goServer(t, echo)
	chunks, chunkDials := goServer(t, func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.(http.Flusher).Flush() // no length then
		w.Write(text)
	})
	for range 2 {
		if got := post(t, c, "/", body); !bytes.Equal(got, body) {
			t.Errorf("%d bytes came back changed, as %d", len(body), len(got))
		}
		if got := post(t, chunks, "/", body); !bytes.Equal(got, body) {
			t.Errorf("%d bytes came back changed in chunks, as %d", len(body), len(got))
		}
	}
	if dials.Load() != 1 || chunkDials.Load() != 1 {
		t.Errorf("%d and %d connections, want 1 each", dials.Load(), chunkDials.Load())
	}
}

// Each event is read before the server sends the next one.
func TestGoServerStreamsEventByEvent(t *testing.T) {
	next := make(chan struct{})
	c, _ := goServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 5 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			w.(http.Flusher).Flush()
			<-next
		}
	})
	resp, err := c.Do(t.Context(), http.MethodPost, "/", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for i := range 5 {
		for _, want := range []string{fmt.Sprintf("data: %d\n", i), "\n"} {
			if line, err := resp.Body.ReadSlice('\n'); string(line) != want || err != nil {
				t.Fatalf("read %q, %v, want %q", line, err, want)
			}
		}
		if n := resp.Body.Buffered(); n != 0 {
			t.Errorf("%d bytes are there early", n)
		}
		next <- struct{}{}
	}
	if line, err := resp.Body.ReadSlice('\n'); len(line) > 0 || err != io.EOF {
		t.Errorf("read %q, %v at the end", line, err)
	}
}

func TestGoServerConcurrently(t *testing.T) {
	c, dials := goServer(t, echo)
	var wg sync.WaitGroup
	for worker := range 64 {
		wg.Go(func() {
			for i := range 30 {
				body := bytes.Repeat(fmt.Appendf(nil, "%d-%d ", worker, i), 1+i*97)
				if got := post(t, c, "/", body); !bytes.Equal(got, body) {
					t.Errorf("worker %d got %.40q, want %.40q", worker, got, body)
				}
			}
		})
	}
	wg.Wait()
	if n := dials.Load(); n > 64 {
		t.Errorf("64 goroutines took %d connections", n)
	}
}
