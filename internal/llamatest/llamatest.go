// Package llamatest starts real llama-servers for tests and asks them what an
// adapter answers on its own.
package llamatest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// Root returns the repository's root.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// binary is the llama-server that `make llama-server` installed.
func binary() (string, error) {
	path := filepath.Join(Root(), ".llama", "bin", "llama-server")
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("no llama-server to test with (%w): run `make llama-server`", err)
	}
	return path, nil
}

// Binary returns the llama-server that `make llama-server` installed. A test
// that needs it fails without it: skipping would hide that nothing was tested.
// With -short it is skipped, which says so.
func Binary(t testing.TB) string {
	t.Helper()
	if testing.Short() {
		t.Skip("needs llama-server, which -short leaves out")
	}
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Base returns the demo base model's file.
func Base() string { return filepath.Join(Root(), "deploy", "demo", "base.gguf") }

// Adapters returns the files of adapters for the demo base, of ranks 4, 8 and
// 16, by name.
func Adapters() map[string]string {
	files := map[string]string{}
	for _, name := range []string{"coding", "chat", "medical", "legal"} {
		files[name] = filepath.Join(Root(), "deploy", "demo", "adapters", name+".gguf")
	}
	for _, name := range []string{"legal-r4", "chat-r16"} {
		files[name] = filepath.Join(Root(), "internal", "llamatest", "testdata", "adapters", name+".gguf")
	}
	return files
}

// Server is a llama-server as a user would start it, with no gateway.
type Server struct {
	dir    string
	socket string
	client *http.Client
	cmd    *exec.Cmd
	exited chan struct{}
}

// Start is Launch for tests: the server ends with the test, which is skipped with -short as
// by Binary.
func Start(t testing.TB, adapters []string, args ...string) *Server {
	t.Helper()
	return StartPlain(t, append(arguments(adapters), args...)...)
}

// StartPlain is Start with nothing but the given arguments and a socket.
func StartPlain(t testing.TB, args ...string) *Server {
	t.Helper()
	Binary(t)
	s, err := launch(args)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// Launch runs llama-server with the demo base, the adapters and further
// arguments and waits until it is ready. The caller closes it.
func Launch(adapters []string, args ...string) (*Server, error) {
	return launch(append(arguments(adapters), args...))
}

// arguments names the demo base and the adapters on a command line.
func arguments(adapters []string) []string {
	args := []string{"--model", Base(), "--slot-save-path", os.TempDir()}
	if len(adapters) > 0 {
		args = append(args, "--lora", strings.Join(adapters, ","))
	}
	return args
}

func launch(args []string) (*Server, error) {
	program, err := binary()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "lt-") // short: a socket's path is at most 107 bytes
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, socket: filepath.Join(dir, "s.sock"), exited: make(chan struct{})}
	s.client = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", s.socket)
		},
		MaxIdleConnsPerHost: 64,
		IdleConnTimeout:     time.Second,
	}}
	var log lockedBuffer
	// One thread, or llama-server's threads spin for one another: with the cores
	// busy otherwise, as they are when packages are tested side by side, an answer
	// takes forty times as long. Arguments may say otherwise.
	s.cmd = exec.Command(program, append([]string{"--host", s.socket, "--no-webui", "--threads", "1"}, args...)...)
	s.cmd.Stdout, s.cmd.Stderr = &log, &log
	if err := s.cmd.Start(); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	go func() {
		s.cmd.Wait()
		close(s.exited)
	}()
	if err := s.waitReady(); err != nil {
		s.Close()
		return nil, fmt.Errorf("llama-server: %w\n%s", err, log.String())
	}
	return s, nil
}

// Socket returns the path of the socket that the server listens on.
func (s *Server) Socket() string { return s.socket }

// Dial opens a connection to the server; the caller closes it.
func (s *Server) Dial() (net.Conn, error) { return net.Dial("unix", s.socket) }

// Signal sends the server a signal.
func (s *Server) Signal(sig os.Signal) { s.cmd.Process.Signal(sig) }

// Close kills the server and removes its files.
func (s *Server) Close() {
	s.cmd.Process.Kill()
	<-s.exited
	s.client.CloseIdleConnections()
	os.RemoveAll(s.dir)
}

func (s *Server) waitReady() error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(time.Minute)
	for {
		if status, _, err := s.Do(http.MethodGet, "/health", nil); err == nil && status == http.StatusOK {
			return nil
		}
		select {
		case <-s.exited:
			return fmt.Errorf("ended while starting")
		case <-deadline:
			return fmt.Errorf("not ready after a minute")
		case <-ticker.C:
		}
	}
}

// Do makes one request and returns the whole answer.
func (s *Server) Do(method, path string, body any) (status int, answer []byte, err error) {
	resp, err := s.Open(context.Background(), method, path, body)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// Open makes one request and returns the answer as it comes.
func (s *Server) Open(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var payload io.Reader = http.NoBody
	if raw, is := body.([]byte); is {
		payload = bytes.NewReader(raw)
	} else if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		payload = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://llama-server"+path, payload)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header["Idempotency-Key"] = nil // not sent; another connection is tried if the server closed this one
	return s.client.Do(req)
}

// Must makes a request that has to succeed and decodes its answer into reply,
// unless that is nil.
func (s *Server) Must(t testing.TB, method, path string, body, reply any) {
	t.Helper()
	status, answer, err := s.Do(method, path, body)
	if err != nil || status != http.StatusOK {
		t.Fatalf("%s %s: status %d, %v: %s", method, path, status, err, answer)
	}
	if reply == nil {
		return
	}
	if err := json.Unmarshal(answer, reply); err != nil {
		t.Fatalf("%s %s: %v in %s", method, path, err, answer)
	}
}

// lockedBuffer collects a child's output.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
