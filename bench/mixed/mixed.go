// Package mixed is the benchmark of traffic for many adapters at once: the same
// requests to one bare llama-server and to the gateway with its workers.
package mixed

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/loragate/loragate/bench/load"
	"github.com/loragate/loragate/bench/report"
)

// Options says what to run.
type Options struct {
	Setup       load.Setup
	Warmup      load.Warmup
	Concurrency []int    // numbers of clients
	Workers     []int    // numbers of workers of the gateway
	Traffic     []string // "zipf", "single"
	Rounds      int      // of each case, with requests of their own
	// Requests of each round; 0 makes it RequestsPerClient for each client.
	Requests int
	Answers  load.Lengths
	Seed     uint64
	// Keep leaves both contestants running, one of them idle, through all
	// rounds of a case: they are warmed up once, and need memory for both.
	Keep bool
	// Check compares every answer with what its adapter answers alone.
	Check bool
	// NearTie is the gap of log-probabilities below which rounding may choose
	// either token; see docs/llama-server.md.
	NearTie float64
}

// RequestsPerClient is how many requests a round has for each client.
const RequestsPerClient = 6

// minSlots is the least number of slots a worker gets.
const minSlots = 4

// benchCase is one combination of what is varied.
type benchCase struct {
	traffic              string
	concurrency, workers int
}

// slots returns how many slots each worker has.
func (c benchCase) slots() int { return max(minSlots, (c.concurrency+c.workers-1)/c.workers) }

func (c benchCase) String() string {
	return fmt.Sprintf("mixed %s concurrency=%d workers=%d", c.traffic, c.concurrency, c.workers)
}

// Run runs every case and blocks for minutes. It calls save with the table so
// far after each case, and writes a line to progress after each run.
func Run(ctx context.Context, o Options, progress io.Writer, save func(*report.Table) error) error {
	table := newTable(o)
	b := &bench{opts: o, progress: progress, begun: time.Now(), judge: newJudge(o)}
	for _, traffic := range o.Traffic {
		for _, concurrency := range o.Concurrency {
			for _, workers := range o.Workers {
				c := benchCase{traffic, concurrency, workers}
				runs, err := b.runCase(ctx, c)
				if err != nil {
					return fmt.Errorf("%s: %w", c, err)
				}
				addRows(table, c, runs)
				if err := save(table); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// bench is the state of one Run.
type bench struct {
	opts     Options
	progress io.Writer
	begun    time.Time
	judge    *judge
}

// run is what one contestant did in one round.
type run struct {
	load.Summary
	wrong, rounding int
}

// names of the contestants, in the table's order.
const (
	raw     = "raw"
	gateway = "gateway"
)

// runCase runs all rounds of a case, the contestants in random order, and
// returns their runs by name.
func (b *bench) runCase(ctx context.Context, c benchCase) (map[string][]run, error) {
	runs := map[string][]run{}
	kept := map[string]*load.Server{}
	defer func() {
		for _, s := range kept {
			s.Stop()
		}
	}()
	rng := rand.New(rand.NewPCG(b.opts.Seed, uint64(c.concurrency)<<16|uint64(c.workers)))
	for round := range b.opts.Rounds {
		trace := b.trace(c, round)
		if err := b.judge.prepare(ctx, trace); err != nil {
			return nil, err
		}
		order := []string{raw, gateway}
		rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, name := range order {
			r, err := b.runOne(ctx, c, name, trace, kept)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			runs[name] = append(runs[name], r)
			b.say("%s round %d/%d %s: %.0f tokens/s, first token p50 %.0f ms p99 %.0f ms, %d requests, %d errors%s",
				c, round+1, b.opts.Rounds, name, r.TokensPerSecond, load.Percentile(r.TTFT, 50), load.Percentile(r.TTFT, 99),
				r.Requests, r.Errors, firstError(r.Summary))
		}
	}
	return runs, nil
}

func (b *bench) trace(c benchCase, round int) []load.Request {
	requests := b.opts.Requests
	if requests == 0 {
		requests = RequestsPerClient * c.concurrency
	}
	return load.Trace(load.TraceOptions{
		Seed: b.opts.Seed + uint64(round), Requests: requests, Adapters: len(b.opts.Setup.Adapters),
		Single: c.traffic == "single", Chars: b.opts.Warmup.Chars, Answers: b.opts.Answers,
	})
}

// runOne runs the trace on one contestant, which it starts and warms up unless
// that is running in kept.
func (b *bench) runOne(ctx context.Context, c benchCase, name string, trace []load.Request, kept map[string]*load.Server) (run, error) {
	s := kept[name]
	if s == nil {
		var err error
		if s, err = b.start(ctx, c, name); err != nil {
			return run{}, err
		}
		if b.opts.Keep {
			kept[name] = s
		} else {
			defer s.Stop()
		}
		warming := time.Now()
		missed, err := b.opts.Warmup.Run(ctx, s, len(b.opts.Setup.Adapters))
		if err != nil {
			return run{}, err
		}
		b.say("%s %s warmed up in %.1f s, %d batch sizes did not reach a worker", c, name, time.Since(warming).Seconds(), missed)
	}
	results, wall := load.Closed(ctx, s, trace, c.concurrency)
	if err := ctx.Err(); err != nil {
		return run{}, err
	}
	r := run{Summary: load.Summarize(results, wall)}
	var example string
	r.wrong, r.rounding, example = b.judge.count(trace, results)
	if r.wrong > 0 {
		b.say("%s %s: %d wrong answers, the first: %s", c, name, r.wrong, example)
	}
	return r, nil
}

func (b *bench) start(ctx context.Context, c benchCase, name string) (*load.Server, error) {
	if name == raw {
		return load.StartRaw(ctx, b.opts.Setup, c.slots()*c.workers)
	}
	return load.StartGateway(ctx, b.opts.Setup, c.workers, c.slots())
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.progress, "%6.1fs  %s\n", time.Since(b.begun).Seconds(), fmt.Sprintf(format, args...))
}

func firstError(s load.Summary) string {
	if s.FirstErr == nil {
		return ""
	}
	return fmt.Sprintf(" (%v)", s.FirstErr)
}
