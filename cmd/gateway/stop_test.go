package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// rounds is how often a test repeats itself, by an environment variable if it is set.
func rounds(t *testing.T, variable string, usual int) int {
	t.Helper()
	text, set := os.LookupEnv(variable)
	if !set {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// crowd are clients that each keep a connection and send one request after the other.
type crowd struct {
	url  string
	stop atomic.Bool
	wg   sync.WaitGroup

	answered, refused atomic.Int64 // answers of a worker; 503s that say to come again
	closed            atomic.Int64 // connections that the port refused
	begun             chan struct{}
	once              sync.Once

	mu   sync.Mutex
	lost []string // requests that ended in any other way
}

// gather starts so many clients. Each ends when it is told to, or, if until is set, when
// the port refuses it.
func gather(url string, clients int, untilClosed bool) *crowd {
	c := &crowd{url: url, begun: make(chan struct{})}
	for i := range clients {
		c.wg.Go(func() {
			transport := &http.Transport{MaxIdleConnsPerHost: 1}
			defer transport.CloseIdleConnections()
			client := &http.Client{Transport: transport}
			for n := 0; !c.stop.Load(); n++ {
				if closed := c.send(client, i, n); closed && untilClosed {
					return
				}
			}
		})
	}
	return c
}

// send sends one request and reports whether the port refused it.
func (c *crowd) send(client *http.Client, i, n int) (closed bool) {
	stream := (i+n)%2 == 0
	resp, err := client.Post(c.url+chatPath, "application/json",
		strings.NewReader(chat([]string{"coding", "chat", "demo"}[i%3], "hi",
			fmt.Sprintf(`,"max_tokens":4,"stream":%v`, stream))))
	if errors.Is(err, syscall.ECONNREFUSED) {
		c.closed.Add(1)
		return true
	}
	if err != nil {
		c.lose("no answer: %v", err)
		return false
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		c.lose("half an answer: %v after %q", err, text)
	case resp.StatusCode == http.StatusOK && (!stream || strings.HasSuffix(string(text), "data: [DONE]\n\n")):
		c.answered.Add(1)
		if c.answered.Load() > 24 {
			c.once.Do(func() { close(c.begun) })
		}
	case resp.StatusCode == http.StatusServiceUnavailable && strings.Contains(string(text), `"code":"stopping"`) &&
		resp.Header.Get("Retry-After") != "" && resp.Close:
		c.refused.Add(1)
	default:
		c.lose("status %d, closes %v: %s", resp.StatusCode, resp.Close, text)
	}
	return false
}

func (c *crowd) lose(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost = append(c.lost, fmt.Sprintf(format, args...))
}

// judge ends the clients and fails the test for what was lost.
func (c *crowd) judge(t *testing.T) {
	t.Helper()
	c.wg.Wait()
	for _, lost := range c.lost {
		t.Error(lost)
	}
	t.Logf("%d answered, %d told to come again, %d refused by the port", c.answered.Load(), c.refused.Load(),
		c.closed.Load())
}

// TestStopUnderLoad stops a gateway while clients send one request after the other, on
// connections that they keep and on new ones: every request has an answer until the port
// refuses connections.
func TestStopUnderLoad(t *testing.T) {
	for round := range rounds(t, "LORAGATE_STOP_ROUNDS", 2) {
		linger := []string{"0", "200ms", "auto"}[round%3]
		g := serve(t, realConfig(t, 1, 4)+"limits: {linger: "+linger+"}\n")
		c := gather(g.url, 12, true)
		<-c.begun
		g.cmd.Process.Signal(syscall.SIGTERM)
		c.judge(t)
		if code := g.end(); code != 0 {
			t.Errorf("exit code %d, want 0", code)
		}
		if t.Failed() {
			t.Fatalf("round %d, limits.linger %s", round, linger)
		}
	}
}

// TestStopWaitsForPollers has somebody poll /ready: the port stays open, and requests
// are told that the gateway stops, until the poller has seen it.
func TestStopWaitsForPollers(t *testing.T) {
	t.Parallel()
	g := serve(t, fakeConfig(t, 1, ""))
	ready := func() (int, error) {
		resp, err := http.Get(g.url + "/ready")
		if err != nil {
			return 0, err
		}
		resp.Body.Close()
		return resp.StatusCode, nil
	}
	if status, err := ready(); status != http.StatusOK {
		t.Fatalf("/ready: %d, %v", status, err)
	}
	g.cmd.Process.Signal(syscall.SIGTERM)
	g.says("stopping, running requests may end")
	// More than one request, so that not only what was in the backlog is answered.
	for range 20 {
		req, err := http.NewRequest(http.MethodPost, g.url+chatPath, strings.NewReader(chat("coding", "hi", "")))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || !resp.Close {
			t.Errorf("while stopping: status %d, Retry-After %q, closes %v", resp.StatusCode, resp.Header.Get("Retry-After"),
				resp.Close)
		}
	}
	if status, err := ready(); status != http.StatusServiceUnavailable {
		t.Errorf("/ready while stopping: %d, %v", status, err)
	}
	if code := g.end(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

// TestStopAnswersWhatComesLate opens connections and sends nothing until the
// gateway stops: also what comes then is answered.
func TestStopAnswersWhatComesLate(t *testing.T) {
	t.Parallel()
	g := serve(t, fakeConfig(t, 1, ""))
	var conns []net.Conn
	for range 3 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns = append(conns, conn)
	}
	g.cmd.Process.Signal(syscall.SIGTERM)
	g.says("stopping, running requests may end")
	for i, conn := range conns {
		fmt.Fprint(conn, "GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		if !resp.Close {
			t.Errorf("connection %d is said to stay", i)
		}
		resp.Body.Close()
	}
}

// TestStoppedRequestsAreTold ends the gateway while one stream runs, a whole answer is
// being made and others wait: at the drain's limit, and at a second signal.
func TestStoppedRequestsAreTold(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]string{"limit": "50ms", "second signal": "1h"} {
		t.Run(name, func(t *testing.T) {
			g := serve(t, strings.Replace(fakeConfig(t, 1, ""), "slots: 4", "slots: 1", 1)+"limits: {drain: "+limit+"}\n")
			stream := g.open(context.Background(), chat("coding", "idle=1", `,"stream":true`))
			defer stream.Body.Close()
			lines := bufio.NewReader(stream.Body)
			if _, err := lines.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
			const waiting = 3
			answers := make(chan string, waiting)
			for range waiting {
				go func() {
					resp, err := http.Post(g.url+chatPath, "application/json", strings.NewReader(chat("chat", "hi", "")))
					if err != nil {
						answers <- err.Error()
						return
					}
					defer resp.Body.Close()
					text, err := io.ReadAll(resp.Body)
					answers <- fmt.Sprint(resp.StatusCode, " ", err, " ", string(text))
				}()
			}
			g.waits(waiting)
			g.cmd.Process.Signal(syscall.SIGTERM)
			if limit == "1h" {
				g.says("stopping, running requests may end")
				g.cmd.Process.Signal(syscall.SIGTERM)
			}
			rest, err := io.ReadAll(lines)
			if err != nil || !strings.Contains(string(rest), `"code":"stopping"`) || strings.Contains(string(rest), "[DONE]") {
				t.Errorf("the stream ended with %v: %q", err, rest)
			}
			for range waiting {
				if a := <-answers; !strings.HasPrefix(a, "503 <nil>") || !strings.Contains(a, `"code":"stopping"`) {
					t.Errorf("a request that waited: %s", a)
				}
			}
			if code := g.end(); code != 0 {
				t.Errorf("exit code %d, want 0", code)
			}
			g.saidStopped(1 + waiting)
		})
	}
}

// waits blocks until so many requests wait.
func (g *gatewayProcess) waits(n int) {
	g.t.Helper()
	want := fmt.Sprintf("\nloragate_queue_depth %d\n", n)
	for {
		resp, err := http.Get(g.adminURL() + "/metrics")
		if err != nil {
			g.t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			g.t.Fatal(err)
		}
		if strings.Contains(string(text), want) {
			return
		}
	}
}

// saidStopped checks the log's lines of the requests that were cut short.
func (g *gatewayProcess) saidStopped(n int) {
	g.t.Helper()
	<-g.drained
	for _, line := range g.lines {
		if text, _ := line["error"].(string); line["msg"] == "request" && strings.Contains(text, "stopped") &&
			line["status"] == float64(503) {
			n--
		}
	}
	if n != 0 {
		g.t.Errorf("%d requests are missing in the log as stopped", n)
	}
}

// TestReplaceUnderLoad replaces a gateway again and again while clients send one request
// after the other, on connections that they keep: no connection is refused, every request
// is answered by a worker, and the account has each once.
func TestReplaceUnderLoad(t *testing.T) {
	for _, workers := range []int{1, 2} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) { replaceUnderLoad(t, workers) })
	}
}

func replaceUnderLoad(t *testing.T, workers int) {
	config := realConfig(t, workers, 4) + "state: {dir: " + t.TempDir() + "}\n"
	file := write(t, config)
	g := run(t, "serve", "--config", file)
	g.url, _ = g.says("ready")["url"].(string)
	c := gather(g.url, 12, false)
	for round := range rounds(t, "LORAGATE_REPLACE_ROUNDS", 2) {
		<-c.begun
		heir := run(t, "serve", "--replace", "--config", file)
		if url := heir.says("ready")["url"]; url != g.url {
			t.Fatalf("round %d: the next gateway serves %v, want %s", round, url, g.url)
		}
		if code := g.end(); code != 0 {
			t.Errorf("exit code %d, want 0", code)
		}
		heir.url, g = g.url, heir
	}
	own := int64(0)
	for before := c.answered.Load(); c.answered.Load() < before+24 && len(c.losses()) == 0; own++ {
		if status, text := g.post(chatPath, chat("coding", "hi", `,"max_tokens":1`)); status != http.StatusOK {
			t.Fatalf("status %d: %s", status, text)
		}
	}
	c.stop.Store(true)
	c.judge(t)
	if c.refused.Load()+c.closed.Load() > 0 {
		t.Error("a replacement turned requests away")
	}
	g.says("the gateway before is gone")
	if u := g.usage(); u["ok"] != c.answered.Load()+own {
		t.Errorf("the account is %v, want %d requests", u, c.answered.Load()+own)
	}
}

func (c *crowd) losses() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost
}
