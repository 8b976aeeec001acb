package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// serviceManager plays systemd for the gateways that are started from now on: it returns
// the socket that they tell of their state.
func serviceManager(t *testing.T) *net.UnixConn {
	t.Helper()
	dir, err := os.MkdirTemp("", "lg-") // t.TempDir's paths are too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	if err := socket.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(dir, "notify"))
	return socket
}

// TestServiceManagerIsTold plays systemd: the gateway says when it is ready, gives
// signs of life and says that it stops.
func TestServiceManagerIsTold(t *testing.T) {
	socket := serviceManager(t)
	t.Setenv("WATCHDOG_USEC", fmt.Sprint(int64(50*time.Millisecond/time.Microsecond)))
	g := serve(t, fakeConfig(t, 1, ""))
	// awaits reads until the state was told and returns how often it was.
	told := map[string]int{}
	awaits := func(state string, times int) {
		t.Helper()
		buffer := make([]byte, 256)
		for told[state] < times {
			n, err := socket.Read(buffer)
			if err != nil {
				t.Fatalf("waiting for %s: %v; told were %v", state, err, told)
			}
			told[strings.TrimSpace(string(buffer[:n]))]++
		}
	}
	awaits("READY=1", 1)
	awaits("WATCHDOG=1", 3)
	if told["STOPPING=1"] != 0 {
		t.Errorf("told were %v", told)
	}
	g.cmd.Process.Signal(syscall.SIGTERM)
	awaits("STOPPING=1", 1)
	if code := g.end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
