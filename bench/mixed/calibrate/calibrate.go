// Package calibrate measures what one llama-server costs, step by step, on the
// device at hand. A simulator of the gateway is fitted to its numbers.
package calibrate

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/loragate/loragate/bench/load"
	"github.com/loragate/loragate/bench/report"
)

// Options says what to measure.
type Options struct {
	Setup   load.Setup // with two adapters at least, or there are no swaps
	Warmup  load.Warmup
	Batches []int // numbers of requests at once
	Prompts []int // lengths of prompts in tokens
	Tokens  int   // of each generation
	Rounds  int   // of each measurement; the table has the medians
}

// Run measures everything and blocks for a minute or more. It calls save with
// the table so far after each kind of measurement, and tells progress of each.
func Run(ctx context.Context, o Options, progress io.Writer, save func(*report.Table) error) error {
	c := &calibration{opts: o, table: newTable(o)}
	begun := time.Now()
	for _, part := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"one server", c.oneServer},
		{"two servers", c.twoServers},
	} {
		err := part.run(ctx)
		if err := save(c.table); err != nil {
			return err
		}
		if err != nil {
			return fmt.Errorf("calibrate: %s: %w", part.name, err)
		}
		fmt.Fprintf(progress, "%6.1fs  calibrate %s: done\n", time.Since(begun).Seconds(), part.name)
	}
	return nil
}

func newTable(o Options) *report.Table {
	return &report.Table{
		Name: "calibrate",
		About: fmt.Sprintf("llama-server alone: step is the time from token to token of each of n requests at once, of %d tokens each; "+
			"prefill's n is the prompt's length in tokens; medians of %d rounds", o.Tokens, o.Rounds),
		Labels: []string{"measure", "n"},
		Columns: []report.Column{
			{Key: "step", Unit: "ms"}, {Key: "output", Unit: "tokens/s"},
			{Key: "prefill", Unit: "tokens/s"}, {Key: "time", Unit: "ms"},
			{Key: "ttft_p50", Unit: "ms"}, {Key: "ttft_max", Unit: "ms"},
		},
	}
}

// calibration is the state of one Run.
type calibration struct {
	opts  Options
	table *report.Table
}

// slots is how many requests run at once at most.
func (c *calibration) slots() int {
	most := 2 // swaps use two slots
	for _, b := range c.opts.Batches {
		most = max(most, b)
	}
	return most
}

// oneServer measures everything that one server is enough for.
func (c *calibration) oneServer(ctx context.Context) error {
	s, err := load.StartRaw(ctx, c.opts.Setup, c.slots())
	if err != nil {
		return err
	}
	defer s.Stop()
	if _, err := c.opts.Warmup.Run(ctx, s, len(c.opts.Setup.Adapters)); err != nil {
		return err
	}
	for _, measure := range []func(context.Context, *load.Server) error{c.steps, c.prefill, c.swaps} {
		if err := measure(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// steps measures batches of the base, of one adapter, and of two at once.
func (c *calibration) steps(ctx context.Context, s *load.Server) error {
	for _, m := range []struct {
		name     string
		adapters []int
	}{
		{"base", []int{load.Base}},
		{"adapter", []int{0}},
		{"two adapters", []int{0, 1}},
	} {
		if len(m.adapters) > len(c.opts.Setup.Adapters) {
			continue
		}
		for _, batch := range c.opts.Batches {
			if batch < len(m.adapters) {
				continue
			}
			if err := c.generate(ctx, m.name, batch, []*load.Server{s}, m.adapters); err != nil {
				return err
			}
		}
	}
	return nil
}

// twoServers measures two servers on the same device, each with its adapter.
func (c *calibration) twoServers(ctx context.Context) error {
	if len(c.opts.Setup.Adapters) < 2 {
		return nil
	}
	setup := c.opts.Setup
	// What the gateway does, too: spinning threads of two servers would slow
	// each other down. The user's own --threads comes later and wins.
	setup.Args = append([]string{"--threads", strconv.Itoa(max(1, runtime.GOMAXPROCS(0)/2))}, setup.Args...)
	var servers []*load.Server
	for range 2 {
		s, err := load.StartRaw(ctx, setup, (c.slots()+1)/2)
		if err != nil {
			return err
		}
		defer s.Stop()
		if _, err := c.opts.Warmup.Run(ctx, s, len(setup.Adapters)); err != nil {
			return err
		}
		servers = append(servers, s)
	}
	for _, batch := range c.opts.Batches {
		if batch < 2 {
			continue
		}
		if err := c.generate(ctx, "two servers", batch, servers, []int{0, 1}); err != nil {
			return err
		}
	}
	return nil
}

// generate runs batches of requests spread evenly over the adapters, adapter i
// on server i (the last for all others), and adds a row.
func (c *calibration) generate(ctx context.Context, name string, batch int, servers []*load.Server, adapters []int) error {
	var steps, rates, first, last []float64
	for round := range c.opts.Rounds {
		var sends []load.Send
		for i := range batch {
			a := i % len(adapters)
			sends = append(sends, load.Send{
				Server: servers[min(a, len(servers)-1)],
				Request: load.Request{
					Adapter:   adapters[a],
					Messages:  []load.Message{{Role: "user", Content: fmt.Sprintf("This is note %d of %d. What is it about?", i, round)}},
					MaxTokens: c.opts.Tokens, NoCache: true,
				},
			})
		}
		begun := time.Now()
		results := load.AtOnce(ctx, sends)
		s := load.Summarize(results, time.Since(begun))
		if s.FirstErr != nil {
			return fmt.Errorf("%s, %d at once: %w", name, batch, s.FirstErr)
		}
		steps = append(steps, load.Median(stepTimes(results)))
		rates = append(rates, s.TokensPerSecond)
		first = append(first, load.Percentile(s.TTFT, 50))
		last = append(last, load.Percentile(s.TTFT, 100))
	}
	v := map[string]float64{"output": load.Median(rates), "ttft_p50": load.Median(first), "ttft_max": load.Median(last)}
	if step := load.Median(steps); !math.IsNaN(step) { // not of answers of a few tokens
		v["step"] = step
	}
	c.table.Add([]string{name, strconv.Itoa(batch)}, v)
	return nil
}

// stepTimes returns, for each answer, the mean time from token to token in ms
// while all the answers were being generated, or over all of it if they never
// were. A mean, because tokens may reach a busy client in bursts.
func stepTimes(results []load.Result) []float64 {
	from, until := time.Duration(0), results[0].Latency
	for _, r := range results {
		from, until = max(from, r.TTFT), min(until, r.Latency)
	}
	if steps := stepTimesIn(results, from, until); len(steps) > 0 {
		return steps
	}
	return stepTimesIn(results, 0, math.MaxInt64)
}

// stepTimesIn is stepTimes for the tokens that came in a span of time.
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

// prefill measures prompts of several lengths, computed from nothing.
func (c *calibration) prefill(ctx context.Context, s *load.Server) error {
	var words struct{ Tokens []int }
	text := strings.Repeat("Please read the following notes with care before you answer; they are long. ", 20)
	if err := s.Call(ctx, http.MethodPost, "/tokenize", map[string]any{"content": text}, &words); err != nil {
		return err
	}
	for _, length := range c.opts.Prompts {
		if length+2 > c.opts.Setup.Context {
			continue // would be refused
		}
		var prompt []int
		for len(prompt) < length {
			prompt = append(prompt, words.Tokens...)
		}
		var times, rates []float64
		for range c.opts.Rounds + 1 {
			var reply struct {
				Timings struct {
					Computed int     `json:"prompt_n"`
					MS       float64 `json:"prompt_ms"`
				}
			}
			err := s.Call(ctx, http.MethodPost, "/completion", map[string]any{
				"prompt": prompt[:length], "n_predict": 1, "temperature": 0, "cache_prompt": false,
				"lora": []map[string]any{{"id": 0, "scale": 1}},
			}, &reply)
			if err != nil {
				return fmt.Errorf("prompt of %d tokens: %w", length, err)
			}
			times = append(times, reply.Timings.MS)
			rates = append(rates, float64(reply.Timings.Computed)/reply.Timings.MS*1000)
		}
		// The first of this length warms up.
		c.table.Add([]string{"prefill", strconv.Itoa(length)}, map[string]float64{
			"time": load.Median(times[1:]), "prefill": load.Median(rates[1:]),
		})
	}
	return nil
}

// swaps measures the parts of a change of adapter: putting one in force,
// erasing a slot, and the first token with a change and without.
func (c *calibration) swaps(ctx context.Context, s *load.Server) error {
	const times = 20
	second := 0
	if len(c.opts.Setup.Adapters) > 1 {
		second = 1
	}
	var apply, erase, same, changed []float64
	for i := range times {
		adapter := i / 2 % 2 * second // each adapter twice: the second time nothing changes
		begun := time.Now()
		if err := s.Call(ctx, http.MethodPost, "/lora-adapters", []map[string]any{{"id": adapter, "scale": 1}}, nil); err != nil {
			return err
		}
		apply = append(apply, load.Milliseconds(time.Since(begun)))
		begun = time.Now()
		if err := s.Call(ctx, http.MethodPost, "/slots/0?action=erase", nil, nil); err != nil {
			return err
		}
		erase = append(erase, load.Milliseconds(time.Since(begun)))
		r := s.Chat(ctx, load.Request{
			Adapter: adapter, Messages: []load.Message{{Role: "user", Content: "What is a contract?"}}, MaxTokens: 4, NoCache: true,
		})
		if r.Err != nil {
			return r.Err
		}
		if i%2 == 0 && i > 0 && second > 0 {
			changed = append(changed, load.Milliseconds(r.TTFT))
		} else {
			same = append(same, load.Milliseconds(r.TTFT))
		}
	}
	c.table.Add([]string{"apply", "1"}, map[string]float64{"time": load.Median(apply)})
	c.table.Add([]string{"erase", "1"}, map[string]float64{"time": load.Median(erase)})
	c.table.Add([]string{"first token, same adapter", "1"}, map[string]float64{"ttft_p50": load.Median(same)})
	if len(changed) > 0 {
		c.table.Add([]string{"first token, another adapter", "1"}, map[string]float64{"ttft_p50": load.Median(changed)})
	}
	return nil
}
