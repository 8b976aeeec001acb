package worker

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/fakeworker"

	"github.com/loragate/loragate/internal/upstream"
)

func TestMain(m *testing.M) {
	fakeworker.MaybeMain()
	os.Exit(m.Run())
}

// fakeOptions returns options for a fake worker; args are its own flags.
func fakeOptions(t *testing.T, args ...string) Options {
	t.Helper()
	dir, err := os.MkdirTemp("", "lg-") // t.TempDir's paths are too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return Options{
		Name: "0", Command: fakeworker.Link(t), Args: args, Model: "unused", Alias: "base",
		Adapters: []string{"/a.gguf", "/b,c:d.gguf"}, Slots: 2, Context: 64, Dir: dir,
		StartTimeout: time.Minute, StopTimeout: time.Minute, Log: slog.New(slog.DiscardHandler),
	}
}

func TestStartAndStop(t *testing.T) {
	opts := fakeOptions(t)
	w, err := Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if w.Err() != nil {
		t.Errorf("a living worker has the error %v", w.Err())
	}
	w.Stop()
	if left, _ := os.ReadDir(opts.Dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	w.Stop() // harmless
	w.Kill("too late")
}

func TestAdapterThatIsNotLoadedIsAnError(t *testing.T) {
	w, err := Start(t.Context(), fakeOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	other := []Part{{Path: "/other.gguf", Scale: 1}}
	if err := w.Apply(t.Context(), other); err == nil || !strings.Contains(err.Error(), "/other.gguf") {
		t.Errorf("Apply: %v", err)
	}
	if _, err := w.LoRA(other); err == nil {
		t.Error("LoRA of an adapter that is not loaded would be answered by the base")
	}
	for want, parts := range map[string][]Part{
		`[{"id":0,"scale":0}]`:                        nil,
		`[{"id":1,"scale":0.5}]`:                      {{"/b,c:d.gguf", 0.5}},
		`[{"id":1,"scale":1},{"id":0,"scale":-0.25}]`: {{"/b,c:d.gguf", 1}, {"/a.gguf", -0.25}},
	} {
		if got, err := w.LoRA(parts); err != nil || string(got) != want {
			t.Errorf("LoRA(%v) = %s, %v; want %s", parts, got, err, want)
		}
	}
}

func TestStartTellsHowTheProcessEnded(t *testing.T) {
	marker := filepath.Join(t.TempDir(), "fail")
	if err := os.WriteFile(marker, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), fakeOptions(t, "--fail-start", marker))
	var exit *ExitError
	if !errors.As(err, &exit) || exit.Status != "exit status 1" || exit.Log != "fake: told to fail at the start" {
		t.Errorf("error %v", err)
	}
}

func TestStartTimesOut(t *testing.T) {
	opts := fakeOptions(t, "--deaf")
	opts.StartTimeout = 100 * time.Millisecond
	_, err := Start(t.Context(), opts)
	if err == nil || !strings.Contains(err.Error(), "not ready after 100ms") {
		t.Errorf("error %v", err)
	}
	if left, _ := os.ReadDir(opts.Dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestStartOfNoProgram(t *testing.T) {
	opts := fakeOptions(t)
	opts.Command = "/no/such/program"
	if _, err := Start(t.Context(), opts); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

// TestWorkerThatLacksAnAdapterIsRefused starts a fake that holds one less than
// it was asked for.
func TestWorkerThatLacksAnAdapterIsRefused(t *testing.T) {
	_, err := Start(t.Context(), fakeOptions(t, "--forget-last"))
	if err == nil || !strings.Contains(err.Error(), "did not load the adapter /b,c:d.gguf") {
		t.Errorf("error %v", err)
	}
}

func TestKillTellsItsCause(t *testing.T) {
	w, err := Start(t.Context(), fakeOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	w.Kill("for a test")
	w.Kill("again")
	<-w.Exited()
	for range 2 {
		var exit *ExitError
		if err := w.Err(); !errors.As(err, &exit) || exit.Cause != "for a test" || exit.Status != "signal: killed" {
			t.Errorf("error %v", err)
		}
	}
}

// TestErrAndKillAtOnce: many ask why a process ended while others still kill it.
func TestErrAndKillAtOnce(t *testing.T) {
	w, err := Start(t.Context(), fakeOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	w.Kill("the first")
	<-w.Exited()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1000 {
				w.Kill("another")
				var exit *ExitError
				if err := w.Err(); !errors.As(err, &exit) || exit.Cause != "the first" {
					t.Errorf("error %v", err)
					return
				}
			}
		})
	}
	all.Wait()
}

// TestClosedConnectionIsTriedAgain puts a client in front of a server that closes
// every connection instead of answering its second request.
func TestClosedConnectionIsTriedAgain(t *testing.T) {
	dir, err := os.MkdirTemp("", "lg-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	listener, err := net.Listen("unix", filepath.Join(dir, "s.sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go answerOnce(conn)
		}
	}()
	w := &Worker{dir: dir, client: upstream.New(filepath.Join(dir, "s.sock"), "", 6)}
	t.Cleanup(w.client.Close)
	for i := range 5 {
		if err := w.Erase(t.Context(), 0); err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		resp, err := w.Forward(t.Context(), "/v1/completions", []byte(`{}`))
		if err != nil {
			t.Fatalf("forward %d: %v", i, err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
}

// answerOnce answers the first request of a connection and reads the second.
func answerOnce(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for i := range 2 {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		io.Copy(io.Discard, req.Body)
		if i == 0 {
			fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
		}
	}
}

func TestTailKeepsTheLastLines(t *testing.T) {
	var lines []string
	tl := &tail{each: func(line string) { lines = append(lines, line) }}
	for i := range tailLines + 10 {
		fmt.Fprintf(tl, "line %d\r\n\n", i)
	}
	fmt.Fprint(tl, strings.Repeat("x", 3*tailLineMax), "tail")
	got := strings.Split(tl.String(), "\n")
	if len(got) != tailLines+1 || got[0] != "line 10" || len(got[tailLines]) != tailLineMax {
		t.Errorf("%d lines, from %q, the last of %d bytes", len(got), got[0], len(got[len(got)-1]))
	}
	if len(lines) != tailLines+10 {
		t.Errorf("%d lines handed on", len(lines))
	}
}
