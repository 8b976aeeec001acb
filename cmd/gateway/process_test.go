package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/loragate/loragate/internal/fakeworker"
	"github.com/loragate/loragate/internal/llamatest"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	good := run(t, "check", "--config", write(t, fakeConfig(t, 2, "")))
	if code := good.end(); code != 0 {
		t.Errorf("exit code %d for a valid file", code)
	}
	bad := run(t, "check", "--config", write(t, "listen: nowhere\n"))
	if code := bad.end(); code != 1 {
		t.Errorf("exit code %d for a bad file, want 1", code)
	}
	example := run(t, "check", "--config", filepath.Join(llamatest.Root(), "config.yaml"))
	if code := example.end(); code != 0 {
		t.Errorf("exit code %d for the example", code)
	}
}

func TestCheckRefusesWhatCannotBeServed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, content := range map[string]string{"coding.gguf": "not a GGUF", "bad name.gguf": "GGUF"} {
		os.RemoveAll(dir)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		config := fmt.Sprintf("model: {name: demo, path: %s}\nadapters: {dir: %s}\nworkers: {command: %s}\n",
			llamatest.Base(), dir, fakeworker.Link(t))
		g := run(t, "check", "--config", write(t, config))
		if code := g.end(); code != 1 {
			t.Errorf("%s: exit code %d, want 1", name, code)
		}
	}
}

func TestWorkerThatCannotStartEndsTheGateway(t *testing.T) {
	t.Parallel()
	marker := filepath.Join(t.TempDir(), "fail")
	if err := os.WriteFile(marker, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	g := run(t, "serve", "--config", write(t, fakeConfig(t, 2, `, args: ["--fail-start", `+marker+`]`)))
	if code := g.end(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	said := strings.Join(g.text, "\n")
	if !strings.Contains(said, "exit status 1") || !strings.Contains(said, "fake: told to fail at the start") {
		t.Errorf("the error does not tell how the worker ended and what it wrote:\n%s", said)
	}
}

func TestBusyPort(t *testing.T) {
	t.Parallel()
	first := serve(t, fakeConfig(t, 1, ""))
	config := strings.Replace(fakeConfig(t, 1, ""), "127.0.0.1:0", strings.TrimPrefix(first.url, "http://"), 1)
	second := run(t, "serve", "--config", write(t, config))
	if code := second.end(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
}

func TestStopDrains(t *testing.T) {
	t.Parallel()
	g := serve(t, fakeConfig(t, 2, ""))
	pids := g.workerPIDs(2)
	// The stream goes on until the worker sees the file.
	release := filepath.Join(t.TempDir(), "release")
	resp := g.open(t.Context(), chat("coding", "until="+release, `,"stream":true`))
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	if _, err := lines.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	g.cmd.Process.Signal(syscall.SIGTERM)
	g.says("stopping, running requests may end")
	// Refused by the closed port or with 503, depending on the moment; both are
	// fine, an answer is not.
	refused, err := http.Post(g.url+chatPath, "application/json", strings.NewReader(chat("coding", "hi", "")))
	if err == nil {
		refused.Body.Close()
		if refused.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("a new request while stopping: status %d", refused.StatusCode)
		}
	}
	if err := os.WriteFile(release, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(lines)
	if err != nil || !strings.HasSuffix(string(rest), "data: [DONE]\n\n") {
		t.Errorf("the running stream ended with %v: %q", err, rest[max(0, len(rest)-60):])
	}
	if code := g.end(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	gone(t, pids)
}

func TestDrainHasALimit(t *testing.T) {
	t.Parallel()
	g := serve(t, fakeConfig(t, 1, "")+"limits: {drain: 50ms}\n")
	pids := g.workerPIDs(1)
	resp := g.open(t.Context(), chat("coding", "idle=1", `,"stream":true`))
	defer resp.Body.Close()
	g.cmd.Process.Signal(syscall.SIGTERM)
	if code := g.end(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	gone(t, pids)
}

func TestSecondSignalStopsAtOnce(t *testing.T) {
	t.Parallel()
	g := serve(t, fakeConfig(t, 1, "")+"limits: {drain: 1h}\n")
	pids := g.workerPIDs(1)
	resp := g.open(t.Context(), chat("coding", "idle=1", `,"stream":true`))
	defer resp.Body.Close()
	g.cmd.Process.Signal(syscall.SIGINT)
	g.says("stopping, running requests may end")
	g.cmd.Process.Signal(syscall.SIGINT)
	if code := g.end(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	gone(t, pids)
}

// TestStopLosesNoLine stops the gateway right after its last answer, when lines of the
// log are still to be written.
func TestStopLosesNoLine(t *testing.T) {
	t.Parallel()
	g := serve(t, fakeConfig(t, 2, ""))
	const requests = 100
	for n := range requests {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.url+chatPath,
			strings.NewReader(chat("coding", "hi", "")))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Request-Id", fmt.Sprint("line-", n))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	g.cmd.Process.Signal(syscall.SIGTERM)
	if code := g.end(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	<-g.drained
	next := 0
	for _, line := range g.lines {
		if line["msg"] == "request" && line["request_id"] == fmt.Sprint("line-", next) {
			next++
		}
	}
	if next != requests {
		t.Errorf("the line of request %d is missing, or not in its place", next)
	}
	if last := g.lines[len(g.lines)-1]; last["msg"] != "stopped" {
		t.Errorf("the log ends with %v", last)
	}
}

func TestSignalWhileStarting(t *testing.T) {
	t.Parallel()
	g := run(t, "serve", "--config", write(t, fakeConfig(t, 1, `, args: ["--deaf"]`)))
	g.wait("the worker's first line", func(l map[string]any) bool { return l["line"] == "fake: listening" })
	g.cmd.Process.Signal(syscall.SIGTERM)
	if code := g.end(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

// TestNoOrphans kills the gateway itself, in service and while its workers are
// still starting, and looks for what it leaves behind. The worker runs under a
// shell that does not exec it: the kernel's own signal reaches only the shell.
func TestNoOrphans(t *testing.T) {
	t.Parallel()
	wrapper := filepath.Join(t.TempDir(), "wrapper")
	script := fmt.Sprintf("#!/bin/sh\n%q \"$@\"\nexit $?\n", fakeworker.Link(t))
	if err := os.WriteFile(wrapper, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string]string{"serving": "", "starting": `, args: ["--deaf"]`} {
		t.Run(name, func(t *testing.T) {
			text := fmt.Sprintf("listen: 127.0.0.1:0\nadmin: {listen: \"127.0.0.1:0\"}\nmodel: {name: demo, path: "+
				"%s}\nworkers: {command: %s, count: 2, slots: 2, self_test: false%s}\nlog: {format: json, level: debug}\n",
				llamatest.Base(), wrapper, args)
			g := run(t, "serve", "--config", write(t, text))
			seen := map[any]bool{}
			g.wait("both workers' first line", func(l map[string]any) bool {
				if l["line"] == "fake: listening" {
					seen[l["worker"]] = true
				}
				return len(seen) == 2
			})
			family := descendants(t, g.cmd.Process.Pid)
			if len(family) < 6 { // a shell, a worker and a guard, twice
				t.Fatalf("only %d processes below the gateway, so nothing would be tested", len(family))
			}
			g.cmd.Process.Kill()
			<-g.exited
			gone(t, family)
		})
	}
}

func TestStaleRuntimeDirectoriesAreRemoved(t *testing.T) {
	t.Parallel()
	parent, err := os.MkdirTemp("", "lg-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(parent) })
	config := fakeConfig(t, 1, ", runtime_dir: "+parent)
	killed := serve(t, config)
	killed.cmd.Process.Kill()
	<-killed.exited
	left, _ := filepath.Glob(filepath.Join(parent, "*"))
	if len(left) != 1 {
		t.Fatalf("a killed gateway left %v, so nothing would be tested", left)
	}
	other := serve(t, config) // removes what the killed one left
	if _, err := os.Stat(left[0]); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", left[0], err)
	}
	serve(t, config) // must leave the living one's alone
	if status, text := other.post(chatPath, chat("coding", "hi", "")); status != 200 {
		t.Errorf("after another gateway started: %d %s", status, text)
	}
}

// TestHungWorkerIsReplaced stops a worker's process: it is alive and answers
// nothing.
func TestHungWorkerIsReplaced(t *testing.T) {
	long(t)
	t.Parallel()
	g := serve(t, fakeConfig(t, 1, ", hang_timeout: 1s"))
	pid := g.workerPIDs(1)[0]
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	line := g.says("worker down")
	if cause, _ := line["error"].(string); !strings.Contains(cause, "no sign of life") {
		t.Errorf("cause: %v", line["error"])
	}
	gone(t, []int{pid})
	if status, text := g.post(chatPath, chat("coding", "hi", "")); status != 200 {
		t.Errorf("after the replacement: %d %s", status, text)
	}
}

// TestKilledWorkers kills workers one after the other under traffic: every
// request is answered or, if its worker died in the middle of its stream, ends
// with the error event.
func TestKilledWorkers(t *testing.T) {
	t.Parallel()
	g := serve(t, fakeConfig(t, 2, ""))
	pids := g.workerPIDs(2)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				g.judge(i)
			}
		})
	}
	for range 3 {
		for id, pid := range pids {
			syscall.Kill(pid, syscall.SIGKILL)
			pids[id] = g.replacement(id, pid)
		}
	}
	close(stop)
	wg.Wait()
}

// TestRequestsWaitForAWorkerThatDies kills the only worker again and again: every request
// waits for the next one.
func TestRequestsWaitForAWorkerThatDies(t *testing.T) {
	t.Parallel()
	g := serve(t, fakeConfig(t, 1, ""))
	pid := g.workerPIDs(1)[0]
	for range 4 {
		syscall.Kill(pid, syscall.SIGKILL)
		if status, text := g.post(chatPath, chat("coding", "hi", "")); status != http.StatusOK {
			t.Errorf("status %d: %s", status, text)
		}
		pid = g.replacement(0, pid)
	}
}

// judge makes one request, streamed or not, and checks that it came to an end
// that a client can tell.
func (g *gatewayProcess) judge(i int) {
	g.t.Helper()
	model := []string{"coding", "chat", "demo"}[i%3]
	if i%2 == 0 {
		status, text := g.post(chatPath, chat(model, "hi", ""))
		whole := status == http.StatusOK && strings.Contains(text, `"content":"fake"`)
		refused := status == http.StatusServiceUnavailable || status == http.StatusBadGateway
		if !whole && !(refused && strings.HasPrefix(text, `{"error":{`)) {
			g.t.Errorf("status %d: %s", status, text)
		}
		return
	}
	status, text := g.post(chatPath, chat(model, "chunks=20", `,"stream":true`))
	whole := strings.HasSuffix(text, "data: [DONE]\n\n")
	if failed := strings.Contains(text, `"error":{`); whole == failed {
		g.t.Errorf("status %d, whole %v, failed %v: %s", status, whole, failed, text)
	}
}

// TestCheckOfTheContainersConfiguration holds deploy/docker/config.yaml to the
// program, with the demo's files where a container mounts them.
func TestCheckOfTheContainersConfiguration(t *testing.T) {
	demo := filepath.Dir(llamatest.Base())
	t.Setenv("GATEWAY_ADMIN_TOKEN", "0123456789abcdef")
	t.Setenv("GATEWAY_MODEL_PATH", llamatest.Base())
	t.Setenv("GATEWAY_ADAPTERS_DIR", filepath.Join(demo, "adapters"))
	t.Setenv("GATEWAY_WORKERS_COMMAND", llamatest.Binary(t))
	g := run(t, "check", "--config", filepath.Join(llamatest.Root(), "deploy", "docker", "config.yaml"))
	if code := g.end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
