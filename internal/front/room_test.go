package front

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// bounded serves a port for so many connections at once, and returns it.
func bounded(t *testing.T, most int, config *tls.Config, handler http.HandlerFunc) *Front {
	t.Helper()
	f, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, IdleTimeout: time.Hour, ReadHeaderTimeout: time.Hour,
		ErrorLog: log.New(io.Discard, "", 0)}
	ended := make(chan error, 1)
	go func() { ended <- f.Serve(server, config, most) }()
	t.Cleanup(func() { server.Close(); <-ended })
	return f
}

// TestNoMoreThanCanBeServed has a server with two places: a third client waits until
// one of the others has no request any more.
func TestNoMoreThanCanBeServed(t *testing.T) {
	t.Parallel()
	began, end := make(chan string), make(chan struct{})
	f := bounded(t, 2, nil, func(_ http.ResponseWriter, r *http.Request) {
		began <- r.URL.Path
		<-end
	})
	send := func(path string) { fmt.Fprintf(dial(t, f), "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path) }
	send("/1")
	send("/2")
	both := <-began + <-began
	send("/3") // there is no place
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
	send("/4") // there are two idle ones in its place
	if path := <-began; path != "/4" {
		t.Errorf("%s began", path)
	}
	end <- struct{}{}
	end <- struct{}{}
}

// TestCloseWakes closes a port whose Accept waits for a place.
func TestCloseWakes(t *testing.T) {
	t.Parallel()
	began, end := make(chan struct{}), make(chan struct{})
	f, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter,
		*http.Request) {
		began <- struct{}{}
		<-end
	})}
	ended := make(chan error)
	go func() { ended <- f.Serve(server, nil, 1) }()
	fmt.Fprint(dial(t, f), "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-began
	waits := dial(t, f)
	for held := false; !held; time.Sleep(time.Millisecond) { // until it has been accepted
		f.mu.Lock()
		held = len(f.conns) == 2
		f.mu.Unlock()
	}
	f.Close()
	if err := <-ended; err == nil {
		t.Error("the port was closed without a word")
	}
	if _, err := waits.Read(make([]byte, 1)); err == nil {
		t.Error("who waited was not let go")
	}
	close(end)
	server.Close()
}

// TestSilentConnectionsMakeRoom has a few honest clients come behind hundreds that send
// nothing, part of whom have had an answer once, and one that never ends its request's
// head.
func TestSilentConnectionsMakeRoom(t *testing.T) {
	t.Parallel()
	for name, secure := range map[string]bool{"plain": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var config *tls.Config
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			scheme := "http://"
			if secure {
				donor := httptest.NewTLSServer(nil)
				defer donor.Close()
				config, scheme = &tls.Config{Certificates: donor.TLS.Certificates}, "https://"
				client = donor.Client()
				client.Transport.(*http.Transport).DisableKeepAlives = true
			}
			f := bounded(t, 8, config, hello)
			fmt.Fprint(dial(t, f), "GET / HTTP/1.1\r\nHo")
			if !secure {
				for range 4 {
					ask(t, dial(t, f))
				}
			}
			for range 500 {
				dial(t, f)
			}
			var wg sync.WaitGroup
			for range 50 {
				wg.Go(func() {
					resp, err := client.Get(scheme + f.Addr().String())
					if err != nil {
						t.Error(err)
						return
					}
					resp.Body.Close()
					if resp.StatusCode != http.StatusOK {
						t.Error(resp.Status)
					}
				})
			}
			wg.Wait()
		})
	}
}

// TestNoRequestMakesRoom has clients that send several requests in one piece, while others
// that send nothing want their places: every request is answered.
func TestNoRequestMakesRoom(t *testing.T) {
	t.Parallel()
	f := bounded(t, 4, nil, hello)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		var silent [50]net.Conn
		defer func() {
			for _, c := range silent {
				if c != nil {
					c.Close()
				}
			}
		}()
		for i := 0; ; i = (i + 1) % len(silent) {
			select {
			case <-stop:
				return
			default:
			}
			if silent[i] != nil {
				silent[i].Close()
			}
			silent[i], _ = net.Dial("tcp", f.Addr().String())
		}
	})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for range 8 {
				pipeline(t, f)
			}
		})
	}
	clients.Wait()
	close(stop)
	wg.Wait()
}

// pipeline sends several requests in one piece and wants as many answers.
func pipeline(t *testing.T, f *Front) {
	c, err := net.Dial("tcp", f.Addr().String())
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	const requests = 5
	for range requests {
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	r := bufio.NewReader(c)
	for i := range requests {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Errorf("answer %d of %d: %v", i+1, requests, err)
			return
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Error(err)
		}
	}
}

// TestPipelinedRequestIsNoSilence has a connection whose second request came with the
// first, in one read, and runs while others want its place.
func TestPipelinedRequestIsNoSilence(t *testing.T) {
	t.Parallel()
	began, end := make(chan string), make(chan struct{})
	f := bounded(t, 1, nil, func(w http.ResponseWriter, r *http.Request) {
		began <- r.URL.Path
		<-end
		if err := r.Context().Err(); err != nil {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		hello(w, r)
	})
	both, third := dial(t, f), dial(t, f)
	fmt.Fprint(both, "GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n")
	<-began
	fmt.Fprint(third, "GET /3 HTTP/1.1\r\nHost: x\r\n\r\n")
	end <- struct{}{}
	if path := <-began; path != "/2" {
		t.Errorf("%s began, want /2", path)
	}
	f.mu.Lock()
	for c := range f.conns {
		if from, ok := c.yields(); ok {
			t.Errorf("a connection yields from %s on, though requests run", from)
		}
	}
	f.mu.Unlock()
	end <- struct{}{}
	if path := <-began; path != "/3" {
		t.Errorf("%s began, want /3", path)
	}
	end <- struct{}{}
	for c, answers := range map[net.Conn]int{both: 2, third: 1} {
		for r := bufio.NewReader(c); answers > 0; answers-- {
			if resp, err := http.ReadResponse(r, nil); err != nil {
				t.Error(err)
			} else if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestWhoYields has the time say from when on a connection may be closed for another.
func TestWhoYields(t *testing.T) {
	t.Parallel()
	start := time.Now()
	at := func(d time.Duration) time.Time { return start.Add(d) }
	served := func(c *conn) *conn { c.served.Store(true); return c }
	for name, c := range map[string]struct {
		conn *conn
		from time.Time
		ok   bool
	}{
		"one that has sent nothing": {&conn{state: quiet, since: start}, at(fair), true},
		"one that has had its answer": {served(&conn{state: quiet, since: at(time.Minute)}), at(time.Minute + fair),
			true},
		"one whose first head has not ended": {&conn{state: busy, since: start}, at(halting), true},
		"one with a request":                 {served(&conn{state: busy, since: start}), time.Time{}, false},
		"one that ends":                      {&conn{state: expired, since: start}, time.Time{}, false},
		"one that waits for a place itself":  {&conn{state: quiet, held: true, since: start}, time.Time{}, false},
	} {
		if from, ok := c.conn.yields(); ok != c.ok || !from.Equal(c.from) {
			t.Errorf("%s: from %s on, %t; want %s, %t", name, from.Sub(start), ok, c.from.Sub(start), c.ok)
		}
	}
}
