//go:build conformance

// Package conformance checks what docs/llama-server.md says of llama-server
// beyond what the gateway's answers lean on (internal/worker has those tests).
// `make conformance` runs it; a newer llama-server is looked at here first.
package conformance

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/llamatest"
)

type object = map[string]any

// start runs a server with the adapters coding (id 0) and legal (id 1).
func start(t *testing.T, args ...string) *llamatest.Server {
	t.Helper()
	files := llamatest.Adapters()
	return llamatest.Start(t, []string{files["coding"], files["legal"]}, args...)
}

func lora(id int, scale float64) []object { return []object{{"id": id, "scale": scale}} }

var question = []object{{"role": "user", "content": "What is rain?"}}

// chat asks for a few greedy tokens.
func chat(t *testing.T, s *llamatest.Server, more object) string {
	t.Helper()
	body := object{"messages": question, "max_tokens": 16, "temperature": 0}
	for k, v := range more {
		body[k] = v
	}
	var reply struct {
		Choices []struct{ Message struct{ Content string } }
	}
	s.Must(t, http.MethodPost, "/v1/chat/completions", body, &reply)
	return reply.Choices[0].Message.Content
}

// stream starts an endless stream and returns when it has begun.
func stream(t *testing.T, s *llamatest.Server, more object) *bufio.Reader {
	t.Helper()
	body := object{"prompt": "x", "n_predict": 600, "ignore_eos": true, "stream": true}
	for k, v := range more {
		body[k] = v
	}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	resp, err := s.Open(ctx, http.MethodPost, "/completion", body)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	r := bufio.NewReader(resp.Body)
	if _, err := r.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestNewcomerWaitsForTheOtherAdapter: while one adapter generates, another
// adapter's request gets nothing until that is over, free slots or not; one of
// the same adapter is served beside it.
func TestNewcomerWaitsForTheOtherAdapter(t *testing.T) {
	for _, tt := range []struct {
		name   string
		second int
		waits  bool
	}{{"same", 0, false}, {"other", 1, true}} {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t, "--parallel", "2", "--ctx-size", "2048", "--cache-ram", "0")
			running := stream(t, s, object{"lora": lora(0, 1), "id_slot": 0})
			ended := make(chan string, 2)
			go func() {
				io.Copy(io.Discard, running)
				ended <- "running"
			}()
			chat(t, s, object{"lora": lora(tt.second, 1), "id_slot": 1, "max_tokens": 2})
			ended <- "newcomer"
			if first := <-ended; (first == "running") != tt.waits {
				t.Errorf("the %s ended first", first)
			}
			<-ended
		})
	}
}

func TestSigtermCutsStreams(t *testing.T) {
	s := start(t, "--parallel", "1", "--ctx-size", "1024")
	r := stream(t, s, object{"lora": lora(0, 1)})
	s.Signal(os.Interrupt)
	text, _ := io.ReadAll(r)
	if bytes.Contains(text, []byte(`"stop":true`)) {
		t.Error("the stream came to its end: llama-server drains now")
	}
}

func TestEraseNeedsASlotSavePath(t *testing.T) {
	s := llamatest.StartPlain(t, "--model", llamatest.Base(), "--parallel", "1", "--ctx-size", "512")
	status, text, err := s.Do(http.MethodPost, "/slots/0?action=erase", nil)
	if err != nil || status != http.StatusNotImplemented {
		t.Errorf("status %d %s, %v; want 501", status, text, err)
	}
}

// TestMessagesDropsLoraAndSlot: Anthropic's endpoint runs under what is in force,
// in a slot that llama-server picks.
func TestMessagesDropsLora(t *testing.T) {
	s := start(t, "--parallel", "1", "--ctx-size", "1024", "--cache-ram", "0")
	ask := func(more object) string {
		s.Must(t, http.MethodPost, "/slots/0?action=erase", nil, nil)
		body := object{"model": "x", "messages": question, "max_tokens": 16, "temperature": 0}
		for k, v := range more {
			body[k] = v
		}
		var reply struct{ Content []struct{ Text string } }
		s.Must(t, http.MethodPost, "/v1/messages", body, &reply)
		return reply.Content[0].Text
	}
	s.Must(t, http.MethodPost, "/lora-adapters", lora(0, 1), nil)
	inForce := ask(nil)
	if got := ask(object{"lora": lora(1, 1)}); got != inForce {
		t.Errorf("/v1/messages honours lora now: %q instead of %q", got, inForce)
	}
	s.Must(t, http.MethodPost, "/lora-adapters", lora(1, 1), nil)
	if got := ask(nil); got == inForce {
		t.Errorf("what is in force makes no difference: %q", got)
	}
}

func TestResponsesHonoursLora(t *testing.T) {
	s := start(t, "--parallel", "1", "--ctx-size", "1024", "--cache-ram", "0")
	s.Must(t, http.MethodPost, "/lora-adapters", []object{}, nil)
	seen := map[string]bool{}
	for _, scales := range [][]object{lora(0, 0), lora(0, 1), lora(1, 1)} {
		_, text, err := s.Do(http.MethodPost, "/v1/responses", object{
			"model": "x", "input": "What is rain?", "max_output_tokens": 16, "temperature": 0, "lora": scales,
		})
		if err != nil {
			t.Fatal(err)
		}
		var reply struct {
			Output []struct{ Content []struct{ Text string } }
		}
		if err := json.Unmarshal(text, &reply); err != nil || len(reply.Output) == 0 {
			t.Fatalf("%v in %s", err, text)
		}
		seen[reply.Output[0].Content[0].Text] = true
	}
	if len(seen) != 3 {
		t.Errorf("three adapters give the answers %v", seen)
	}
}

func TestStreamBeginsWithARole(t *testing.T) {
	s := start(t, "--parallel", "1", "--ctx-size", "1024", "--alias", "my-alias")
	_, text, err := s.Do(http.MethodPost, "/v1/chat/completions",
		object{"messages": question, "max_tokens": 2, "stream": true, "model": "asked"})
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\n\n")
	if !strings.Contains(first, `"delta":{"role":"assistant","content":null}`) {
		t.Errorf("the first chunk is %s", first)
	}
	if !strings.Contains(first, `"model":"my-alias"`) {
		t.Errorf("the answer's model is not the alias: %s", first)
	}
	if !strings.HasSuffix(string(text), "data: [DONE]\n\n") {
		t.Errorf("the stream ends with %q", text[max(0, len(text)-40):])
	}
}

func TestConnectionServesAHundredRequests(t *testing.T) {
	s := start(t, "--parallel", "1", "--ctx-size", "512")
	for i := range 300 {
		resp, err := s.Open(t.Context(), http.MethodGet, "/health", nil)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.Close {
			return // says so, rather than break off
		}
		if i > 150 {
			t.Fatal("a connection serves more than a hundred requests now")
		}
	}
}

func TestEmbeddingsNeedAFlag(t *testing.T) {
	s := start(t, "--parallel", "1", "--ctx-size", "512")
	status, text, err := s.Do(http.MethodPost, "/v1/embeddings", object{"input": "x"})
	if err != nil || status == http.StatusOK {
		t.Errorf("status %d %s, %v", status, text, err)
	}
}

func TestMetrics(t *testing.T) {
	s := start(t, "--parallel", "1", "--ctx-size", "512", "--metrics")
	status, text, err := s.Do(http.MethodGet, "/metrics", nil)
	if err != nil || status != http.StatusOK || !bytes.Contains(text, []byte("llamacpp:tokens_predicted_total")) {
		t.Errorf("status %d %s, %v", status, text, err)
	}
}

// TestSocketIsLeftBehind and keeps the next server from listening there.
func TestSocketIsLeftBehind(t *testing.T) {
	dir, err := os.MkdirTemp("", "lc-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s.sock")
	run := func(ctx context.Context) ([]byte, error) {
		cmd := exec.CommandContext(ctx, llamatest.Binary(t), "--model", llamatest.Base(), "--host", socket, "--ctx-size",
			"512")
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		return cmd.CombinedOutput()
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		run(ctx)
	}()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(time.Minute)
	for _, err := os.Stat(socket); err != nil; _, err = os.Stat(socket) {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("no socket after a minute")
		}
	}
	stop()
	<-ended
	if _, err := os.Stat(socket); err != nil {
		t.Fatalf("the socket is gone: %v", err)
	}
	if out, err := run(t.Context()); err == nil || !bytes.Contains(out, []byte("couldn't bind")) {
		t.Errorf("a second server: %v, %s", err, out)
	}
}

// TestContamination counts wrong answers of a bare server that switches adapters
// over prompts with shared prefixes, and of one that is used with care.
func TestContamination(t *testing.T) {
	prompts := []string{"What is rain?", "What is machine learning?", "What is a contract?"}
	files := llamatest.Adapters()
	ids := []string{"coding", "legal"}
	ref := llamatest.NewReference(t)
	inForce := func(s *llamatest.Server, id int) object {
		s.Must(t, http.MethodPost, "/lora-adapters", lora(id, 1), nil)
		return nil
	}
	for _, tt := range []struct {
		name  string
		args  []string
		more  func(s *llamatest.Server, id int) object
		wrong bool
	}{
		{"in force", nil, inForce, true},
		{"in force, no host cache", []string{"--cache-ram", "0"}, inForce, true},
		{"in force, erased", []string{"--cache-ram", "0"}, func(s *llamatest.Server, id int) object {
			inForce(s, id)
			for slot := range 2 {
				s.Must(t, http.MethodPost, fmt.Sprintf("/slots/%d?action=erase", slot), nil, nil)
			}
			return nil
		}, false},
		{"request and slot, no host cache", []string{"--cache-ram", "0"}, func(_ *llamatest.Server, id int) object {
			return object{"lora": lora(id, 1), "id_slot": id}
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t, append([]string{"--parallel", "2", "--ctx-size", "2048"}, tt.args...)...)
			wrong := 0
			for range 3 {
				for _, prompt := range prompts {
					for id, name := range ids {
						more := tt.more(s, id)
						if more == nil {
							more = object{}
						}
						more["messages"] = []object{{"role": "user", "content": prompt}}
						if chat(t, s, more) != ref.Chat(files[name], prompt, 16).Text {
							wrong++
						}
					}
				}
			}
			t.Logf("%d of 18 wrong", wrong)
			if (wrong > 0) != tt.wrong {
				t.Errorf("%d of 18 answers are wrong", wrong)
			}
		})
	}
}
