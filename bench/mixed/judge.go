package mixed

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/loragate/loragate/bench/load"
)

// judge tells wrong answers from right ones. Without Options.Check it does
// nothing.
type judge struct {
	opts    Options
	answers map[string]reference // by key
}

func newJudge(o Options) *judge { return &judge{opts: o, answers: map[string]reference{}} }

// reference is what an adapter answers alone, token by token.
type reference []token

// token is one token of a reference answer.
type token struct {
	Text    string  `json:"token"`
	Logprob float64 `json:"logprob"`
	Top     []struct {
		Text    string  `json:"token"`
		Logprob float64 `json:"logprob"`
	} `json:"top_logprobs"`
}

// verdict says how an answer compares with the reference.
type verdict int

const (
	equal    verdict = iota
	rounding         // it took the other of two tokens that are nearly as likely
	wrong
)

// judge compares a greedy answer with the reference.
func (r reference) judge(got string, nearTie float64) verdict {
	for _, t := range r {
		rest, ok := strings.CutPrefix(got, t.Text)
		if ok {
			got = rest
			continue
		}
		for _, other := range t.Top {
			if other.Text != "" && other.Text != t.Text && strings.HasPrefix(got, other.Text) &&
				t.Logprob-other.Logprob < nearTie {
				return rounding
			}
		}
		return wrong
	}
	if got != "" {
		return wrong
	}
	return equal
}

func key(r load.Request) string {
	return fmt.Sprintf("%d %d %s", r.Adapter, r.MaxTokens, r.Messages[0].Content)
}

// prepare asks, for each adapter in the trace, a server that holds only that
// one for the answers, one at a time and computed from nothing.
func (j *judge) prepare(ctx context.Context, trace []load.Request) error {
	if !j.opts.Check {
		return nil
	}
	byAdapter := map[int][]load.Request{}
	for _, r := range trace {
		if _, known := j.answers[key(r)]; !known {
			byAdapter[r.Adapter] = append(byAdapter[r.Adapter], r)
		}
	}
	for adapter, requests := range byAdapter {
		if err := j.ask(ctx, adapter, requests); err != nil {
			return fmt.Errorf("reference of %s: %w", j.opts.Setup.Adapters[adapter], err)
		}
	}
	return nil
}

func (j *judge) ask(ctx context.Context, adapter int, requests []load.Request) error {
	setup := j.opts.Setup
	setup.Adapters = setup.Adapters[adapter : adapter+1]
	s, err := load.StartRaw(ctx, setup, load.Raw{Slots: 1})
	if err != nil {
		return err
	}
	defer s.Stop()
	for _, r := range requests {
		var reply struct {
			Choices []struct {
				Logprobs struct{ Content []token }
			}
		}
		err := s.Call(ctx, http.MethodPost, "/v1/chat/completions", map[string]any{
			"messages": r.Messages, "max_tokens": r.MaxTokens, "temperature": 0, "ignore_eos": !r.UntilEnd,
			"cache_prompt": false, "logprobs": true, "top_logprobs": 5,
			"lora": []map[string]any{{"id": 0, "scale": 1}},
		}, &reply)
		if err != nil {
			return err
		}
		if len(reply.Choices) != 1 || len(reply.Choices[0].Logprobs.Content) == 0 {
			return fmt.Errorf("no log-probabilities in the answer")
		}
		j.answers[key(r)] = reply.Choices[0].Logprobs.Content
	}
	return nil
}

// count returns how many answers are wrong, how many differ by rounding, and
// the first wrong one in words.
func (j *judge) count(trace []load.Request, results []load.Result) (wrongs, roundings int, example string) {
	if !j.opts.Check {
		return 0, 0, ""
	}
	for i, r := range results {
		if r.Err != nil {
			continue
		}
		want := j.answers[key(trace[i])]
		switch want.judge(r.Text, j.opts.NearTie) {
		case wrong:
			wrongs++
			if example == "" {
				example = want.explain(r.Text)
			}
		case rounding:
			roundings++
		case equal:
		}
	}
	return wrongs, roundings, example
}

// explain tells where an answer parts from the reference.
func (r reference) explain(got string) string {
	text, rest := "", got
	for i, t := range r {
		after, ok := strings.CutPrefix(rest, t.Text)
		if !ok {
			return fmt.Sprintf("after %q, token %d, the adapter alone likes %v; the answer went on %q", text, i, t.Top, rest)
		}
		text, rest = text+t.Text, after
	}
	return fmt.Sprintf("after %q the adapter alone was done; the answer went on %q", text, rest)
}
