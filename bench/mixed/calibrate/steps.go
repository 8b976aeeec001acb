package calibrate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/loragate/loragate/bench/load"
)

// bench is one running server and what its slots are known to hold.
type bench struct {
	*calibrator
	server *load.Server
	mode   Mode
	room   room
	words  []int       // tokens of a text, to make prompts of any length from
	held   map[int]int // tokens by slot; a slot that is not there holds something else
}

const (
	// shortPrompt is more tokens than the prompts of timed steps have.
	shortPrompt = 128
	// warmTokens are generated before a number of requests is timed: its first
	// use compiles shaders or records CUDA graphs.
	warmTokens = 8
	// alternating is the most requests at once on two adapters: they run for
	// tens of seconds and teach nothing new.
	alternating = 8
)

// steps measures batches of one adapter in every layout and beside slots that
// hold more and more, then batches of the base and of two adapters.
func (b *bench) steps(ctx context.Context) error {
	for _, idle := range b.opts.Idle {
		if b.mode == Split {
			if err := b.layout(ctx, false, idle); err != nil {
				return err
			}
		}
		if err := b.layout(ctx, true, idle); err != nil {
			return err
		}
	}
	for _, n := range b.opts.Batches {
		if err := b.step(ctx, Step{Adapters: 0, Requests: n}, b.opts.Rounds); err != nil {
			return err
		}
		if n < 2 || n > alternating || len(b.opts.Setup.Adapters) < 2 {
			continue
		}
		if err := b.step(ctx, Step{Adapters: 2, Requests: n}, 1); err != nil {
			return err
		}
	}
	return nil
}

// layout measures all batches beside idle slots that hold so many tokens. The
// largest comes first: the slots that a smaller one leaves are filled then, and
// each is filled once.
func (b *bench) layout(ctx context.Context, scatter bool, idle int) error {
	sizes := slices.Sorted(slices.Values(b.opts.Batches))
	for _, n := range slices.Backward(sizes) {
		s := Step{Scattered: scatter, Adapters: 1, Requests: n, IdleTokens: idle}
		others := b.opts.Slots - n
		if idle > 0 && others == 0 {
			continue // there is no idle slot
		}
		if why := b.room.lacks(n, shortPrompt+b.opts.Tokens, others, idle+1); why != "" {
			b.skip("%s, %d requests beside slots of %d tokens: %s", b.mode, n, idle, why)
			continue
		}
		if err := b.step(ctx, s, b.opts.Rounds); err != nil {
			return err
		}
	}
	return nil
}

// step measures a step of which the numbers of requests, adapters and idle
// tokens are given, and adds it to the result.
func (b *bench) step(ctx context.Context, s Step, rounds int) error {
	s.Mode = b.mode
	busy := adjacent(s.Requests)
	if s.Scattered {
		busy = scattered(b.opts.Slots, s.Requests)
	}
	s.Passes = passes(b.mode, busy)
	for slot := range b.opts.Slots {
		if slices.Contains(busy, slot) {
			delete(b.held, slot)
		} else if err := b.hold(ctx, slot, s.IdleTokens); err != nil {
			return err
		}
	}
	if _, _, err := b.generate(ctx, busy, s.Adapters, warmTokens); err != nil {
		return err
	}
	var steps, rates []float64
	for range rounds {
		results, wall, err := b.generate(ctx, busy, s.Adapters, b.opts.Tokens)
		if err != nil {
			return err
		}
		step, err := stepTime(results, results)
		if err != nil {
			return err
		}
		steps = append(steps, step)
		rates = append(rates, load.Summarize(results, wall).TokensPerSecond)
	}
	s.MS, s.TokensPerSecond = load.Median(steps), load.Median(rates)
	b.result.Steps = append(b.result.Steps, s)
	return nil
}

// hold has a slot hold so many tokens.
func (b *bench) hold(ctx context.Context, slot, tokens int) error {
	if now, known := b.held[slot]; known && now == tokens {
		return nil
	}
	delete(b.held, slot)
	if err := b.fill(ctx, slot, tokens); err != nil {
		return fmt.Errorf("slot %d cannot be filled with %d tokens: %w", slot, tokens, err)
	}
	b.held[slot] = tokens
	return nil
}

// fill empties a slot or computes a prompt in it.
func (b *bench) fill(ctx context.Context, slot, tokens int) error {
	if tokens == 0 {
		return b.server.Call(ctx, http.MethodPost, fmt.Sprintf("/slots/%d?action=erase", slot), nil, nil)
	}
	_, err := b.complete(ctx, slot, tokens, true)
	return err
}

// generate runs one request in each of the slots at once, spread over so many
// adapters, or on the base for 0.
func (b *bench) generate(ctx context.Context, slots []int, adapters, tokens int) ([]load.Result, time.Duration, error) {
	begun := time.Now()
	results := load.AtOnce(ctx, sends(b.server, slots, adapters, tokens))
	wall := time.Since(begun)
	if err := load.Summarize(results, wall).FirstErr; err != nil {
		return nil, 0, fmt.Errorf("%d requests at once: %w", len(slots), err)
	}
	return results, wall, nil
}

// sends returns the requests of generate.
func sends(s *load.Server, slots []int, adapters, tokens int) []load.Send {
	var all []load.Send
	for i, slot := range slots {
		adapter := load.Base
		if adapters > 0 {
			adapter = i % adapters
		}
		all = append(all, load.Send{Server: s, Request: request(adapter, slot, tokens)})
	}
	return all
}

// request is a short prompt, computed anew in its slot.
func request(adapter, slot, tokens int) load.Request {
	return load.Request{
		Adapter: adapter, MaxTokens: tokens, NoCache: true, Fields: map[string]any{"id_slot": slot},
		Messages: []load.Message{{Role: "user", Content: fmt.Sprintf("This is note %d. What is it about?", slot)}},
	}
}

// stepTime returns the median of the time from token to token of some of the
// answers in ms, each answer's mean while all were being generated, or over all
// of it if they never were. A mean, because tokens may reach a busy client in
// bursts.
func stepTime(all, some []load.Result) (float64, error) {
	from, until := time.Duration(0), all[0].Latency
	for _, r := range all {
		from, until = max(from, r.TTFT), min(until, r.Latency)
	}
	steps := stepTimesIn(some, from, until)
	if len(steps) == 0 {
		steps = stepTimesIn(some, 0, math.MaxInt64)
	}
	if len(steps) == 0 {
		return 0, errors.New("the answers are too short to time a step")
	}
	return load.Median(steps), nil
}

// stepTimesIn returns the mean time from token to token of each answer in a
// span of time, of those that had enough tokens in it.
func stepTimesIn(results []load.Result, from, until time.Duration) []float64 {
	const least = 4 // tokens, or the mean says little
	var steps []float64
	for _, r := range results {
		var in []time.Duration
		for _, at := range r.Arrivals {
			if at >= from && at <= until {
				in = append(in, at)
			}
		}
		if len(in) >= least {
			steps = append(steps, load.Milliseconds(in[len(in)-1]-in[0])/float64(len(in)-1))
		}
	}
	return steps
}
