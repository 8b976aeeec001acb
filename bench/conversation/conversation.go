// Package conversation is the benchmark of talks of several turns: how much of
// a growing prompt is computed again, and how long the first token takes.
package conversation

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/loragate/loragate/bench/load"
	"github.com/loragate/loragate/bench/report"
)

// Options says what to run.
type Options struct {
	Setup          load.Setup
	Warmup         load.Warmup
	Conversations  int
	Turns          int // of each conversation
	Adapters       int // that the conversations are spread over, at most those of Setup
	Clients        int // requests at once
	Workers, Slots int // of the gateway; the bare server has as many slots in total
	Tokens         int // of each answer
	Rounds         int
	Seed           uint64
}

// contestant is one way to serve.
type contestant struct {
	name  string
	start func(context.Context, Options) (*load.Server, error)
	// noCache has every prompt computed from nothing, which is what is safe on
	// a bare server however it is used.
	noCache bool
}

func startRaw(ctx context.Context, o Options) (*load.Server, error) {
	return load.StartRaw(ctx, o.Setup, load.Raw{Slots: o.Workers * o.Slots})
}

func startGateway(ctx context.Context, o Options) (*load.Server, error) {
	return load.StartGateway(ctx, o.Setup, load.Gateway{Workers: o.Workers, Slots: o.Slots})
}

var contestants = []contestant{
	{"raw, no cache", startRaw, true},
	{"raw", startRaw, false},
	{"gateway", startGateway, false},
}

// turn is what came of one request.
type turn struct {
	number int // from 0
	load.Result
}

// Run runs all contestants in random order, round by round, and blocks for
// minutes. It calls save with the table so far after each round.
func Run(ctx context.Context, o Options, progress io.Writer, save func(*report.Table) error) error {
	o.Adapters = min(o.Adapters, len(o.Setup.Adapters))
	begun := time.Now()
	rng := rand.New(rand.NewPCG(o.Seed, 1))
	turns := map[string][]turn{}
	for round := range o.Rounds {
		for _, i := range rng.Perm(len(contestants)) {
			c := contestants[i]
			got, err := runOne(ctx, o, c, o.Seed+uint64(round))
			if err != nil {
				return fmt.Errorf("conversation: %s: %w", c.name, err)
			}
			turns[c.name] = append(turns[c.name], got...)
			fmt.Fprintf(progress, "%6.1fs  conversation round %d/%d %s: %d requests\n",
				time.Since(begun).Seconds(), round+1, o.Rounds, c.name, len(got))
		}
		if err := save(newTable(o, round+1, turns)); err != nil {
			return err
		}
	}
	return nil
}

func runOne(ctx context.Context, o Options, c contestant, seed uint64) ([]turn, error) {
	s, err := c.start(ctx, o)
	if err != nil {
		return nil, err
	}
	defer s.Stop()
	if _, err := o.Warmup.Run(ctx, s, len(o.Setup.Adapters)); err != nil {
		return nil, err
	}
	turns := talk(ctx, s, script(o, seed), o.Clients, c.noCache)
	return turns, ctx.Err()
}

// plan is one conversation: whom it is with and what the user will say.
type plan struct {
	adapter, tokens int
	says            []string
}

// script returns the conversations; equal seeds give equal ones. Neighbours are
// with different adapters.
func script(o Options, seed uint64) []plan {
	rng := rand.New(rand.NewPCG(seed, 2))
	plans := make([]plan, o.Conversations)
	for i := range plans {
		plans[i] = plan{adapter: i % o.Adapters, tokens: o.Tokens}
		for range o.Turns {
			plans[i].says = append(plans[i].says, load.Prompt(rng, o.Warmup.Chars))
		}
	}
	return plans
}

// talk holds all conversations with so many clients. All are at their first
// turn before any comes to its second, so that each finds that others have used
// the server since. It returns every turn, in no certain order.
func talk(ctx context.Context, s *load.Server, plans []plan, clients int, noCache bool) []turn {
	queue := make(chan *dialogue, len(plans))
	var left sync.WaitGroup
	for _, p := range plans {
		left.Add(1)
		queue <- &dialogue{plan: p}
	}
	var mu sync.Mutex
	var turns []turn
	var clientsDone sync.WaitGroup
	for range clients {
		clientsDone.Go(func() {
			for d := range queue {
				t := d.next(ctx, s, noCache)
				mu.Lock()
				turns = append(turns, t)
				mu.Unlock()
				if t.Err != nil || d.ended() {
					left.Done()
					continue
				}
				queue <- d
			}
		})
	}
	left.Wait()
	close(queue)
	clientsDone.Wait()
	return turns
}

// dialogue is a conversation under way; one client at a time has it.
type dialogue struct {
	plan
	messages []load.Message
}

func (d *dialogue) number() int { return len(d.messages) / 2 }

func (d *dialogue) ended() bool { return d.number() == len(d.says) }

// next says the user's next sentence and takes the answer in.
func (d *dialogue) next(ctx context.Context, s *load.Server, noCache bool) turn {
	t := turn{number: d.number()}
	d.messages = append(d.messages, load.Message{Role: "user", Content: d.says[t.number]})
	t.Result = s.Chat(ctx, load.Request{
		Adapter: d.adapter, Messages: d.messages, MaxTokens: d.tokens, UntilEnd: true, NoCache: noCache,
	})
	d.messages = append(d.messages, load.Message{Role: "assistant", Content: t.Text})
	return t
}

func newTable(o Options, rounds int, turns map[string][]turn) *report.Table {
	t := &report.Table{
		Name: "conversation",
		About: fmt.Sprintf("%d conversations of %d turns over %d adapters, %d clients; gateway with %d workers of %d slots, "+
			"one llama-server (raw) with as many in total; answers of at most %d tokens; %d rounds",
			o.Conversations, o.Turns, o.Adapters, o.Clients, o.Workers, o.Slots, o.Tokens, rounds),
		Labels: []string{"server", "turn"},
		Columns: []report.Column{
			{Key: "prompt", Unit: "tokens"}, {Key: "computed", Unit: "tokens"}, {Key: "computed_share"},
			{Key: "ttft_p50", Unit: "ms"}, {Key: "ttft_p99", Unit: "ms"}, {Key: "latency_p50", Unit: "ms"},
			{Key: "requests"}, {Key: "errors"},
		},
	}
	for _, c := range contestants {
		t.Add([]string{c.name, "all"}, values(turns[c.name], -1))
		for number := range o.Turns {
			t.Add([]string{c.name, strconv.Itoa(number + 1)}, values(turns[c.name], number))
		}
	}
	return t
}

// values sums up the turns with a number, all with -1. The counts of tokens are
// means of a request.
func values(turns []turn, number int) map[string]float64 {
	var computed, prompt, n, errs float64
	var ttft, latency []float64
	for _, t := range turns {
		if number >= 0 && t.number != number {
			continue
		}
		if t.Err != nil {
			errs++
			continue
		}
		n++
		computed += float64(t.Computed)
		prompt += float64(t.Computed + t.Cached)
		ttft = append(ttft, load.Milliseconds(t.TTFT))
		latency = append(latency, load.Milliseconds(t.Latency))
	}
	v := map[string]float64{"requests": n, "errors": errs}
	if n == 0 {
		return v
	}
	v["prompt"], v["computed"], v["computed_share"] = prompt/n, computed/n, computed/prompt
	v["ttft_p50"], v["ttft_p99"] = load.Percentile(ttft, 50), load.Percentile(ttft, 99)
	v["latency_p50"] = load.Percentile(latency, 50)
	return v
}
