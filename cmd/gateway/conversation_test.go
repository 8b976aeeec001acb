package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/loragate/loragate/internal/llamatest"
)

// message is one of a chat.
type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// conversation is a chat whose answers are known. What its later turns quote are
// the known answers, so that its prompts are the same in every round.
type conversation struct {
	model string
	turns []turn
}

type turn struct {
	messages []message
	want     llamatest.Answer
}

// conversationTurns is how often each user speaks.
const conversationTurns = 4

// followUps are what users say after their first question.
var followUps = []string{"Why?", "Please give me an example.", "And what should I do next?",
	"Can you say that in fewer words?"}

// references are servers that have one adapter each, by its file.
type references map[string]*llamatest.Server

// server is the one for the adapter in file; "" is the base.
func (r references) server(t *testing.T, file string) *llamatest.Server {
	if r[file] == nil {
		var adapters []string
		if file != "" {
			adapters = []string{file}
		}
		r[file] = llamatest.Start(t, adapters, "--parallel", "1", "--ctx-size", "1024", "--cache-ram", "0")
	}
	return r[file]
}

// answer asks for a whole chat, computed anew.
func (r references) answer(t *testing.T, model string, messages []message) llamatest.Answer {
	t.Helper()
	body := map[string]any{
		"messages": messages, "max_tokens": answerTokens, "temperature": 0,
		"cache_prompt": false, "logprobs": true, "top_logprobs": 2,
	}
	var got struct {
		Choices []struct {
			Message  struct{ Content string }
			Logprobs struct {
				Content []struct {
					Token       string
					TopLogprobs []struct{ Logprob float64 } `json:"top_logprobs"`
				}
			}
		}
	}
	r.server(t, llamatest.Adapters()[model]).Must(t, http.MethodPost, chatPath, body, &got)
	if len(got.Choices) != 1 {
		t.Fatalf("%d choices", len(got.Choices))
	}
	a := llamatest.Answer{Text: got.Choices[0].Message.Content}
	for _, tok := range got.Choices[0].Logprobs.Content {
		at := llamatest.AnswerToken{Text: tok.Token, Gap: 1}
		if len(tok.TopLogprobs) > 1 {
			at.Gap = tok.TopLogprobs[0].Logprob - tok.TopLogprobs[1].Logprob
		}
		a.Tokens = append(a.Tokens, at)
	}
	return a
}

// conversations returns n of them over the models in turn. Those of several
// models begin alike: what must not be shared.
func conversations(t *testing.T, n int, models []string) []conversation {
	refs := references{}
	list := make([]conversation, n)
	for i := range list {
		c := conversation{model: models[i%len(models)]}
		said := []message{{"user", sharedPrefixes[i%len(sharedPrefixes)] + sharedQuestions[i/2%len(sharedQuestions)]}}
		for j := range conversationTurns {
			want := refs.answer(t, c.model, said)
			c.turns = append(c.turns, turn{messages: append([]message(nil), said...), want: want})
			said = append(said, message{"assistant", want.Text}, message{"user", followUps[(i+j)%len(followUps)]})
		}
		list[i] = c
	}
	return list
}

// talked is what the gateway answered to one turn.
type talked struct {
	text                       string
	prompt, cached, completion int // tokens
}

func (g *gatewayProcess) talk(model string, messages []message) (talked, error) {
	body, err := json.Marshal(map[string]any{"model": model, "messages": messages, "temperature": 0,
		"max_tokens": answerTokens})
	if err != nil {
		return talked{}, err
	}
	status, text := g.post(chatPath, string(body))
	var got struct {
		answerText
		Usage struct {
			Prompt     int `json:"prompt_tokens"`
			Completion int `json:"completion_tokens"`
			Details    struct {
				Cached int `json:"cached_tokens"`
			} `json:"prompt_tokens_details"`
		}
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil || status != http.StatusOK || got.Model != model {
		return talked{}, fmt.Errorf("status %d, %w: %s", status, err, text)
	}
	return talked{got.text(), got.Usage.Prompt, got.Usage.Details.Cached, got.Usage.Completion}, nil
}

// TestConversationsComeBack holds more conversations than there are slots, over
// several adapters: each turn finds its slot taken by others, or its own KV, and
// must be answered the same either way.
func TestConversationsComeBack(t *testing.T) {
	t.Parallel()
	list := conversations(t, 8, []string{"coding", "demo", "legal", "chat", "medical"})
	for _, size := range []struct{ workers, slots int }{{1, 4}, {2, 3}} {
		t.Run(fmt.Sprintf("%d workers of %d slots", size.workers, size.slots), func(t *testing.T) {
			g := serve(t, realConfig(t, size.workers, size.slots))
			t.Run("one at a time", func(t *testing.T) {
				var c tally
				warm := 0
				for j := range conversationTurns {
					for i := range list {
						warm += g.judgeTurn(&c, list[i], j)
					}
				}
				c.report(t)
				t.Logf("%d tokens of prompts were warm", warm)
				if c.roundoff > 0 {
					t.Errorf("%d answers differ, one request at a time", c.roundoff)
				}
			})
			t.Run("all at once", func(t *testing.T) {
				var c tally
				each(len(list), len(list), func(i int) {
					for j := range conversationTurns {
						g.judgeTurn(&c, list[i], j)
					}
				})
				c.report(t)
			})
		})
	}
}

// judgeTurn asks for one turn and counts its answer; it returns the number of
// tokens that it found in its slot.
func (g *gatewayProcess) judgeTurn(c *tally, conv conversation, n int) (cached int) {
	tu := conv.turns[n]
	got, err := g.talk(conv.model, tu.messages)
	c.count(trial{model: conv.model, prompt: tu.messages[0].Content, chat: true}, tu.want, got.text, err)
	return got.cached
}

// report says how a round went.
func (c *tally) report(t *testing.T) {
	t.Helper()
	t.Logf("%d equal, %d parted at a near tie, %d wrong", c.equal, c.roundoff, len(c.wrong))
	for _, w := range c.wrong[:min(5, len(c.wrong))] {
		t.Errorf("wrong: %s", w)
	}
}

// TestConversationsStayWarm holds fewer conversations than there are slots: each
// turn must find everything that was computed for the one before it, its
// answer included.
func TestConversationsStayWarm(t *testing.T) {
	t.Parallel()
	list := conversations(t, 3, []string{"coding", "legal"})
	g := serve(t, realConfig(t, 1, 4))
	before := make([]talked, len(list))
	var c tally
	for j := range conversationTurns {
		for i, conv := range list {
			got, err := g.talk(conv.model, conv.turns[j].messages)
			c.count(trial{model: conv.model, chat: true}, conv.turns[j].want, got.text, err)
			// The last token of an answer is told and not computed on.
			held := max(0, before[i].prompt+before[i].completion-1)
			if got.cached != held {
				t.Errorf("conversation %d, turn %d: %d of %d tokens cached, its slot held %d", i, j, got.cached, got.prompt, held)
			}
			before[i] = got
		}
	}
	c.report(t)
}
