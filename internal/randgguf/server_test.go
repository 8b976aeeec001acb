package randgguf_test

import (
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/llamatest"
	"github.com/loragate/loragate/internal/randgguf"
)

const prompt = "Please tell me in a few words: what is rain?"

type object = map[string]any

// start runs llama-server on a base with three adapters.
func start(t *testing.T, shape randgguf.Shape, args ...string) *llamatest.Server {
	t.Helper()
	dir := t.TempDir()
	base := filepath.Join(dir, "base.gguf")
	if err := randgguf.WriteBase(base, shape, 1); err != nil {
		t.Fatal(err)
	}
	var adapters []string
	for i := range 3 {
		path := filepath.Join(dir, fmt.Sprintf("adapter-%d.gguf", i))
		if err := randgguf.WriteAdapter(path, shape, 8, 16, uint64(i)); err != nil {
			t.Fatal(err)
		}
		adapters = append(adapters, path)
	}
	return llamatest.StartPlain(t, append([]string{"--model", base, "--lora", strings.Join(adapters, ","),
		"--lora-init-without-apply",
		"--cache-ram", "0", "--parallel", "1", "--ctx-size", "1024"}, args...)...)
}

// completion is what /completion answers.
type completion struct {
	Content       string
	Tokens        []int
	Probabilities []struct{ LogProb float64 } `json:"completion_probabilities"`
}

// complete asks for 50 greedy tokens under an adapter, or under the base for -1.
func complete(t *testing.T, s *llamatest.Server, adapter int, more object) completion {
	t.Helper()
	lora := []object{{"id": 0, "scale": 0}}
	if adapter >= 0 {
		lora = []object{{"id": adapter, "scale": 1}}
	}
	body := object{"prompt": prompt, "n_predict": 50, "temperature": 0, "n_probs": 1,
		"cache_prompt": false, "return_tokens": true, "lora": lora}
	for k, v := range more {
		body[k] = v
	}
	var c completion
	s.Must(t, http.MethodPost, "/completion", body, &c)
	return c
}

func TestAdaptersAnswerDifferently(t *testing.T) {
	for _, shape := range []randgguf.Shape{randgguf.Tiny, randgguf.GemmaTiny} {
		t.Run(shape.Name, func(t *testing.T) { adaptersAnswerDifferently(t, start(t, shape)) })
	}
}

func adaptersAnswerDifferently(t *testing.T, s *llamatest.Server) {
	t.Helper()
	seen := map[string]int{}
	for adapter := -1; adapter < 3; adapter++ {
		c := complete(t, s, adapter, object{"ignore_eos": true})
		t.Logf("adapter %d: %q", adapter, c.Content)
		if len(c.Tokens) != 50 || len(c.Probabilities) != 50 {
			t.Errorf("adapter %d: %d tokens, %d probabilities, want 50", adapter, len(c.Tokens), len(c.Probabilities))
		}
		for i, p := range c.Probabilities {
			// A NaN is no JSON number: llama-server would send null, which is read as 0.
			if p.LogProb >= 0 || p.LogProb < -20 || math.IsNaN(p.LogProb) {
				t.Errorf("adapter %d: token %d has log-probability %v", adapter, i, p.LogProb)
			}
		}
		if other, taken := seen[c.Content]; taken {
			t.Errorf("adapters %d and %d answer the same", other, adapter)
		}
		seen[c.Content] = adapter
		if again := complete(t, s, adapter, object{"ignore_eos": true}); again.Content != c.Content {
			t.Errorf("adapter %d answers %q, then %q", adapter, c.Content, again.Content)
		}
	}
}

// TestAnswersGoOnAndAreWords tests what the package's comment says of answers.
func TestAnswersGoOnAndAreWords(t *testing.T) {
	for _, shape := range []randgguf.Shape{randgguf.Tiny, randgguf.GemmaTiny} {
		t.Run(shape.Name, func(t *testing.T) { answersGoOnAndAreWords(t, start(t, shape)) })
	}
}

func answersGoOnAndAreWords(t *testing.T, s *llamatest.Server) {
	t.Helper()
	for adapter := -1; adapter < 3; adapter++ {
		c := complete(t, s, adapter, object{"temperature": 1, "seed": 1, "n_predict": 200})
		if len(c.Tokens) != 200 || strings.Count(c.Content, " ") != 200 ||
			strings.Trim(c.Content, " abcdefghijklmnopqrstuvwxyz") != "" {
			t.Errorf("adapter %d: %d tokens in %q", adapter, len(c.Tokens), c.Content)
		}
		var again struct{ Tokens []int }
		s.Must(t, http.MethodPost, "/tokenize", object{"content": c.Content, "add_special": false}, &again)
		if fmt.Sprint(again.Tokens) != fmt.Sprint(c.Tokens) {
			t.Errorf("adapter %d: the answer's text is tokenised to %v, not %v", adapter, again.Tokens, c.Tokens)
		}
	}
}

func TestChat(t *testing.T) {
	s := start(t, randgguf.Tiny)
	var reply struct {
		Choices []struct {
			Message      struct{ Content string }
			FinishReason string `json:"finish_reason"`
		}
		Usage struct {
			Prompt     int `json:"prompt_tokens"`
			Completion int `json:"completion_tokens"`
		}
	}
	s.Must(t, http.MethodPost, "/v1/chat/completions", object{
		"messages":   []object{{"role": "system", "content": "é"}, {"role": "user", "content": " a"}},
		"max_tokens": 20, "temperature": 0,
	}, &reply)
	if len(reply.Choices) != 1 || len(strings.Fields(reply.Choices[0].Message.Content)) != 20 ||
		reply.Choices[0].FinishReason != "length" || reply.Usage.Completion != 20 {
		t.Errorf("got %+v", reply)
	}
	// bos, system, two bytes, end, user, the word " a", end, assistant
	if reply.Usage.Prompt != 9 {
		t.Errorf("the prompt has %d tokens, want 9", reply.Usage.Prompt)
	}
}

func TestGemmaTinyHasASlidingWindow(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	s := start(t, randgguf.GemmaTiny, "--log-file", log, "--verbosity", "5")
	complete(t, s, 0, nil)
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`n_swa += 64\n`, `layer +4 .*is_swa = 1`, `layer +5 .*is_swa = 0`,
		`created context checkpoint`} {
		if !regexp.MustCompile(want).Match(text) {
			t.Errorf("llama-server does not say %q", want)
		}
	}
}
