package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/loragate/loragate/internal/auth"
	"github.com/loragate/loragate/internal/fakeworker"
	"github.com/loragate/loragate/internal/llamatest"
)

// turnstile returns a program that becomes llama-server, but fails, and leaves a mark, when
// so many are alive: each has one of so many locks, of which the kernel lets go with it.
func turnstile(t *testing.T, program string, most int) (command string, exceeded func() bool) {
	t.Helper()
	if _, err := exec.LookPath("flock"); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	command = filepath.Join(dir, "turnstile")
	mark := filepath.Join(dir, "exceeded")
	script := fmt.Sprintf(`#!/bin/sh
case " $* " in *" --slot-save-path "*)
	for n in $(seq %d); do
		exec 9>%q/lock$n
		flock -n 9 && exec %q "$@"
	done
	: >%q
	exit 3
esac
exec %q "$@"
`, most, dir, program, mark, program)
	if err := os.WriteFile(command, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return command, func() bool { _, err := os.Stat(mark); return err == nil }
}

// started is a stream that is read as it comes.
type started struct {
	resp *http.Response
	text chan string // all that came after the first line
}

// begin starts a stream and returns when its first line is there.
func (g *gatewayProcess) begin(key, body string) *started {
	g.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, g.url+chatPath, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	s := &started{text: make(chan string, 1)}
	if s.resp, err = http.DefaultClient.Do(req); err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { s.resp.Body.Close() })
	lines := bufio.NewReader(s.resp.Body)
	if line, err := lines.ReadString('\n'); err != nil || s.resp.StatusCode != http.StatusOK {
		g.t.Fatalf("the stream began with status %d, %q, %v", s.resp.StatusCode, line, err)
	}
	go func() {
		rest, err := io.ReadAll(lines)
		if err != nil {
			rest = append(rest, err.Error()...)
		}
		s.text <- string(rest)
	}()
	return s
}

// whole blocks until the stream has ended, checks that it did so as it should, and returns
// it.
func (s *started) whole(t *testing.T) string {
	t.Helper()
	text := <-s.text
	if !strings.HasSuffix(text, "data: [DONE]\n\n") {
		t.Errorf("the stream ended with %q", text[max(0, len(text)-200):])
	}
	return text
}

// handed is a gateway with fake workers, its heir, and a stream that still runs on the
// first.
type handed struct {
	g, heir  *gatewayProcess
	stream   *started
	exceeded func() bool
	file     string // the configuration
	release  string // the file at which the stream ends
}

// replaceWithStream replaces a gateway of two workers while a stream runs, and returns
// when the heir serves. before is called with the gateway before the stream begins.
func replaceWithStream(t *testing.T, more string, before func(g *gatewayProcess)) *handed {
	t.Helper()
	command, exceeded := turnstile(t, fakeworker.Link(t), 2)
	config := commandIn(fakeConfig(t, 2, ""), command) + "state: {dir: " + t.TempDir() + "}\n" + more
	r := &handed{file: write(t, config), release: filepath.Join(t.TempDir(), "release"), exceeded: exceeded}
	r.g = run(t, "serve", "--config", r.file)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	r.g.url, _ = r.g.says("ready")["url"].(string)
	before(r.g)
	r.stream = r.g.begin("k0", chat("coding", "until="+r.release, `,"stream":true`))
	http.DefaultClient.CloseIdleConnections() // or the next request would still be the old one's
	r.heir = run(t, "serve", "--replace", "--config", r.file)
	r.heir.url, _ = r.heir.says("ready")["url"].(string)
	return r
}

// commandIn puts another program into a configuration.
func commandIn(config, command string) string {
	from := strings.Index(config, "command: ") + len("command: ")
	to := from + strings.Index(config[from:], ",")
	return config[:from] + command + config[to:]
}

// finish lets the stream end, and returns when the heir is alone and has all workers.
func (r *handed) finish(t *testing.T) {
	t.Helper()
	r.endStream(t)
	r.alone(t)
}

// endStream lets the stream end, and the gateway with it.
func (r *handed) endStream(t *testing.T) {
	t.Helper()
	select {
	case <-r.g.exited:
		t.Error("the gateway ended before its stream")
	default:
	}
	if err := os.WriteFile(r.release, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.stream.whole(t)
	if code := r.g.end(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

// alone blocks until the heir knows that it is, and has all its workers.
func (r *handed) alone(t *testing.T) {
	t.Helper()
	r.heir.says("the gateway before is gone")
	r.heir.workerPIDs(2)
	if r.exceeded() {
		t.Error("more than two workers were alive at a time")
	}
}

// usage returns the requests that the account has, by outcome.
func (g *gatewayProcess) usage() map[string]int64 {
	g.t.Helper()
	u, err := g.admins().Usage(g.t.Context(), map[string][]string{"by": {"outcome"}})
	if err != nil {
		g.t.Fatal(err)
	}
	all := map[string]int64{}
	for _, s := range u.Sums {
		all[s.Group[0]] = s.Requests
	}
	return all
}

const tenantOfK0 = "tenants: [{name: acme, keys: [%s]%s}]\n"

func acme(limits string) string { return fmt.Sprintf(tenantOfK0, auth.Hash("k0"), limits) }

// TestReplaceMovesWorkersOneByOne has the heir answer while a stream of the gateway before
// goes on; there are never more workers than are configured, and nothing of the account is
// lost or there twice.
func TestReplaceMovesWorkersOneByOne(t *testing.T) {
	t.Parallel()
	command, exceeded := turnstile(t, llamatest.Binary(t), 2)
	config := commandIn(realConfig(t, 2, 4), command)
	// The stream's worker is stopped meanwhile: that must not count.
	config = strings.Replace(config, "context: 1024", "context: 4096, hang_timeout: 0, stall_timeout: 0",
		1) + "state: {dir: " + t.TempDir() + "}\nlimits: {drain: 10m}\n"
	file := write(t, config)
	g := run(t, "serve", "--config", file)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	g.url, _ = g.says("ready")["url"].(string)
	pids := g.workerPIDs(2)
	tokens := int64(0)
	answered := func(g *gatewayProcess, model string) {
		t.Helper()
		status, text := g.post(chatPath, chat(model, "hi", `,"max_tokens":5`))
		if status != http.StatusOK {
			t.Fatalf("status %d: %s", status, text)
		}
		tokens += completionTokens(t, text)
	}
	answered(g, "coding")
	stream := g.begin("", chat("chat", "hi", `,"stream":true,"ignore_eos":true,"max_tokens":1500,"stream_options":{"include_usage":true}`))
	worker, err := strconv.Atoi(stream.resp.Header.Get("X-Worker"))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pids[worker], syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Kill(pids[worker], syscall.SIGCONT) })
	http.DefaultClient.CloseIdleConnections() // or the next request would still be the old one's
	heir := run(t, "serve", "--replace", "--config", file)
	if heir.url, _ = heir.says("ready")["url"].(string); heir.url != g.url {
		t.Fatalf("the next gateway serves %v, want %s", heir.url, g.url)
	}
	for _, model := range []string{"demo", "legal", "coding"} {
		answered(heir, model)
	}
	select {
	case text := <-stream.text:
		t.Fatalf("the stream ended before its worker went on: %q", text[max(0, len(text)-200):])
	case <-g.exited:
		t.Fatal("the gateway ended before its stream")
	default:
	}
	if err := syscall.Kill(pids[worker], syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	tokens += streamTokens(t, stream.whole(t))
	if code := g.end(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	(&handed{heir: heir, exceeded: exceeded}).alone(t)
	u, err := heir.admins().Usage(t.Context(), map[string][]string{"by": {"outcome"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(u.Sums) != 1 || u.Sums[0].Requests != 5 || u.Sums[0].CompletionTokens != tokens {
		t.Errorf("the account is %+v, want 5 requests and %d tokens", u.Sums, tokens)
	}
}

// completionTokens reads what an answer says that it took.
func completionTokens(t *testing.T, text string) int64 {
	t.Helper()
	var answer struct {
		Usage struct {
			Completion int64 `json:"completion_tokens"`
		}
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil || answer.Usage.Completion == 0 {
		t.Fatalf("%v: %s", err, text)
	}
	return answer.Usage.Completion
}

// streamTokens reads it from a stream's last event.
func streamTokens(t *testing.T, text string) int64 {
	t.Helper()
	events := strings.Split(strings.TrimSuffix(text, "\n\ndata: [DONE]\n\n"), "data: ")
	return completionTokens(t, events[len(events)-1])
}

// TestLimitsSurviveAReplacement: what a tenant has used before, and what the gateway before
// still uses, counts in the heir.
func TestLimitsSurviveAReplacement(t *testing.T) {
	long(t)
	t.Parallel()
	for name, c := range map[string]struct {
		limits       string
		during, then int // the status of a request while the stream runs, and of one afterwards
	}{
		"requests":    {", requests_per_minute: 3", http.StatusOK, http.StatusTooManyRequests},
		"concurrency": {", concurrency: 1", http.StatusTooManyRequests, http.StatusOK},
		"tokens":      {", tokens_per_minute: 22", http.StatusOK, http.StatusTooManyRequests}, // 8 a whole answer
		"budget":      {", monthly_tokens: 22", http.StatusOK, http.StatusTooManyRequests},
	} {
		t.Run(name, func(t *testing.T) {
			ask := func(g *gatewayProcess) int {
				return g.statusFor("k0", http.MethodPost, chatPath, chat("coding", "hi", ""))
			}
			r := replaceWithStream(t, acme(c.limits), func(g *gatewayProcess) {
				if status := ask(g); status != http.StatusOK {
					t.Fatalf("status %d before", status)
				}
			})
			if status := ask(r.heir); status != c.during {
				t.Errorf("status %d while the stream runs, want %d", status, c.during)
			}
			r.finish(t)
			if status := ask(r.heir); status != c.then {
				t.Errorf("status %d after it, want %d", status, c.then)
			}
		})
	}
}

// TestOtherWorkersDoNotMove has the heir's workers be larger ones, and more: they start once
// the gateway before is gone.
func TestOtherWorkersDoNotMove(t *testing.T) {
	t.Parallel()
	config := fakeConfig(t, 2, "") + "state: {dir: " + t.TempDir() + "}\n"
	g := serve(t, config)
	release := filepath.Join(t.TempDir(), "release")
	stream := g.begin("", chat("coding", "until="+release, `,"stream":true`))
	heir := run(t, "serve", "--replace", "--config",
		write(t, strings.Replace(config, "count: 2, slots: 4", "count: 3, slots: 5", 1)))
	heir.says("workers that are not as those of the gateway before start once that has ended")
	if n := len(heir.logged("worker ready")); n > 0 {
		t.Errorf("%d workers did not wait", n)
	}
	if err := os.WriteFile(release, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	stream.whole(t)
	if code := g.end(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	heir.url, _ = heir.says("ready")["url"].(string)
	heir.workerPIDs(3)
	if status, text := heir.post(chatPath, chat("coding", "hi", "")); status != http.StatusOK {
		t.Errorf("status %d: %s", status, text)
	}
}

// TestReplacedGatewayIsKilled kills a gateway while it hands over: the heir goes on, and has
// all workers.
func TestReplacedGatewayIsKilled(t *testing.T) {
	t.Parallel()
	r := replaceWithStream(t, "", func(*gatewayProcess) {})
	r.g.cmd.Process.Kill()
	<-r.g.exited
	r.alone(t)
	if status, text := r.heir.post(chatPath, chat("coding", "hi", "")); status != http.StatusOK {
		t.Errorf("status %d: %s", status, text)
	}
}

// TestHeirIsKilled kills the heir while the gateway before has a stream: that ends whole,
// and the account has it.
func TestHeirIsKilled(t *testing.T) {
	t.Parallel()
	r := replaceWithStream(t, "", func(*gatewayProcess) {})
	r.heir.cmd.Process.Kill()
	<-r.heir.exited
	r.g.says("the gateway that takes over has ended: running requests may end here")
	if err := os.WriteFile(r.release, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.stream.whole(t)
	if code := r.g.end(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	next := run(t, "serve", "--replace", "--config", r.file)
	next.says("ready")
	if u := next.usage(); u["ok"] != 1 {
		t.Errorf("the account is %v, want one request", u)
	}
}

// TestNextHeirWaits has another gateway come while one still takes over: it has its turn
// afterwards. One that was stopped meanwhile does no harm.
func TestNextHeirWaits(t *testing.T) {
	t.Parallel()
	r := replaceWithStream(t, "", func(*gatewayProcess) {})
	next := func() *gatewayProcess {
		g := run(t, "serve", "--replace", "--config", r.file)
		g.says("asking the gateway that serves for its ports")
		return g
	}
	stopped := next()
	stopped.cmd.Process.Signal(syscall.SIGTERM)
	if code := stopped.end(); code != 0 {
		t.Errorf("exit code %d of one that was stopped while it waited, want 0", code)
	}
	last := next()
	r.endStream(t)
	r.heir.says("another gateway that was to take over has gone: this one serves on")
	if url := last.says("ready")["url"]; url != r.g.url {
		t.Errorf("the last gateway serves %v, want %s", url, r.g.url)
	}
	if code := r.heir.end(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

// TestAdminCallsOfAReplacedGateway: one on a connection that was there before is told to
// come again.
func TestAdminCallsOfAReplacedGateway(t *testing.T) {
	t.Parallel()
	var conn net.Conn
	r := replaceWithStream(t, "", func(g *gatewayProcess) {
		var err error
		if conn, err = net.Dial("tcp", strings.TrimPrefix(g.adminURL(), "http://")); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		// It has begun, and so is not closed for being idle.
		fmt.Fprint(conn, "DELETE /admin/v1/adapters/coding HTTP/1.1\r\n")
	})
	fmt.Fprint(conn, "Host: localhost\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusServiceUnavailable ||
		!strings.Contains(string(text), `"code":"stopping"`) || !resp.Close {
		t.Errorf("status %d, closes %v: %s, %v", resp.StatusCode, resp.Close, text, err)
	}
	r.finish(t)
}

// TestSignalReplaces has a gateway replace itself twice, and plays systemd: that
// is told of each next process before it is said to be ready.
func TestSignalReplaces(t *testing.T) {
	socket := serviceManager(t)
	dir := filepath.Dir(socket.LocalAddr().String()) // the state has a socket, too
	told := func() string {
		t.Helper()
		buffer := make([]byte, 256)
		n, err := socket.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(buffer[:n]))
	}
	g := serve(t, fakeConfig(t, 1, "")+"state: {dir: "+filepath.Join(dir, "state")+"}\n")
	if got := told(); got != "READY=1" {
		t.Errorf("told was %q", got)
	}
	pids := map[int]bool{}
	t.Cleanup(func() {
		for pid := range pids {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	pid := g.cmd.Process.Pid
	for range 2 {
		syscall.Kill(pid, syscall.SIGUSR2)
		text, ok := strings.CutPrefix(told(), "MAINPID=")
		var err error
		if pid, err = strconv.Atoi(text); !ok || err != nil {
			t.Fatalf("told was %q, %v", text, err)
		}
		pids[pid] = true
		if got := told(); got != "READY=1" {
			t.Errorf("told was %q", got)
		}
		if status, text := g.post(chatPath, chat("coding", "hi", "")); status != http.StatusOK {
			t.Errorf("status %d: %s", status, text)
		}
	}
	if code := g.end(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	syscall.Kill(pid, syscall.SIGTERM)
	if got := told(); got != "STOPPING=1" {
		t.Errorf("told was %q", got)
	}
	gone(t, []int{pid})
}
