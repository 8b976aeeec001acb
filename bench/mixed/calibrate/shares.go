package calibrate

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"time"

	"github.com/loragate/loragate/bench/load"
)

// shares measures several servers on the same device, without MPS and with it.
func (c *calibrator) shares(ctx context.Context) error {
	if c.opts.Servers < 2 {
		return nil
	}
	ways := []bool{false}
	if c.opts.MPSDir != "" {
		ways = append(ways, true)
	} else {
		c.skip("servers under MPS: no folder of its daemon was given")
	}
	for _, mps := range ways {
		if err := c.share(ctx, mps); err != nil {
			return fmt.Errorf("%d servers, MPS %t: %w", c.opts.Servers, mps, err)
		}
		if err := c.done("%d servers, MPS %t", c.opts.Servers, mps); err != nil {
			return err
		}
	}
	return nil
}

// share starts the servers and measures the first one beside the others.
func (c *calibrator) share(ctx context.Context, mps bool) error {
	setup := c.opts.Setup
	// What the gateway does, too: spinning threads of several servers would slow
	// each other down. The user's own --threads comes later and wins.
	threads := max(1, runtime.GOMAXPROCS(0)/c.opts.Servers)
	setup.Args = append([]string{"--threads", strconv.Itoa(threads)}, setup.Args...)
	if mps {
		setup.Env = append(setup.Env, mpsVariable+"="+c.opts.MPSDir)
	}
	var servers []*load.Server
	for range c.opts.Servers {
		s, err := load.StartRaw(ctx, setup, c.raw(Unified))
		if err != nil {
			return err
		}
		defer s.Stop()
		servers = append(servers, s)
	}
	for _, n := range c.opts.Batches {
		s := Share{Servers: len(servers), MPS: mps, Requests: n}
		if _, err := c.together(ctx, servers, n, warmTokens); err != nil {
			return err
		}
		var err error
		if s.AloneMS, err = c.stepBeside(ctx, servers[:1], n); err != nil {
			return err
		}
		if s.TogetherMS, err = c.stepBeside(ctx, servers, n); err != nil {
			return err
		}
		c.result.Shares = append(c.result.Shares, s)
	}
	return nil
}

// stepBeside returns the time of a step of the first server while all of them
// have n requests.
func (c *calibrator) stepBeside(ctx context.Context, servers []*load.Server, n int) (float64, error) {
	var steps []float64
	for range c.opts.Rounds {
		results, err := c.together(ctx, servers, n, c.opts.Tokens)
		if err != nil {
			return 0, err
		}
		step, err := stepTime(results, results[:n])
		if err != nil {
			return 0, err
		}
		steps = append(steps, step)
	}
	return load.Median(steps), nil
}

// together runs n requests on each server at once, each server on an adapter of
// its own. The first n results are the first server's.
func (c *calibrator) together(ctx context.Context, servers []*load.Server, n, tokens int) ([]load.Result, error) {
	var all []load.Send
	for i, s := range servers {
		for slot := range n {
			all = append(all, load.Send{Server: s, Request: request(i%len(c.opts.Setup.Adapters), slot, tokens)})
		}
	}
	begun := time.Now()
	results := load.AtOnce(ctx, all)
	if err := load.Summarize(results, time.Since(begun)).FirstErr; err != nil {
		return nil, fmt.Errorf("%d requests on each of %d servers: %w", n, len(servers), err)
	}
	return results, nil
}
