package proxy_test

import (
	"bufio"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// silence is a stream on which nothing moves before its gate is opened.
type silence struct {
	*stack
	gate  string
	resp  *http.Response
	lines *bufio.Scanner
}

// silent begins a stack that sends signs of life nearly at once.
func silent(t *testing.T) *silence {
	return &silence{
		stack: start(t, func(s *settings) { s.slots, s.keepAlive = 1, time.Millisecond }),
		gate:  filepath.Join(t.TempDir(), "gate"),
	}
}

// ask sends a request and reads the head of its answer.
func (s *silence) ask(path, body string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), "POST", s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if s.resp, err = http.DefaultClient.Do(req); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { s.resp.Body.Close() })
	s.lines = bufio.NewScanner(s.resp.Body)
	if s.resp.StatusCode != 200 || s.resp.Header.Get("Content-Type") != "text/event-stream" {
		s.t.Fatalf("%d %v", s.resp.StatusCode, s.resp.Header)
	}
}

// signs reads three signs of life, of so many lines each.
func (s *silence) signs(want ...string) {
	s.t.Helper()
	for range 3 {
		for _, line := range append(want, "") {
			if !s.lines.Scan() || s.lines.Text() != line {
				s.t.Fatalf("got %q, want %q: %v", s.lines.Text(), line, s.lines.Err())
			}
		}
	}
}

// open opens the gate.
func (s *silence) release() {
	s.t.Helper()
	if err := os.WriteFile(s.gate, nil, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// rest reads the stream to its end and returns its lines that are no sign of life.
func (s *silence) rest(sign ...string) string {
	s.t.Helper()
	var text strings.Builder
	for s.lines.Scan() {
		text.WriteString(s.lines.Text() + "\n")
	}
	if err := s.lines.Err(); err != nil {
		s.t.Fatal(err)
	}
	left := strings.ReplaceAll(text.String(), strings.Join(sign, "\n")+"\n\n", "")
	return strings.ReplaceAll(left, "\n\n", "\n")
}

// contains fails unless a text has all the parts, in this order.
func contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	left := text
	for _, part := range parts {
		_, after, ok := strings.Cut(left, part)
		if !ok {
			t.Fatalf("no %q where it should be in\n%s", part, text)
		}
		left = after
	}
}

const comment = ": keep-alive"

// TestSignsOfLife holds a request in the queue, and then its prompt on the worker.
func TestSignsOfLife(t *testing.T) {
	t.Parallel()
	s := silent(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	before := s.open(ctx, chat("coding", "idle=1", `,"stream":true`)) // has the only slot
	defer before.Body.Close()
	s.ask(chatPath, chat("team/legal", "gate="+s.gate+" chunks=2", `,"stream":true`))
	if s.resp.Header.Get("X-Worker") != "" {
		t.Errorf("it has not run, and the head says %v", s.resp.Header)
	}
	s.signs(comment)
	cancel()
	s.signs(comment)
	s.release()
	text := s.rest(comment)
	contains(t, "\n"+text, "\n: X-Adapter: team/legal\n", ": X-Adapter-Digest: ", "\n: X-Worker: 0\n",
		": X-Adapter-State: swap\n", ": X-Queue-Ms: ", `"content":"0 "`, `"content":"1 "`, "data: [DONE]\n")
	line := s.access(s.resp.Header.Get("X-Request-Id"))
	if line["ttft_ms"].(float64) < line["queue_ms"].(float64) || line["status"] != 200.0 || line["error"] != nil {
		t.Errorf("the log says %v", line)
	}
}

// TestAfterSignsOfLife: they are no output, neither ours nor llama-server's. What went wrong
// comes as an event.
func TestAfterSignsOfLife(t *testing.T) {
	t.Parallel()
	once := filepath.Join(t.TempDir(), "died")
	for name, c := range map[string]struct {
		order  string
		want   []string
		status float64
	}{
		"the worker dies":              {"die-once=" + once + " chunks=1", []string{`"content":"0 "`, "[DONE]"}, 200},
		"the worker refuses":           {"refuse=400", []string{`data: {"error":`, `"context_length_exceeded"`}, 400},
		"two workers die":              {"die", []string{`data: {"error":`, `"worker_died"`}, 502},
		"the worker fails it":          {"fail-at=0", []string{`data: {"error":`, "failed as told"}, 500},
		"the worker dies in the midst": {"die-at=1", []string{`"content":"0 "`, `data: {"error":`, `"worker_died"`}, 502},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := silent(t)
			s.ask(chatPath, chat("coding", "gate="+s.gate+" "+c.order, `,"stream":true`))
			s.signs(comment)
			s.release()
			text := s.rest(comment)
			contains(t, text, c.want...)
			if n := strings.Count(text, `"error"`); n > 1 {
				t.Errorf("%d errors are told in %s", n, text)
			}
			if line := s.access(s.resp.Header.Get("X-Request-Id")); line["status"] != c.status {
				t.Errorf("the log says %v", line)
			}
		})
	}
}

// TestSignsOfLifeInMessages are what Anthropic's own are.
func TestSignsOfLifeInMessages(t *testing.T) {
	t.Parallel()
	s := silent(t)
	s.ask("/v1/messages", chat("coding", "gate="+s.gate+" chunks=1", `,"stream":true,"max_tokens":9`))
	sign := []string{"event: ping", `data: {"type": "ping"}`}
	s.signs(sign...)
	s.release()
	contains(t, s.rest(sign...), "event: message_start\n", `"text":"0 "`, "event: message_stop\n")
}

// TestSignsOfLifeBetweenPrompts holds the second of three prompts.
func TestSignsOfLifeBetweenPrompts(t *testing.T) {
	t.Parallel()
	s := silent(t)
	s.ask("/v1/completions", streamOf("chunks=1", "gate="+s.gate+" chunks=1", "chunks=1"))
	for s.lines.Scan() && !strings.Contains(s.lines.Text(), `"index":0`) {
		continue
	}
	s.lines.Scan()
	s.signs(comment)
	s.release()
	text := s.rest(comment)
	contains(t, text, `"index":1`, `"index":2`, "[DONE]")
	if strings.Contains(text, "X-Worker") {
		t.Errorf("where it is from comes behind the first event: %s", text)
	}
}

// TestSignsOfLifeAsAsked: llama-server's own field says how often, or not at all.
func TestSignsOfLifeAsAsked(t *testing.T) {
	t.Parallel()
	s := start(t, func(s *settings) { s.slots, s.keepAlive = 2, time.Millisecond })
	other := &silence{stack: s, gate: filepath.Join(t.TempDir(), "gate")}
	for _, field := range []string{"-1", "0", "3600", "-1.0"} {
		quiet := make(chan *http.Response)
		go func() {
			body := chat("coding", "gate="+other.gate+" chunks=1", `,"stream":true,"sse_ping_interval":`+field)
			resp, err := http.Post(s.url+chatPath, "application/json", strings.NewReader(body))
			if err != nil {
				t.Error(err)
			}
			quiet <- resp
		}()
		os.Remove(other.gate)
		other.ask(chatPath, chat("coding", "gate="+other.gate+" chunks=1", `,"stream":true`))
		other.signs(comment)
		other.release()
		other.rest(comment)
		resp := <-quiet
		if text := readAll(t, resp); strings.Contains(text, comment) || resp.Header.Get("X-Worker") != "0" {
			t.Errorf("%s: %v %s", field, resp.Header, text)
		}
	}
}

// TestNoSignOfLifeAfterTheEnd: clients that read on behind the last event find nothing.
func TestNoSignOfLifeAfterTheEnd(t *testing.T) {
	t.Parallel()
	s := start(t, func(s *settings) { s.slots, s.keepAlive = 1, time.Nanosecond })
	for path, last := range map[string]string{
		chatPath: "data: [DONE]\n\n", "/v1/messages": "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
	} {
		for range 20 {
			body := chat("coding", "chunks=1", `,"stream":true,"max_tokens":9`)
			resp, err := http.Post(s.url+path, "application/json", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			if text := readAll(t, resp); !strings.HasSuffix(text, last) {
				t.Fatalf("%s ends with %q", path, text[max(0, len(text)-200):])
			}
		}
	}
}
