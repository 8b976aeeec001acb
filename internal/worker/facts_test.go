package worker

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/llamatest"
)

// The facts of docs/llama-server.md that answers' correctness leans on, each
// tested on the real llama-server. A build that differs must not be trusted
// before the code that leans on the fact has been looked at.

// factServer is a raw llama-server with two adapters, id 0 and 1, and two slots.
func factServer(t *testing.T, more ...string) *llamatest.Server {
	t.Helper()
	files := llamatest.Adapters()
	args := append([]string{"--parallel", "2", "--ctx-size", "2048", "--cache-ram", "0"}, more...)
	return llamatest.Start(t, []string{files["coding"], files["legal"]}, args...)
}

type object = map[string]any

const factPrompt = "Please tell me in a few words: what is rain?"

// probed is what a request to /completion tells.
type probed struct {
	Content       string
	Slot          int `json:"id_slot"`
	Probabilities []struct {
		ID      int
		LogProb float64
	} `json:"completion_probabilities"`
	Timings struct {
		Cached int `json:"cache_n"`
	}
}

// complete asks for eight greedy tokens with more fields set.
func complete(t *testing.T, s *llamatest.Server, more object) probed {
	t.Helper()
	body := object{"prompt": factPrompt, "n_predict": 8, "temperature": 0, "n_probs": 1, "cache_prompt": false}
	for k, v := range more {
		body[k] = v
	}
	var p probed
	s.Must(t, http.MethodPost, "/completion", body, &p)
	return p
}

// same reports whether two answers were computed under the same adapters: the
// tokens are equal and their probabilities differ by rounding only.
func same(a, b probed) bool {
	if a.Content != b.Content || len(a.Probabilities) != len(b.Probabilities) {
		return false
	}
	for i := range a.Probabilities {
		if math.Abs(a.Probabilities[i].LogProb-b.Probabilities[i].LogProb) > 0.01 {
			return false
		}
	}
	return true
}

func lora(pairs ...float64) []object {
	list := []object{}
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, object{"id": int(pairs[i]), "scale": pairs[i+1]})
	}
	return list
}

func apply(t *testing.T, s *llamatest.Server, scales []object) {
	t.Helper()
	s.Must(t, http.MethodPost, "/lora-adapters", scales, nil)
}

// answers are the three that a request can get, each under an explicit lora.
func answers(t *testing.T, s *llamatest.Server) (base, zero, one probed) {
	t.Helper()
	base = complete(t, s, object{"lora": lora(0, 0)})
	zero = complete(t, s, object{"lora": lora(0, 1)})
	one = complete(t, s, object{"lora": lora(1, 1)})
	if same(base, zero) || same(base, one) || same(zero, one) {
		t.Fatal("the adapters make no difference, so nothing would be tested")
	}
	return base, zero, one
}

func TestFactsOfAdapters(t *testing.T) {
	s := factServer(t, "--lora-init-without-apply")
	base, zero, one := answers(t, s)
	sum := complete(t, s, object{"lora": lora(0, 1, 1, 1)})
	check := func(name string, got, want probed) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			if !same(got, want) {
				t.Errorf("got %q, want %q", got.Content, want.Content)
			}
		})
	}
	check("InitWithoutApplyStartsAtScaleOne", complete(t, s, nil), sum)
	apply(t, s, lora())
	check("ApplyOfNothingLeavesTheBase", complete(t, s, nil), base)
	apply(t, s, lora(0, 1))
	check("AppliedAdapterIsInForce", complete(t, s, nil), zero)
	check("EmptyLoraMeansWhatIsInForce", complete(t, s, object{"lora": lora()}), zero)
	check("RequestLoraOverridesWhatIsInForce", complete(t, s, object{"lora": lora(1, 1)}), one)
	check("ZeroScaleIsTheBase", complete(t, s, object{"lora": lora(0, 0)}), base)
	check("RequestLoraSetsOthersToZero", complete(t, s, object{"lora": lora(1, 0)}), base)
	check("UnknownRequestIDAnswersAsTheBase", complete(t, s, object{"lora": lora(7, 1)}), base)
	apply(t, s, lora(1, 1))
	check("ApplySetsUnnamedToZero", complete(t, s, nil), one)
	apply(t, s, lora(9, 1)) // succeeds
	check("ApplyOfUnknownIDSucceedsAndLeavesTheBase", complete(t, s, nil), base)
}

// TestFactEndpointsHonourLora asks each endpoint that the gateway forwards.
func TestFactEndpointsHonourLora(t *testing.T) {
	s := factServer(t)
	apply(t, s, lora())
	messages := []object{{"role": "user", "content": "What is rain?"}}
	for path, body := range map[string]object{
		"/v1/chat/completions": {"messages": messages},
		"/v1/completions":      {"prompt": factPrompt},
	} {
		var texts []string
		for _, scales := range [][]object{lora(0, 0), lora(0, 1), lora(1, 1)} {
			body["lora"], body["max_tokens"], body["temperature"] = scales, 24, 0
			var reply struct {
				Choices []struct {
					Text    string
					Message struct{ Content string }
				}
			}
			s.Must(t, http.MethodPost, path, body, &reply)
			texts = append(texts, reply.Choices[0].Text+reply.Choices[0].Message.Content)
		}
		if texts[0] == texts[1] || texts[1] == texts[2] || texts[0] == texts[2] {
			t.Errorf("%s: the request's lora makes no difference: %q", path, texts)
		}
	}
}

// TestFactAnotherAdapterClearsTheSlot runs two adapters and the base through one
// slot with a shared prompt: with --cache-ram 0 and an explicit lora llama-server
// itself computes the prompt anew.
func TestFactAnotherAdapterClearsTheSlot(t *testing.T) {
	s := factServer(t)
	base, zero, one := answers(t, s)
	want := map[int]probed{0: base, 1: zero, 2: one}
	scales := map[int][]object{0: lora(0, 0), 1: lora(0, 1), 2: lora(1, 1)}
	for _, who := range []int{1, 2, 0, 2, 1, 0, 1} {
		got := complete(t, s, object{"lora": scales[who], "id_slot": 0, "cache_prompt": true})
		if !same(got, want[who]) || got.Timings.Cached != 0 {
			t.Errorf("%d: %q from %d cached tokens, want %q from none", who, got.Content, got.Timings.Cached, want[who].Content)
		}
	}
	again := complete(t, s, object{"lora": scales[1], "id_slot": 0, "cache_prompt": true})
	if again.Timings.Cached == 0 {
		t.Error("the same adapter does not find its own KV cache either")
	}
}

// TestFactAppliedAdaptersShareKV shows the hole: what is in force does not count
// when a KV cache is reused. If this fails, llama-server has got better.
func TestFactAppliedAdaptersShareKV(t *testing.T) {
	s := factServer(t)
	_, zero, one := answers(t, s)
	apply(t, s, lora(0, 1))
	complete(t, s, object{"id_slot": 0, "cache_prompt": false})
	apply(t, s, lora(1, 1))
	got := complete(t, s, object{"id_slot": 0, "cache_prompt": true})
	if same(got, one) || got.Timings.Cached == 0 {
		t.Errorf("after a change of what is in force: %q from %d cached tokens; contaminated was expected (%q or between)",
			got.Content, got.Timings.Cached, zero.Content)
	}
}

func TestFactErase(t *testing.T) {
	s := factServer(t)
	ask := object{"lora": lora(0, 1), "id_slot": 1, "cache_prompt": true}
	complete(t, s, ask)
	if complete(t, s, ask).Timings.Cached == 0 {
		t.Fatal("nothing was cached, so nothing would be tested")
	}
	s.Must(t, http.MethodPost, "/slots/1?action=erase", nil, nil)
	if n := complete(t, s, ask).Timings.Cached; n != 0 {
		t.Errorf("%d tokens are cached after an erase", n)
	}
}

// TestFactSlotIDs: the named slot is used, one that does not exist is accepted.
func TestFactSlotIDs(t *testing.T) {
	s := factServer(t)
	for _, slot := range []int{1, 0, 1} {
		if got := complete(t, s, object{"id_slot": slot}); got.Slot != slot {
			t.Errorf("asked for slot %d, ran in %d", slot, got.Slot)
		}
	}
	if got := complete(t, s, object{"id_slot": 17}); got.Slot != 0 && got.Slot != 1 {
		t.Errorf("a slot that does not exist ran in %d", got.Slot)
	}
}

// stream starts an endless stream in slot 0 and returns when it has begun.
func stream(t *testing.T, s *llamatest.Server) (lines *bufio.Reader, leave func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	resp, err := s.Open(ctx, http.MethodPost, "/completion", object{
		"prompt": factPrompt, "n_predict": 900, "ignore_eos": true, "stream": true, "id_slot": 0, "lora": lora(0, 1),
	})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	leave = func() { cancel(); resp.Body.Close() }
	t.Cleanup(leave)
	lines = bufio.NewReader(resp.Body)
	if _, err := lines.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return lines, leave
}

// processing returns which slots are at work.
func processing(t *testing.T, s *llamatest.Server) []bool {
	t.Helper()
	var slots []struct {
		Processing bool `json:"is_processing"`
	}
	s.Must(t, http.MethodGet, "/slots", nil, &slots)
	busy := make([]bool, len(slots))
	for i := range slots {
		busy[i] = slots[i].Processing
	}
	return busy
}

// TestFactClientThatLeavesCancels also shows that /slots tells which slots are at
// work: a cut lease waits for that.
func TestFactClientThatLeavesCancels(t *testing.T) {
	s := factServer(t)
	_, leave := stream(t, s)
	if busy := processing(t, s); !busy[0] || busy[1] {
		t.Errorf("slots at work: %v, want the first", busy)
	}
	leave()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(time.Minute)
	for processing(t, s)[0] {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("still at work a minute after the client left")
		}
	}
}

// TestFactBusySlotIsWaitedFor: a request for a busy slot, and its erasing, wait
// rather than fail or go elsewhere.
func TestFactBusySlotIsWaitedFor(t *testing.T) {
	s := factServer(t)
	lines, _ := stream(t, s)
	type outcome struct {
		what string
		err  error
	}
	done := make(chan outcome, 2)
	send := func(what, path string, body any) {
		status, text, err := s.Do(http.MethodPost, path, body)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("status %d: %s", status, text)
		}
		done <- outcome{what, err}
	}
	go send("a request for the busy slot", "/completion",
		object{"prompt": "x", "n_predict": 1, "id_slot": 0, "lora": lora(0, 1)})
	go send("its erasing", "/slots/0?action=erase", nil)
	if _, err := io.Copy(io.Discard, lines); err != nil {
		t.Errorf("the running stream: %v", err)
	}
	for range 2 {
		if o := <-done; o.err != nil {
			t.Errorf("%s: %v", o.what, o.err)
		}
	}
}

// TestFactChoicesTakeOtherSlots: the second and further of n answers overwrite
// slots that nobody named.
func TestFactChoicesTakeOtherSlots(t *testing.T) {
	s := factServer(t)
	other := object{"prompt": "A wholly different prompt.", "id_slot": 1, "lora": lora(0, 1), "cache_prompt": true}
	complete(t, s, other)
	s.Must(t, http.MethodPost, "/v1/completions", object{
		"prompt": factPrompt, "n": 2, "max_tokens": 4, "id_slot": 0, "lora": lora(0, 1),
	}, nil)
	if n := complete(t, s, other).Timings.Cached; n > 1 { // the first token begins every prompt
		t.Errorf("%d tokens are still cached in the other slot", n)
	}
	for _, key := range []string{"n", "n_cmpl"} {
		status, text, err := s.Do(http.MethodPost, "/v1/completions", object{"prompt": "x", key: 3, "max_tokens": 1})
		if err != nil || status != http.StatusBadRequest {
			t.Errorf("%s above the slots: %d %s, %v", key, status, text, err)
		}
	}
}

// TestFactPromptsOfAnArrayStayInTheSlot: they need no worker of their own.
func TestFactPromptsOfAnArrayStayInTheSlot(t *testing.T) {
	s := factServer(t)
	other := object{"prompt": "A wholly different prompt.", "id_slot": 1, "lora": lora(0, 1), "cache_prompt": true}
	complete(t, s, other)
	s.Must(t, http.MethodPost, "/v1/completions", object{
		"prompt": []string{factPrompt, factPrompt + " And snow?"}, "max_tokens": 2, "id_slot": 0, "lora": lora(0, 1),
	}, nil)
	if complete(t, s, other).Timings.Cached < 2 {
		t.Error("the array's prompts have taken another slot")
	}
}

// TestFactBrokenAdapterEndsTheProcess: hence checks before a file gets there.
func TestFactBrokenAdapterEndsTheProcess(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken.gguf")
	if err := os.WriteFile(broken, []byte("GGUF and nothing else"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), llamatest.Binary(t), "--model", llamatest.Base(), "--lora", broken,
		"--host", filepath.Join(t.TempDir(), "s.sock"))
	if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("a broken adapter: %v, want exit status 1", err)
	}
}

// TestFactUsageIsOfOneAnswer: of several the usage is that of one, while a stream
// tells each and the counters have all.
func TestFactUsageIsOfOneAnswer(t *testing.T) {
	s := factServer(t, "--metrics")
	type usage struct {
		Completion int `json:"completion_tokens"`
	}
	var answer struct {
		Choices []any
		Usage   usage
	}
	body := object{"prompt": factPrompt, "n": 2, "max_tokens": 4, "ignore_eos": true, "lora": lora(0, 1)}
	s.Must(t, http.MethodPost, "/v1/completions", body, &answer)
	if len(answer.Choices) != 2 || answer.Usage.Completion != 4 {
		t.Errorf("n=2: %+v", answer)
	}
	if n := predicted(t, s); n != 8 {
		t.Errorf("n=2: the counter has %d tokens", n)
	}
	body = object{"prompt": []string{factPrompt, "And snow?"}, "max_tokens": 4, "ignore_eos": true, "id_slot": 0,
		"lora": lora(0, 1)}
	s.Must(t, http.MethodPost, "/v1/completions", body, &answer)
	if len(answer.Choices) != 2 || answer.Usage.Completion != 4 {
		t.Errorf("two prompts: %+v", answer)
	}
	body["stream"] = true
	_, text, err := s.Do(http.MethodPost, "/v1/completions", body)
	if n := strings.Count(string(text), `"predicted_n":4`); err != nil || n != 2 {
		t.Errorf("a stream tells %d times, %v: %s", n, err, text)
	}
}

// predicted is llama-server's counter of generated tokens.
func predicted(t *testing.T, s *llamatest.Server) (n int) {
	t.Helper()
	_, text, err := s.Do(http.MethodGet, "/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\nllamacpp:tokens_predicted_total ")
	if _, err := fmt.Sscan(rest, &n); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return n
}
