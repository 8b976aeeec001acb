package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/loragate/loragate/internal/llamatest"
)

// TestRealWorkerKilled kills a real llama-server while it is idle, while it is
// loading and in the middle of a stream: the other worker's requests go on, the
// cut stream ends with the error event, and the worker comes back each time.
func TestRealWorkerKilled(t *testing.T) {
	t.Parallel()
	g := serve(t, realConfig(t, 2, 2))
	pids := g.workerPIDs(2)
	want := llamatest.NewReference(t).Chat(llamatest.Adapters()["coding"], sdkQuestion, answerTokens)

	t.Run("idle", func(t *testing.T) {
		syscall.Kill(pids[0], syscall.SIGKILL)
		g.answersWell(t, want)
		pids[0] = g.replacement(0, pids[0])
	})
	t.Run("loading", func(t *testing.T) {
		syscall.Kill(pids[0], syscall.SIGKILL)
		loading := g.nextChild(t, pids)
		syscall.Kill(loading, syscall.SIGKILL)
		g.answersWell(t, want)
		pids[0] = g.replacement(0, pids[0])
	})
	t.Run("in mid-stream", func(t *testing.T) {
		resp := g.open(t.Context(), chat("legal", "Tell me a long story.",
			`,"stream":true,"max_tokens":900,"ignore_eos":true`))
		defer resp.Body.Close()
		lines := bufio.NewReader(resp.Body)
		if _, err := lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		victim := int(resp.Header.Get("X-Worker")[0] - '0')
		var wg sync.WaitGroup
		wg.Go(func() { g.answersWell(t, want) })
		syscall.Kill(pids[victim], syscall.SIGKILL)
		rest, err := io.ReadAll(lines)
		if err != nil {
			t.Errorf("the cut stream broke: %v", err)
		}
		events := strings.Split(strings.TrimSpace(string(rest)), "\n\n")
		if last := events[len(events)-1]; !strings.Contains(last, `"code":"worker_died"`) {
			t.Errorf("the cut stream ends with %q", last)
		}
		wg.Wait()
		pids[victim] = g.replacement(victim, pids[victim])
		g.answersWell(t, want)
	})
}

// answersWell checks that a request gets the right answer now.
func (g *gatewayProcess) answersWell(t *testing.T, want llamatest.Answer) {
	t.Helper()
	tr := trial{model: "coding", prompt: sdkQuestion, chat: true}
	if got, err := tr.ask(g); err != nil || want.Judge(got) == llamatest.Wrong {
		t.Errorf("got %q, %v; want %q", got, err, want.Text)
	}
}

// nextChild waits for a llama-server below the gateway that is none of those
// known and returns its process: one that is still loading.
func (g *gatewayProcess) nextChild(t *testing.T, known []int) int {
	t.Helper()
	seen := map[int]bool{}
	for _, pid := range append(descendants(t, g.cmd.Process.Pid), known...) {
		seen[pid] = true
	}
	for {
		select {
		case <-g.exited:
			t.Fatal("the gateway ended")
		default:
		}
		for _, pid := range descendants(t, g.cmd.Process.Pid) {
			if !seen[pid] && isServer(pid) {
				return pid
			}
		}
	}
}

// TestRealGatewayKilled kills the gateway with real workers below it.
func TestRealGatewayKilled(t *testing.T) {
	t.Parallel()
	g := serve(t, realConfig(t, 2, 2))
	family := descendants(t, g.cmd.Process.Pid)
	if len(family) < 4 {
		t.Fatalf("only %d processes below the gateway", len(family))
	}
	g.cmd.Process.Kill()
	<-g.exited
	gone(t, family)
}

// TestChoices asks for several answers at once, whose slots llama-server picks,
// between requests for other adapters that share the prompt.
func TestChoices(t *testing.T) {
	t.Parallel()
	g := serve(t, realConfig(t, 1, 3))
	ref := llamatest.NewReference(t)
	for range 2 {
		for _, model := range []string{"coding", "legal", "demo"} {
			want := ref.Chat(llamatest.Adapters()[model], sdkQuestion, answerTokens)
			status, body := g.post(chatPath, chat(model, sdkQuestion, `,"n":3,"max_tokens":24`))
			var answer struct {
				Choices []struct{ Message struct{ Content string } }
			}
			if err := json.Unmarshal([]byte(body), &answer); err != nil || status != http.StatusOK || len(answer.Choices) != 3 {
				t.Fatalf("%s: status %d: %s", model, status, body)
			}
			for _, c := range answer.Choices {
				if want.Judge(c.Message.Content) == llamatest.Wrong {
					t.Errorf("%s, of three: %q, want %q", model, c.Message.Content, want.Text)
				}
			}
			for _, other := range []string{"coding", "legal", "demo"} {
				tr := trial{model: other, file: llamatest.Adapters()[other], prompt: sdkQuestion, chat: true}
				want := tr.want(ref)
				if got, err := tr.ask(g); err != nil || want.Judge(got) != llamatest.Equal {
					t.Errorf("%s after three of %s: %q, %v; want %q", other, model, got, err, want.Text)
				}
			}
		}
	}
	status, body := g.post(chatPath, chat("coding", sdkQuestion, `,"n":4`))
	if status != http.StatusBadRequest || !strings.Contains(body, `"type":"invalid_request_error"`) {
		t.Errorf("more choices than slots: %d %s", status, body)
	}
}

// TestClientsOwnAdapterIsOverruled asks for the base and names an adapter in
// llama-server's own terms.
func TestClientsOwnAdapterIsOverruled(t *testing.T) {
	t.Parallel()
	g := serve(t, realConfig(t, 1, 2))
	plain := g.ask("demo", sdkQuestion)
	for _, more := range []string{`,"lora":[{"id":0,"scale":1}]`, `,"id_slot":1`,
		`,"lora":[],"lora":[{"id":1,"scale":1}]`} {
		_, body := g.post(chatPath, chat("demo", sdkQuestion, `,"max_tokens":200`+more))
		var part answerText
		if err := json.Unmarshal([]byte(body), &part); err != nil || part.text() != plain.text {
			t.Errorf("%s: %s, %v; want %q", more, body, err, plain.text)
		}
	}
}
