package front

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// open serves a port with a handler and returns what Serve returns.
func open(t *testing.T, handler http.HandlerFunc) (*Front, chan error) {
	t.Helper()
	f, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	server := &http.Server{Handler: handler, IdleTimeout: time.Minute, ReadHeaderTimeout: time.Minute}
	t.Cleanup(func() { server.Close() })
	go func() { ended <- f.Serve(server, nil, 0) }()
	return f, ended
}

func hello(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }

func dial(t *testing.T, f *Front) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", f.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// ask sends a request on a connection and returns the answer's head.
func ask(t *testing.T, conn net.Conn) *http.Response {
	t.Helper()
	if _, err := fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(resp.Body); err != nil || string(text) != "hello" {
		t.Fatalf("%q, %v", text, err)
	}
	return resp
}

// TestSealLosesNobody has clients connect and ask as fast as they can while the port is
// closed: each has an answer, or was refused.
func TestSealLosesNobody(t *testing.T) {
	t.Parallel()
	for range 20 {
		f, ended := open(t, hello)
		var asked atomic.Int64
		begun, results := make(chan struct{}), make(chan error)
		for range 8 {
			go func() { results <- hammer(f.Addr().String(), &asked, begun) }()
		}
		<-begun
		f.Seal()
		for range 8 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := f.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// hammer asks on a new connection each time until one is refused.
func hammer(address string, asked *atomic.Int64, begun chan struct{}) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		resp, err := client.Get("http://" + address)
		if errors.Is(err, syscall.ECONNREFUSED) {
			return nil
		}
		if err != nil {
			return err
		}
		resp.Body.Close()
		if asked.Add(1) == 50 {
			close(begun)
		}
	}
}

func TestSealAcceptsWhatWaits(t *testing.T) {
	t.Parallel()
	f, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	early := []net.Conn{dial(t, f), dial(t, f), dial(t, f)} // nobody accepts yet
	f.Seal()
	if _, err := net.Dial("tcp", f.Addr().String()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a connection after the port was closed: %v", err)
	}
	if err := f.Serve(&http.Server{Handler: http.HandlerFunc(hello)}, nil, 0); err != nil {
		t.Error(err)
	}
	for _, conn := range early {
		if resp := ask(t, conn); !resp.Close {
			t.Error("the answer does not say that the connection closes")
		}
	}
	if err := f.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestLeaveLeavesWhatWaits(t *testing.T) {
	t.Parallel()
	f, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	file, err := f.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	other, err := net.FileListener(file)
	if err != nil {
		t.Fatal(err)
	}
	early := dial(t, f)
	f.Leave()
	if err := f.Serve(&http.Server{Handler: http.HandlerFunc(hello)}, nil, 0); err != nil {
		t.Error(err)
	}
	late := dial(t, f)
	heir := New(other.(*net.TCPListener))
	server := &http.Server{Handler: http.HandlerFunc(hello)}
	defer server.Close()
	go heir.Serve(server, nil, 0)
	for _, conn := range []net.Conn{early, late} {
		if resp := ask(t, conn); resp.Close {
			t.Error("the answer says that the connection closes")
		}
	}
}

// TestIdleConnectionsHaveAChance ends a port with connections that were used, and that
// were not: both serve one request more.
func TestIdleConnectionsHaveAChance(t *testing.T) {
	t.Parallel()
	f, _ := open(t, hello)
	used, unused, silent := dial(t, f), dial(t, f), dial(t, f)
	ask(t, used)
	f.Seal()
	for _, conn := range []net.Conn{used, unused} {
		if resp := ask(t, conn); !resp.Close {
			t.Error("the answer does not say that the connection closes")
		}
	}
	if err := f.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if n, err := silent.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("a connection without a request ends with %d bytes and %v", n, err)
	}
}

// TestLastLook expires a connection of which the server does not know yet that a request
// has come.
func TestLastLook(t *testing.T) {
	t.Parallel()
	f, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	client := dial(t, f)
	nc, err := f.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := client.Write([]byte("hi")); err != nil {
		t.Fatal(err)
	}
	c := nc.(*conn)
	c.expire(time.Now().Add(time.Hour), time.Time{})
	text := make([]byte, 8)
	if n, err := c.Read(text); err != nil || string(text[:n]) != "hi" {
		t.Errorf("%q, %v", text[:n], err)
	}
	if c.state != busy {
		t.Error("it counts as quiet")
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	defer close(release)
	entered := make(chan struct{})
	f, _ := open(t, func(http.ResponseWriter, *http.Request) { close(entered); <-release })
	conn := dial(t, f)
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-entered
	f.Seal()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestWaitAwaitsWhatWaitsAtThePort: that there is no connection at some moment says nothing
// of those that have not been accepted yet.
func TestWaitAwaitsWhatWaitsAtThePort(t *testing.T) {
	t.Parallel()
	f, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.served = true // Serve is about to accept
	client, err := net.Dial("tcp", f.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	f.Seal()
	if f.sweep(time.Now()) == 0 {
		t.Fatal("all connections count as ended though one waits to be accepted")
	}
	c, err := f.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Accept(); !errors.Is(err, ErrSealed) {
		t.Fatalf("a second connection: %v", err)
	}
	c.Close()
	if n := f.sweep(time.Now()); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}
