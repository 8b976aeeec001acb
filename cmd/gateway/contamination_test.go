package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/loragate/loragate/internal/llamatest"
)

// trial is one greedy request whose answer is known.
type trial struct {
	model, file string // file "" is the base
	prompt      string
	chat        bool
	stream      bool
}

const answerTokens = 24

// sharedPrefixes begin many prompts: what llama-server reuses between requests,
// and between adapters if it is let.
var sharedPrefixes = []string{
	"Please read the following carefully before you answer, and keep the answer short. My question is this: ",
	"I have asked several people about this already and got several answers, so I would like to hear yours. ",
	"Hello! ",
}

var sharedQuestions = []string{
	"How do I sort a list?", "What is machine learning?", "What helps against a headache?",
	"What is a contract?", "How are you today?", "How do I boil an egg?",
}

// trials returns n requests in random order over all models and prompts.
func trials(rng *rand.Rand, n int) []trial {
	models := map[string]string{"demo": ""}
	for name, file := range llamatest.Adapters() {
		models[name] = file
	}
	names := make([]string, 0, len(models))
	for name := range models {
		names = append(names, name)
	}
	list := make([]trial, n)
	for i := range list {
		name := names[i%len(names)]
		list[i] = trial{
			model: name, file: models[name],
			prompt: sharedPrefixes[rng.IntN(len(sharedPrefixes))] + sharedQuestions[rng.IntN(len(sharedQuestions))],
			chat:   rng.IntN(2) == 0, stream: rng.IntN(2) == 0,
		}
	}
	rng.Shuffle(n, func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

func (tr trial) path() string {
	if tr.chat {
		return chatPath
	}
	return "/v1/completions"
}

func (tr trial) body() string {
	body := map[string]any{"model": tr.model, "temperature": 0, "max_tokens": answerTokens, "stream": tr.stream}
	if tr.chat {
		body["messages"] = []map[string]string{{"role": "user", "content": tr.prompt}}
	} else {
		body["prompt"] = tr.prompt
	}
	text, err := json.Marshal(body)
	if err != nil {
		panic(err) // strings and numbers always encode
	}
	return string(text)
}

// want returns what a fresh server with only the trial's adapter answers.
func (tr trial) want(ref *llamatest.Reference) llamatest.Answer {
	if tr.chat {
		return ref.Chat(tr.file, tr.prompt, answerTokens)
	}
	return ref.Complete(tr.file, tr.prompt, answerTokens)
}

// answerText is the part of an answer or chunk that holds its text.
type answerText struct {
	Model   string
	Choices []struct {
		Text    string
		Message struct{ Content string }
		Delta   struct{ Content string }
	}
	Error json.RawMessage
}

func (a answerText) text() (s string) {
	for _, c := range a.Choices {
		s += c.Text + c.Message.Content + c.Delta.Content
	}
	return s
}

// ask runs the trial through the gateway and returns the answer's text.
func (tr trial) ask(g *gatewayProcess) (string, error) {
	resp, err := http.Post(g.url+tr.path(), "application/json", strings.NewReader(tr.body()))
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %d", resp.StatusCode)
	}
	return tr.read(resp.Body)
}

// read returns the text of a 200's body.
func (tr trial) read(body io.Reader) (string, error) {
	text, err := io.ReadAll(body)
	if err != nil {
		return "", err
	}
	var all string
	for _, line := range bytes.Split(text, []byte("\n")) {
		line = bytes.TrimPrefix(line, []byte("data: "))
		if len(line) == 0 || string(line) == "[DONE]" {
			continue
		}
		var part answerText
		if err := json.Unmarshal(line, &part); err != nil {
			return "", fmt.Errorf("%w in %s", err, line)
		}
		if part.Error != nil || part.Model != tr.model {
			return "", fmt.Errorf("not an answer of %s: %s", tr.model, line)
		}
		all += part.text()
	}
	if tr.stream && !bytes.HasSuffix(text, []byte("data: [DONE]\n\n")) {
		return "", fmt.Errorf("a stream that ends with %.100q", text[max(0, len(text)-100):])
	}
	return all, nil
}

// tally counts how answers compare with the references'.
type tally struct {
	tie float64 // the gap that rounding may bridge; 0 is llamatest.NearTie

	mu              sync.Mutex
	equal, roundoff int
	wrong           []string
}

func (c *tally) count(tr trial, want llamatest.Answer, got string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil:
		c.wrong = append(c.wrong, fmt.Sprintf("%+v: %v", tr, err))
	case want.Judge(got) == llamatest.Equal:
		c.equal++
	case want.Judge(got) == llamatest.Rounding, want.Gap(got) < c.tie:
		c.roundoff++
	default:
		c.wrong = append(c.wrong, fmt.Sprintf("%+v, parted at a gap of %.3f\n got  %q\n want %q", tr, want.Gap(got), got,
			want.Text))
	}
}

// TestCancelsContaminateNothing breaks every third request off, before or in the
// middle of its answer, and compares the others: a slot must not change hands
// while llama-server still works on what was cancelled.
func TestCancelsContaminateNothing(t *testing.T) {
	t.Parallel()
	const requests = 300
	g := serve(t, realConfig(t, 2, 4))
	ref := llamatest.NewReference(t)
	rng := rand.New(rand.NewPCG(11, 1))
	list := trials(rng, requests)
	wants := make([]llamatest.Answer, requests)
	for i, tr := range list {
		wants[i] = tr.want(ref)
	}
	var c tally
	each(8, requests, func(i int) {
		if i%3 != 0 {
			got, err := list[i].ask(g)
			c.count(list[i], wants[i], got, err)
			return
		}
		ctx, cancel := context.WithCancel(t.Context())
		if i%2 == 0 {
			go cancel() // before it is sent, or while it waits or runs
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.url+list[i].path(), strings.NewReader(list[i].body()))
		if err != nil {
			t.Error(err)
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Read(make([]byte, 1))
			cancel()
			resp.Body.Close()
		}
		cancel()
	})
	t.Logf("%d equal, %d parted at a near tie, %d wrong", c.equal, c.roundoff, len(c.wrong))
	for _, w := range c.wrong[:min(5, len(c.wrong))] {
		t.Errorf("wrong: %s", w)
	}
}

// unifiedTie is how far rounding reaches with one KV buffer for all slots. A bare
// llama-server with one adapter and no other gave a prompt's third token, beside other
// requests, at gaps from 0.15 to -0.44 over 400 runs, which alone it gives at 0.31.
const unifiedTie = 0.75

// TestNoContamination is the gateway's first promise: whatever runs before or
// beside a request, its greedy answer is that of a fresh llama-server that holds
// only its adapter. One request at a time it is so to the letter; in batches
// rounding alone parts some answers at near ties (llamatest.NearTie), which are
// counted apart.
//
// With one KV buffer for all slots, where a slot's tokens lie in it changes rounding, too
// (docs/llama-server.md), so that near ties may part there one at a time as well, and at
// wider gaps: unifiedTie.
func TestNoContamination(t *testing.T) {
	t.Setenv(kvMode, "split")
	split := serve(t, realConfig(t, 2, 4))
	t.Setenv(kvMode, "unified")
	unified := serve(t, realConfig(t, 2, 4))
	ref := llamatest.NewReference(t)
	for _, round := range []struct {
		name              string
		g                 *gatewayProcess
		clients, requests int
	}{
		{"one at a time", split, 1, 210}, {"eight at once", split, 8, 700},
		{"unified, one at a time", unified, 1, 105}, {"unified, eight at once", unified, 8, 350},
	} {
		t.Run(round.name, func(t *testing.T) {
			list := trials(rand.New(rand.NewPCG(7, uint64(round.clients))), round.requests)
			wants := make([]llamatest.Answer, len(list))
			for i, tr := range list {
				wants[i] = tr.want(ref)
			}
			var c tally
			if round.g == unified {
				c.tie = unifiedTie
			}
			each(round.clients, len(list), func(i int) {
				got, err := list[i].ask(round.g)
				c.count(list[i], wants[i], got, err)
			})
			t.Logf("%d equal, %d parted at a near tie, %d wrong", c.equal, c.roundoff, len(c.wrong))
			for _, w := range c.wrong[:min(5, len(c.wrong))] {
				t.Errorf("wrong: %s", w)
			}
			if round.g == split && round.clients == 1 && c.roundoff > 0 {
				t.Errorf("%d answers differ, one request at a time", c.roundoff)
			}
			if c.roundoff*20 > round.requests {
				t.Errorf("%d of %d answers part at near ties: more than rounding explains", c.roundoff, round.requests)
			}
		})
	}
}
