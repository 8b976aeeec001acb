//go:build unix

package upstream

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestNoFileLeft lets the process open no more files: the error is no timeout of the
// server's, and the request goes through as soon as there is a file again.
func TestNoFileLeft(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter,
		_ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	})}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(l)
	defer server.Close()
	c := New(socket, "", 1)
	defer c.Close()
	free := takeFiles(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Do(ctx, "GET", "/", nil); !errors.Is(err, ErrStarved) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without a file: %v", err)
	}
	left, leave := context.WithCancel(t.Context())
	leave()
	if _, err := c.Do(left, "GET", "/", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("left: %v", err)
	}
	answered := make(chan error, 1)
	go func() {
		resp, err := c.Do(t.Context(), "GET", "/", nil)
		if err == nil {
			resp.Body.Close()
		}
		answered <- err
	}()
	free()
	if err := <-answered; err != nil {
		t.Errorf("after there is a file again: %v", err)
	}
}

// takeFiles opens files until no more may be, and returns what closes them.
func takeFiles(t *testing.T) (free func()) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	low := limit
	low.Cur = 64
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	var files []*os.File
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			break
		}
		files = append(files, f)
	}
	free = func() {
		for _, f := range files {
			f.Close()
		}
		files = nil
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	}
	t.Cleanup(free)
	return free
}
