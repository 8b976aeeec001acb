// Package mixed is the benchmark of traffic for many adapters at once: the same
// requests to bare llama-servers and to the gateway with its workers.
package mixed

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/loragate/loragate/bench/load"
	"github.com/loragate/loragate/bench/report"
)

// Options says what to run.
type Options struct {
	Setup       load.Setup
	Warmup      load.Warmup
	Contestants []string       // of Contestants(), in the order of their runs
	Gateways    []load.Gateway // the settings with which the gateway takes part
	Rows        []Row
	Rounds      int // of each row, with requests of their own
	RawRounds   int // of each row for Raw, which is slow
	RawSlots    int // of the bare servers; 0 makes it the row's clients
	// Requests of each run; 0 makes it RequestsPerClient for each client.
	Requests int
	Answers  load.Lengths
	Seed     uint64
	// Keep leaves servers running, idle while others are measured, until their
	// last run: they are warmed up once, and need memory for all.
	Keep bool
	// Budget is how long Run may take: a further round of a row is left out if
	// it would end later. First rounds never are. 0 is no bound.
	Budget time.Duration
	// Check compares every answer with what its adapter answers alone.
	Check bool
	// NearTie is the gap of log-probabilities below which rounding may choose
	// either token; see docs/llama-server.md.
	NearTie float64
}

// RequestsPerClient is how many requests a run has for each client.
const RequestsPerClient = 6

// Run runs every row and blocks for minutes. It calls save with the table so
// far after each run, and writes lines to progress.
func Run(ctx context.Context, o Options, progress io.Writer, save func(*report.Table) error) error {
	b := &bench{opts: o, progress: progress, begun: time.Now(), judge: newJudge(o),
		runs: map[cell][]run{}, took: map[cell]time.Duration{}}
	b.fleet = &fleet[*load.Server]{keep: o.Keep, start: b.start, say: b.say,
		running: map[server]*load.Server{}, starting: map[server]time.Duration{}}
	defer b.fleet.stopAll()
	steps := o.plan()
	for i, s := range steps {
		if !b.fits(s) {
			b.say("%s, round %d, %s: left out, there is no time for it", s.row, s.round+1, s.contestant)
			continue
		}
		if err := b.step(ctx, s); err != nil {
			return fmt.Errorf("mixed: %s, %s: %w", s.row, s.contestant, err)
		}
		b.fleet.retire(steps[i+1:])
		if err := save(newTable(o, b.runs)); err != nil {
			return err
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
	fleet    *fleet[*load.Server]
	runs     map[cell][]run
	took     map[cell]time.Duration // the last run of each
}

// run is what one contestant did in one round.
type run struct {
	load.Summary
	wrong, rounding int
	workers         int     // that answered
	spread          float64 // see spread
}

// fits tells whether a step will probably end in time.
func (b *bench) fits(s step) bool {
	if s.round == 0 || b.opts.Budget == 0 {
		return true
	}
	return time.Since(b.begun)+b.fleet.wait(s.server)+b.took[s.cell] <= b.opts.Budget
}

// step makes one run and takes in what came of it.
func (b *bench) step(ctx context.Context, s step) error {
	trace := b.trace(s)
	if err := b.judge.prepare(ctx, trace); err != nil {
		return err
	}
	to, release, err := b.fleet.get(ctx, s.server)
	if err != nil {
		return err
	}
	defer release()
	results, wall := load.Closed(ctx, to, trace, s.row.Clients)
	if err := ctx.Err(); err != nil {
		return err
	}
	r := run{Summary: load.Summarize(results, wall)}
	r.workers, r.spread = spread(results, to.Workers)
	var example string
	if r.wrong, r.rounding, example = b.judge.count(trace, results); r.wrong > 0 {
		b.say("%s, %s: %d wrong answers, the first: %s", s.row, s.contestant, r.wrong, example)
	}
	b.runs[s.cell] = append(b.runs[s.cell], r)
	b.took[s.cell] = wall
	b.say("%s, round %d, %s: %.0f tokens/s, first token p50 %.0f ms p99 %.0f ms, %d requests in %.1f s, %d errors%s",
		s.row, s.round+1, s.contestant, r.TokensPerSecond, load.Percentile(r.TTFT, 50), load.Percentile(r.TTFT, 99),
		r.Requests, wall.Seconds(), r.Errors, firstError(r.Summary))
	return nil
}

func (b *bench) trace(s step) []load.Request {
	requests := b.opts.Requests
	if requests == 0 {
		requests = RequestsPerClient * s.row.Clients
	}
	return load.Trace(load.TraceOptions{
		Seed: b.opts.Seed + uint64(s.round), Requests: requests, Adapters: len(b.opts.Setup.Adapters),
		Single: s.row.Traffic == Single, Chars: b.opts.Warmup.Chars, Answers: b.opts.Answers,
	})
}

// start starts a server and warms it up.
func (b *bench) start(ctx context.Context, want server) (*load.Server, error) {
	begun := time.Now()
	var s *load.Server
	var err error
	name := want.gateway.String()
	if want.isGateway {
		s, err = load.StartGateway(ctx, b.opts.Setup, want.gateway)
	} else {
		name = want.raw.String()
		s, err = load.StartRaw(ctx, b.opts.Setup, want.raw)
	}
	if err != nil {
		return nil, err
	}
	b.say("%s: %d workers of %d slots started in %.1f s", name, s.Workers, s.Slots, time.Since(begun).Seconds())
	begun = time.Now()
	missed, err := b.opts.Warmup.Run(ctx, s, len(b.opts.Setup.Adapters))
	if err != nil {
		s.Stop()
		return nil, err
	}
	b.say("%s: warmed up in %.1f s, %d batch sizes did not reach a worker", name, time.Since(begun).Seconds(), missed)
	return s, nil
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.progress, "%6.1fs  mixed: %s\n", time.Since(b.begun).Seconds(), fmt.Sprintf(format, args...))
}

// spread returns how many workers answered, and how many times the tokens of
// the mean worker the busiest one made: 1 is even.
func spread(results []load.Result, workers int) (answered int, busiest float64) {
	tokens := map[string]int{}
	sum, most := 0, 0
	for _, r := range results {
		if r.Err == nil {
			tokens[r.Worker] += r.Tokens
			sum += r.Tokens
			most = max(most, tokens[r.Worker])
		}
	}
	if sum == 0 {
		return len(tokens), 0
	}
	return len(tokens), float64(most*workers) / float64(sum)
}

func firstError(s load.Summary) string {
	if s.FirstErr == nil {
		return ""
	}
	return fmt.Sprintf(" (%v)", s.FirstErr)
}
