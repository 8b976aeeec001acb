package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/loragate/loragate/bench/conversation"
	"github.com/loragate/loragate/bench/load"
	"github.com/loragate/loragate/bench/mixed"
	"github.com/loragate/loragate/bench/mixed/calibrate"
	"github.com/loragate/loragate/bench/overhead"
)

func runMixed(ctx context.Context, o *options, progress io.Writer, res *results) error {
	answers, err := lengths(o.tokens, pick(o.quick, 16, 200))
	if err != nil {
		return err
	}
	traffic := strings.Split(o.traffic, ",")
	for _, t := range traffic {
		if !slices.Contains([]string{"zipf", "single"}, t) {
			return fmt.Errorf("-traffic %q: it is zipf or single", t)
		}
	}
	m := mixed.Options{
		Setup: o.setupWith(1024), Warmup: o.warmup(), Traffic: traffic,
		Concurrency: o.concurrency.orElse(8, 32, 64), Workers: o.workers.orElse(1, 4),
		Rounds: o.rounds, Requests: o.requests, Answers: answers, Seed: o.seed,
		Keep: o.keep, Check: o.check, NearTie: o.nearTie,
	}
	if o.quick {
		m.Concurrency, m.Workers = o.concurrency.orElse(4), o.workers.orElse(2)
	}
	return mixed.Run(ctx, m, progress, res.save)
}

func runConversation(ctx context.Context, o *options, progress io.Writer, res *results) error {
	answers, err := lengths(o.tokens, pick(o.quick, 16, 64))
	if err != nil {
		return err
	}
	c := conversation.Options{
		Setup: o.setupWith(2048), Warmup: o.warmup(), Conversations: 16, Turns: 5, Adapters: 4, Clients: 4,
		Workers: o.workers.orElse(2)[0], Slots: 8, Tokens: answers.Max, Rounds: o.rounds, Seed: o.seed,
	}
	if o.quick {
		c.Conversations, c.Turns, c.Slots = 4, 3, 4
	}
	return conversation.Run(ctx, c, progress, res.save)
}

func runCalibrate(ctx context.Context, o *options, progress io.Writer, res *results) error {
	tokens, err := lengths(o.tokens, pick(o.quick, 16, 100))
	if err != nil {
		return err
	}
	c := calibrate.Options{
		Setup: o.setupWith(4096), Warmup: o.warmup(), Batches: o.concurrency.orElse(1, 2, 4, 8, 16, 32),
		Prompts: []int{100, 500, 2000}, Tokens: tokens.Max, Rounds: o.rounds,
	}
	if o.quick {
		c.Batches, c.Prompts = o.concurrency.orElse(1, 2, 4), []int{100, 500}
	}
	return calibrate.Run(ctx, c, progress, res.save)
}

func runOverhead(ctx context.Context, o *options, progress io.Writer, res *results) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	tables, err := overhead.Run(ctx, overhead.Options{
		GatewayBinary: o.setup.Gateway, Self: self, Rounds: o.rounds, PerRound: time.Second, Quick: o.quick,
	}, progress)
	for _, t := range tables {
		if err := res.save(t); err != nil {
			return err
		}
	}
	return err
}

// setupWith returns the setup, with tokens a slot unless the flag says how many.
func (o *options) setupWith(tokens int) load.Setup {
	s := o.setup
	s.Context = pick(o.context > 0, o.context, tokens)
	return s
}

func (o *options) warmup() load.Warmup {
	return load.Warmup{Sparse: o.warm == "sparse", Chars: o.chars}
}

// lengths reads the flag -tokens.
func lengths(text string, otherwise int) (load.Lengths, error) {
	switch text {
	case "":
		return load.Lengths{Min: otherwise, Max: otherwise}, nil
	case "mix":
		return load.Lengths{Min: 20, Max: 400}, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return load.Lengths{}, fmt.Errorf("-tokens %q: it is a positive number or mix", text)
	}
	return load.Lengths{Min: n, Max: n}, nil
}
