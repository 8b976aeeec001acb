package llamatest

import (
	"math"
	"strings"
	"sync"
	"testing"
)

// Reference tells what each adapter answers on its own: it asks a llama-server
// that was started with that adapter only and computes every prompt anew.
type Reference struct {
	t       testing.TB
	mu      sync.Mutex
	servers map[string]*Server // by adapter file; "" is the base
	answers map[string]Answer  // by adapter file and prompt
	ids     map[string]int     // by adapter file, if one server has them all
}

// NewReference returns a reference whose servers end with the test, which is skipped with
// -short as by Binary.
func NewReference(t testing.TB) *Reference {
	t.Helper()
	Binary(t)
	return &Reference{t: t, servers: map[string]*Server{}, answers: map[string]Answer{}}
}

// NewCrowd returns a reference for more adapters than there can be servers: one
// has them all loaded and is asked under one at a time.
func NewCrowd(t testing.TB, files []string) *Reference {
	r := NewReference(t)
	r.ids = map[string]int{}
	s := Start(t, files, "--parallel", "1", "--ctx-size", "1024", "--cache-ram", "0")
	for id, file := range files {
		r.ids[file], r.servers[file] = id, s
	}
	return r
}

// Answer is a greedy answer with what is needed to judge one that differs.
type Answer struct {
	Text   string
	Tokens []AnswerToken
}

// AnswerToken is one token with the gap between the log-probabilities of the
// two likeliest tokens at its place.
type AnswerToken struct {
	Text string
	Gap  float64
}

// Chat returns the answer to one user message under the adapter in file, or
// under the plain base for "".
func (r *Reference) Chat(file, message string, maxTokens int) Answer {
	body := map[string]any{
		"messages":   []map[string]string{{"role": "user", "content": message}},
		"max_tokens": maxTokens, "temperature": 0, "cache_prompt": false, "logprobs": true, "top_logprobs": 2,
	}
	return r.ask(file, "/v1/chat/completions", message, body)
}

// Complete is Chat for a plain prompt.
func (r *Reference) Complete(file, prompt string, maxTokens int) Answer {
	body := map[string]any{
		"prompt": prompt, "max_tokens": maxTokens, "temperature": 0, "cache_prompt": false, "logprobs": 2,
	}
	return r.ask(file, "/v1/completions", prompt, body)
}

func (r *Reference) ask(file, path, prompt string, body map[string]any) Answer {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	key := file + "\x00" + path + "\x00" + prompt
	if a, ok := r.answers[key]; ok {
		return a
	}
	s := r.servers[file]
	if s == nil {
		var adapters []string
		if file != "" {
			adapters = []string{file}
		}
		s = Start(r.t, adapters, "--parallel", "1", "--ctx-size", "1024", "--cache-ram", "0")
		r.servers[file] = s
	}
	if id, crowd := r.ids[file]; crowd {
		body["lora"] = []map[string]any{{"id": id, "scale": 1}}
	}
	var reply struct {
		Choices []struct {
			Text    string
			Message struct{ Content string }
			// Both endpoints answer log-probabilities in the chat API's form.
			Logprobs struct {
				Content []struct {
					Token       string
					TopLogprobs []struct{ Logprob float64 } `json:"top_logprobs"`
				}
			}
		}
	}
	s.Must(r.t, "POST", path, body, &reply)
	if len(reply.Choices) != 1 {
		r.t.Fatalf("%d choices", len(reply.Choices))
	}
	c := reply.Choices[0]
	a := Answer{Text: c.Text + c.Message.Content}
	for _, tok := range c.Logprobs.Content {
		at := AnswerToken{Text: tok.Token, Gap: 1}
		if len(tok.TopLogprobs) > 1 {
			at.Gap = tok.TopLogprobs[0].Logprob - tok.TopLogprobs[1].Logprob
		}
		a.Tokens = append(a.Tokens, at)
	}
	r.answers[key] = a
	return a
}

// NearTie is the gap of log-probabilities below which the rounding of another
// batch size may choose either token on a CPU. On GPUs it takes more (see
// docs/llama-server.md).
const NearTie = 0.05

// Judgement says how a greedy answer compares with the reference's.
type Judgement int

const (
	Equal    Judgement = iota
	Rounding           // it parts from the reference at a near tie
	Wrong
)

// Judge compares an answer from a batch with the reference's.
func (a Answer) Judge(got string) Judgement {
	if got == a.Text {
		return Equal
	}
	if a.Gap(got) < NearTie {
		return Rounding
	}
	return Wrong
}

// Gap returns how much likelier the reference's token is than the next best one
// where an answer that differs parts from it; +Inf if it does not part at one of
// its tokens.
func (a Answer) Gap(got string) float64 {
	for _, tok := range a.Tokens {
		rest, ok := strings.CutPrefix(got, tok.Text)
		if !ok {
			return tok.Gap
		}
		got = rest
	}
	return math.Inf(1)
}
