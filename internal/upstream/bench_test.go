package upstream

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// benchServer is the name under which the test binary is the benchmarks' server:
// in a process of its own, so that the client's CPU time can be told apart.
const benchServer = "upstream-bench-server"

// maybeServe is the server, if the program was started as one. It ends when its
// standard input does.
func maybeServe() {
	if os.Args[0] != benchServer {
		return
	}
	listener, err := net.Listen("unix", os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	go http.Serve(listener, http.HandlerFunc(benchAnswer))
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

const benchEvent = "data: {\"choices\":[{\"finish_reason\":null,\"index\":0,\"delta\":{\"content\":\" " +
	"rain\"}}],\"created\":1,\"id\":\"chatcmpl-x\",\"model\":\"demo\",\"object\":\"chat.completion.chunk\"}\n\n"

// benchAnswer streams ?events=N events with ?gap=N µs between them, or gives one
// small answer.
func benchAnswer(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	query := r.URL.Query()
	events, _ := strconv.Atoi(query.Get("events"))
	gap, _ := strconv.Atoi(query.Get("gap"))
	if events == 0 {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"choices":[{"index":0,"message":{"role":"assistant","content":"rain"}}]}`)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Connection", "close") // as llama-server does
	for range events {
		io.WriteString(w, benchEvent)
		w.(http.Flusher).Flush()
		time.Sleep(time.Duration(gap) * time.Microsecond)
	}
}

func startBenchServer(b *testing.B) (socket string) {
	b.Helper()
	socket = socketPath(b)
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(self, socket)
	cmd.Args[0] = benchServer
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		stdin.Close()
		cmd.Wait()
	})
	if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		b.Fatal(err)
	}
	return socket
}

// exchangeFunc makes a request, reads the answer by lines and returns its size.
type exchangeFunc func(ctx context.Context, path string, body []byte) (int, error)

func withUpstream(b *testing.B, socket string) exchangeFunc {
	c := New(socket, "Authorization: Bearer k\r\n", 64)
	b.Cleanup(c.Close)
	return func(ctx context.Context, path string, body []byte) (int, error) {
		resp, err := c.Do(ctx, http.MethodPost, path, body)
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		return countBytes(resp.Body)
	}
}

// withNetHTTP is what the gateway's workers do with net/http.
func withNetHTTP(b *testing.B, socket string) exchangeFunc {
	var dialer net.Dialer
	c := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		},
		MaxIdleConns: 64, MaxIdleConnsPerHost: 64, IdleConnTimeout: idleTimeout, DisableCompression: true,
	}}
	b.Cleanup(c.CloseIdleConnections)
	return func(ctx context.Context, path string, body []byte) (int, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://worker"+path, bytes.NewReader(body))
		if err != nil {
			return 0, err
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer k")
		resp, err := c.Do(req)
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		return countBytes(bufio.NewReaderSize(resp.Body, bufferSize))
	}
}

func countBytes(r interface{ ReadSlice(byte) ([]byte, error) }) (int, error) {
	total := 0
	for {
		line, err := r.ReadSlice('\n')
		total += len(line)
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// cpuTime returns the CPU time that this process has used.
func cpuTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkClients compares with net/http's transport, the server being in
// another process. cpu-us/op is the client's CPU time.
func BenchmarkClients(b *testing.B) {
	for _, load := range []struct{ name, path string }{
		{"small", "/"},
		{"burst200", "/?events=200"},
		{"paced200", "/?events=200&gap=100"},
	} {
		for _, client := range []struct {
			name string
			make func(*testing.B, string) exchangeFunc
		}{{"upstream", withUpstream}, {"nethttp", withNetHTTP}} {
			b.Run(load.name+"/"+client.name, func(b *testing.B) {
				exchange := client.make(b, startBenchServer(b))
				ctx, cancel := context.WithCancel(b.Context())
				defer cancel()
				body := bytes.Repeat([]byte("x"), 1000)
				b.ReportAllocs()
				before := cpuTime(b)
				for b.Loop() {
					if n, err := exchange(ctx, load.path, body); err != nil || n == 0 {
						b.Fatal(n, err)
					}
				}
				b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N)/1000, "cpu-us/op")
			})
		}
	}
}
