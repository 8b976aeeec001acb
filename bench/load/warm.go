package load

import (
	"context"
	"fmt"
	"math/rand/v2"
)

// Warmup says how a server is warmed up before anything is timed. On a GPU the
// first use of each batch size compiles shaders, which takes seconds.
type Warmup struct {
	// Sparse leaves most batch sizes above 16 out.
	Sparse bool
	Chars  int // about how long the prompts of the timed requests are
}

const (
	warmTokens = 8 // of each answer: enough for the requests of a batch to meet
	warmTries  = 3 // of a batch size that did not reach every worker
)

// Run uses each batch size up to the server's slots on every worker, with an
// adapter and, at powers of two, with the base, then prompts as long as the
// timed ones. It blocks, and returns how often a worker was not reached with
// some batch size.
func (w Warmup) Run(ctx context.Context, s *Server, adapters int) (missed int, err error) {
	identities := make([]int, 0, s.Workers)
	for i := range min(s.Workers, adapters) {
		identities = append(identities, i)
	}
	if len(identities) < s.Workers {
		identities = append(identities, Base)
	}
	rng := rand.New(rand.NewPCG(7, 7))
	for _, size := range w.sizes(s.Slots) {
		n, err := warmBatch(ctx, s, rng, identities, size)
		if err != nil {
			return missed, err
		}
		missed += n
	}
	// The base runs a part of what an adapter does: few sizes will do.
	for size := 1; size <= s.Slots; size *= 2 {
		if _, err := warmBatch(ctx, s, rng, []int{Base}, size); err != nil {
			return missed, err
		}
	}
	return missed, w.prompts(ctx, s, rng, identities)
}

// sizes returns the batch sizes to use.
func (w Warmup) sizes(slots int) []int {
	var sizes []int
	for k := 1; k <= slots; k++ {
		if !w.Sparse || k <= 16 || k%8 == 0 || k == slots {
			sizes = append(sizes, k)
		}
	}
	return sizes
}

// warmBatch sends size requests for each identity at once, so that as many
// workers as there are identities have a batch of that size. It tries again
// when the gateway used fewer, and returns how many it never reached.
func warmBatch(ctx context.Context, s *Server, rng *rand.Rand, identities []int, size int) (missed int, err error) {
	reached := map[string]int{} // requests in one batch, by worker
	for range warmTries {
		var requests []Request
		for _, identity := range identities {
			for range size {
				requests = append(requests, Request{Adapter: identity, Messages: message(Prompt(rng, 60)), MaxTokens: warmTokens})
			}
		}
		now := map[string]int{}
		for _, r := range all(ctx, s, requests) {
			if r.Err != nil {
				return 0, fmt.Errorf("warm-up: %w", r.Err)
			}
			now[r.Worker]++
		}
		for worker, n := range now {
			reached[worker] = max(reached[worker], n)
		}
		missed = len(identities)
		for _, n := range reached {
			if n >= size {
				missed--
			}
		}
		if missed <= 0 {
			return 0, nil
		}
	}
	return missed, nil
}

// prompts fills every slot of every worker with a prompt of full length.
func (w Warmup) prompts(ctx context.Context, s *Server, rng *rand.Rand, identities []int) error {
	for _, size := range []int{1, s.Slots} {
		var requests []Request
		for _, identity := range identities {
			for range size {
				requests = append(requests, Request{Adapter: identity, Messages: message(Prompt(rng, w.Chars)), MaxTokens: 2})
			}
		}
		for _, r := range all(ctx, s, requests) {
			if r.Err != nil {
				return fmt.Errorf("warm-up: %w", r.Err)
			}
		}
	}
	return nil
}

// all runs the requests at once.
func all(ctx context.Context, s *Server, requests []Request) []Result {
	sends := make([]Send, len(requests))
	for i, r := range requests {
		sends[i] = Send{s, r}
	}
	return AtOnce(ctx, sends)
}

func message(text string) []Message { return []Message{{Role: "user", Content: text}} }
