package calibrate

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/loragate/loragate/bench/load"
)

// learnWords has the server cut a text into tokens.
func (b *bench) learnWords(ctx context.Context) error {
	var words struct{ Tokens []int }
	text := strings.Repeat("Please read the following notes with care before you answer; they are long. ", 20)
	if err := b.server.Call(ctx, http.MethodPost, "/tokenize", map[string]any{"content": text}, &words); err != nil {
		return err
	}
	if len(words.Tokens) == 0 {
		return fmt.Errorf("the server finds no token in a text")
	}
	b.words = words.Tokens
	return nil
}

// timings is what llama-server says of a prompt.
type timings struct {
	Computed int     `json:"prompt_n"`
	MS       float64 `json:"prompt_ms"`
}

// complete has a slot compute a prompt of so many tokens under the first
// adapter, and one token after it.
func (b *bench) complete(ctx context.Context, slot, tokens int, cache bool) (timings, error) {
	var prompt []int
	for len(prompt) < tokens {
		prompt = append(prompt, b.words...)
	}
	var reply struct{ Timings timings }
	err := b.server.Call(ctx, http.MethodPost, "/completion", map[string]any{
		"prompt": prompt[:tokens], "n_predict": 1, "temperature": 0, "cache_prompt": cache, "id_slot": slot,
		"lora": []map[string]any{{"id": 0, "scale": 1}},
	}, &reply)
	return reply.Timings, err
}

// prefills measures prompts of several lengths, computed from nothing while the
// other slots are empty.
func (b *bench) prefills(ctx context.Context) error {
	for slot := range b.opts.Slots {
		if err := b.hold(ctx, slot, 0); err != nil {
			return err
		}
	}
	delete(b.held, 0)
	for _, length := range b.opts.Prompts {
		if length+2 > b.room.slot {
			b.skip("%s, a prompt of %d tokens: a slot has %d tokens", b.mode, length, b.room.slot)
			continue
		}
		var times, rates []float64
		for round := range b.opts.Rounds + 1 {
			t, err := b.complete(ctx, 0, length, false)
			if err != nil {
				return fmt.Errorf("a prompt of %d tokens: %w", length, err)
			}
			if round > 0 { // the first of a length warms up
				times = append(times, t.MS)
				rates = append(rates, float64(t.Computed)/t.MS*1000)
			}
		}
		b.result.Prefills = append(b.result.Prefills,
			Prefill{Mode: b.mode, Tokens: length, MS: load.Median(times), TokensPerSecond: load.Median(rates)})
	}
	return nil
}

// changes measures the parts of a change of adapter: naming the one in force,
// erasing a slot, and the first token with a change and without.
func (b *bench) changes(ctx context.Context) error {
	const times = 24
	var apply, erase, same, changed []float64
	for i := range times {
		adapter := 0
		if len(b.opts.Setup.Adapters) > 1 {
			adapter = i / 2 % 2 // each twice: the second time nothing changes
		}
		begun := time.Now()
		if err := b.server.Call(ctx, http.MethodPost, "/lora-adapters", []map[string]any{{"id": adapter, "scale": 1}},
			nil); err != nil {
			return err
		}
		apply = append(apply, load.Milliseconds(time.Since(begun)))
		begun = time.Now()
		if err := b.fill(ctx, 0, 0); err != nil {
			return err
		}
		erase = append(erase, load.Milliseconds(time.Since(begun)))
		r := b.server.Chat(ctx, request(adapter, 0, 4))
		switch first := load.Milliseconds(r.TTFT); {
		case r.Err != nil:
			return r.Err
		case i < 2: // the first use of each way
		case i%2 == 0 && len(b.opts.Setup.Adapters) > 1:
			changed = append(changed, first)
		default:
			same = append(same, first)
		}
	}
	b.result.Calls = append(b.result.Calls, Call{b.mode, Apply, load.Median(apply)},
		Call{b.mode, Erase, load.Median(erase)})
	b.result.FirstTokens = append(b.result.FirstTokens, FirstToken{b.mode, false, load.Median(same)})
	if len(changed) == 0 {
		b.skip("%s, a change of adapter: there is only one", b.mode)
		return nil
	}
	b.result.FirstTokens = append(b.result.FirstTokens, FirstToken{b.mode, true, load.Median(changed)})
	return nil
}
