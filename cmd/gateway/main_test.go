package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/fakeworker"
	"github.com/loragate/loragate/internal/gateway"
	"github.com/loragate/loragate/internal/llamatest"
)

// gatewayName is the name under which the test binary is the gateway.
const gatewayName = "gateway-under-test"

func TestMain(m *testing.M) {
	fakeworker.MaybeMain()
	// A gateway starts its keeper by the path of its executable, which is this one.
	keeper := len(os.Args) > 1 && os.Args[1] == gateway.KeeperCommand
	if filepath.Base(os.Args[0]) == gatewayName || keeper {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// gatewayProcess is a gateway in a process of its own.
type gatewayProcess struct {
	t       *testing.T
	url     string
	cmd     *exec.Cmd
	exited  chan struct{} // closed when it has ended
	drained chan struct{} // closed when all that it printed was read
	status  error         // how; valid after exited

	mu    sync.Mutex
	lines []map[string]any
	text  []string // lines that are not JSON
	wake  chan struct{}
}

// run starts the gateway with the arguments; it is killed with the test.
func run(t *testing.T, args ...string) *gatewayProcess {
	t.Helper()
	return runProgram(t, gatewayLink(t), args...)
}

// runProgram is run by way of another program, which becomes the gateway.
func runProgram(t *testing.T, program string, args ...string) *gatewayProcess {
	t.Helper()
	g := &gatewayProcess{t: t, cmd: exec.Command(program, args...), exited: make(chan struct{}),
		drained: make(chan struct{}), wake: make(chan struct{})}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	g.cmd.Stdout, g.cmd.Stderr = write, write
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	write.Close()
	go func() {
		defer close(g.drained)
		g.collect(read)
	}()
	go func() {
		g.status = g.cmd.Wait()
		close(g.exited)
	}()
	t.Cleanup(func() {
		g.cmd.Process.Kill()
		<-g.exited
		<-g.drained
		if t.Failed() {
			g.dump()
		}
	})
	return g
}

func (g *gatewayProcess) collect(r io.ReadCloser) {
	defer r.Close()
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line map[string]any
		err := json.Unmarshal(lines.Bytes(), &line)
		g.mu.Lock()
		if err != nil {
			g.text = append(g.text, lines.Text())
		} else {
			g.lines = append(g.lines, line)
		}
		close(g.wake)
		g.wake = make(chan struct{})
		g.mu.Unlock()
	}
}

// dump shows the end of the log of a failed test.
func (g *gatewayProcess) dump() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, line := range g.lines[max(0, len(g.lines)-40):] {
		if line["level"] != "DEBUG" && line["msg"] != "request" {
			g.t.Logf("log: %v", line)
		}
	}
	for _, text := range g.text {
		g.t.Log(text)
	}
}

// wait blocks until the log has a line that fits, and returns it.
func (g *gatewayProcess) wait(what string, fits func(line map[string]any) bool) map[string]any {
	g.t.Helper()
	limit := time.After(time.Minute)
	for from, over := 0, false; ; {
		g.mu.Lock()
		lines, wake := g.lines[from:], g.wake
		from = len(g.lines)
		g.mu.Unlock()
		for _, line := range lines {
			if fits(line) {
				return line
			}
		}
		if over {
			g.t.Fatalf("the gateway ended without saying %q", what)
		}
		select {
		case <-wake:
		case <-g.drained: // what it wrote last has been read
			over = true
		case <-limit:
			g.t.Fatalf("the gateway did not say %q within a minute", what)
		}
	}
}

// says waits for a log line with that message.
func (g *gatewayProcess) says(msg string) map[string]any {
	g.t.Helper()
	return g.wait(msg, func(l map[string]any) bool { return l["msg"] == msg })
}

// workerPIDs returns the first processes of the gateway's n workers.
func (g *gatewayProcess) workerPIDs(n int) []int {
	g.t.Helper()
	pids := make([]int, n)
	for id := range pids {
		pids[id] = g.replacement(id, 0)
	}
	return pids
}

// replacement waits until a worker's process pid has been followed by another
// that is ready, and returns that one's id; pid 0 stands for before the first.
func (g *gatewayProcess) replacement(worker, pid int) int {
	g.t.Helper()
	passed := pid == 0
	line := g.wait(fmt.Sprintf("worker %d ready after process %d", worker, pid), func(l map[string]any) bool {
		if l["msg"] != "worker ready" || l["worker"] != float64(worker) {
			return false
		}
		next := passed
		passed = passed || l["pid"] == float64(pid)
		return next
	})
	return int(line["pid"].(float64))
}

// end waits until the gateway has ended and returns its exit code.
func (g *gatewayProcess) end() int {
	g.t.Helper()
	select {
	case <-g.exited:
	case <-time.After(time.Minute):
		g.t.Fatal("the gateway did not end within a minute")
	}
	var exit *exec.ExitError
	if errors.As(g.status, &exit) {
		return exit.ExitCode()
	}
	return 0
}

// long keeps a test that takes seconds out of the short ones, and says so.
func long(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes seconds, which -short leaves out")
	}
}

// serve starts a gateway with the configuration and waits until it is ready.
func serve(t *testing.T, config string) *gatewayProcess {
	t.Helper()
	g := run(t, "serve", "--config", write(t, config))
	g.url, _ = g.says("ready")["url"].(string)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return g
}

func write(t *testing.T, config string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// fakeConfig is a configuration with fake workers; more is added to its workers.
func fakeConfig(t *testing.T, count int, more string) string {
	t.Helper()
	return fmt.Sprintf(`
listen: 127.0.0.1:0
admin: {listen: "127.0.0.1:0"}
model: {name: demo, path: %s}
adapters: {dir: %s}
workers: {command: %s, count: %d, slots: 4, self_test: false%s}
log: {format: json, level: debug}
`, llamatest.Base(), filepath.Dir(llamatest.Adapters()["coding"]), fakeworker.Link(t), count, more)
}

// kvMode is the environment variable with the workers.kv of realConfig, so that `make test`
// runs what leans on KV caches in both modes.
const kvMode = "LORAGATE_TEST_KV"

// realConfig is a configuration with real workers and all test adapters.
func realConfig(t *testing.T, count, slots int) string {
	t.Helper()
	var list strings.Builder
	for _, name := range []string{"legal-r4", "chat-r16"} {
		fmt.Fprintf(&list, "\n    - {name: %s, path: %s}", name, llamatest.Adapters()[name])
	}
	return fmt.Sprintf(`
listen: 127.0.0.1:0
admin: {listen: "127.0.0.1:0"}
model: {name: demo, path: %s}
adapters:
  dir: %s
  list: %s
workers: {command: %s, count: %d, kv: %s, slots: %d, context: 1024, args: ["--threads", "1"]}
log: {format: json}
`, llamatest.Base(), filepath.Dir(llamatest.Adapters()["coding"]), list.String(), llamatest.Binary(t), count, cmp.Or(os.Getenv(kvMode), "auto"), slots)
}

// gone blocks until none of the processes exists.
func gone(t *testing.T, pids []int) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(time.Minute)
	for _, pid := range pids {
		for gateway.Runs(pid) {
			select {
			case <-tick.C:
			case <-limit:
				t.Fatalf("process %d is still there after a minute", pid)
			}
		}
	}
}

// post sends a chat request and returns status and body.
func (g *gatewayProcess) post(path, body string) (int, string) {
	g.t.Helper()
	resp, err := http.Post(g.url+path, "application/json", strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// open starts a request and returns its answer as it comes.
func (g *gatewayProcess) open(ctx context.Context, body string) *http.Response {
	g.t.Helper()
	req, err := http.NewRequestWithContext(ctx, "POST", g.url+chatPath, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	return resp
}

// descendants returns all processes below pid.
func descendants(t *testing.T, pid int) []int {
	t.Helper()
	children := map[int][]int{}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		t.Skip("no /proc: descendants cannot be listed here")
	}
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it ended meanwhile
		}
		var id, parent int
		var state string
		fmt.Sscanf(string(text), "%d", &id)
		_, rest, _ := strings.Cut(string(text), ") ")
		fmt.Sscanf(rest, "%s %d", &state, &parent)
		children[parent] = append(children[parent], id)
	}
	var all []int
	queue := []int{pid}
	for len(queue) > 0 {
		below := children[queue[0]]
		queue = append(queue[1:], below...)
		all = append(all, below...)
	}
	return all
}

// isServer reports whether a process is a llama-server and not its guard.
func isServer(pid int) bool {
	args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && strings.Contains(string(args), "--slot-save-path")
}

// each calls f for 0 to n-1, so many at once.
func each(atOnce, n int, f func(i int)) {
	next := make(chan int)
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}

func chat(model, content, more string) string {
	return fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":%q}],"temperature":0%s}`, model, content, more)
}

const chatPath = "/v1/chat/completions"
