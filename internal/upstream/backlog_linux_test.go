package upstream

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
)

// fullServer is a server whose queue of newcomers is full: it accepts nobody.
func fullServer(t *testing.T) (socket string, listener net.Listener) {
	t.Helper()
	socket = socketPath(t)
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), socket)
	defer file.Close()
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: socket}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 1); err != nil {
		t.Fatal(err)
	}
	if listener, err = net.FileListener(file); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	for {
		c, err := net.Dial("unix", socket)
		if errors.Is(err, syscall.EAGAIN) {
			return socket, listener
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
}

func TestContextEndsWhileDialling(t *testing.T) {
	socket, _ := fullServer(t)
	ctx, end := endable(t)
	end()
	_, err := dial(ctx, &net.UnixAddr{Name: socket, Net: "unix"})
	wantLeft(t, err)
}

// A server that is slow to accept is waited for, as a blocking connect would.
func TestDialWaitsForRoom(t *testing.T) {
	socket, listener := fullServer(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		conn, err := dial(t.Context(), &net.UnixAddr{Name: socket, Net: "unix"})
		if err != nil {
			t.Error(err)
			return
		}
		conn.close()
	})
	for range 3 { // the queue holds two
		c, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	wg.Wait()
}
