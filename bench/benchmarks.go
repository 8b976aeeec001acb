package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
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
	if err := o.contestants.check("contestants", mixed.Contestants()...); err != nil {
		return err
	}
	if err := o.traffic.check("traffic", mixed.Zipf, mixed.Single); err != nil {
		return err
	}
	m := mixed.Options{
		Setup: o.setupWith(1024), Warmup: o.warmup(), Contestants: o.contestants, Gateways: o.gateways(), Rows: o.rows(),
		Rounds: o.rounds, RawRounds: o.rawRounds, RawSlots: o.rawSlots, Requests: o.requests, Answers: answers, Seed: o.seed,
		Keep: o.keep, Budget: o.budget, Check: o.check, NearTie: o.nearTie,
	}
	return mixed.Run(ctx, m, progress, res.save)
}

// rows returns mixed's kinds of load.
func (o *options) rows() []mixed.Row {
	var rows []mixed.Row
	for _, traffic := range o.traffic {
		clients := o.concurrency.orElse(32)
		switch {
		case o.quick:
			clients = o.concurrency.orElse(4)
		case traffic == mixed.Zipf:
			clients = o.concurrency.orElse(8, 32, 64)
		}
		for _, n := range clients {
			rows = append(rows, mixed.Row{Traffic: traffic, Clients: n})
		}
	}
	return rows
}

// gateways returns all combinations of the settings to compare.
func (o *options) gateways() []load.Gateway {
	var all []load.Gateway
	for _, count := range pick(o.workers == nil, workers{0}, o.workers) {
		for _, kv := range pick(o.kv == nil, words{""}, o.kv) {
			for _, mps := range pick(o.mps == nil, words{""}, o.mps) {
				all = append(all, load.Gateway{Workers: count, Slots: o.slots, KV: kv, MPS: mps})
			}
		}
	}
	return all
}

func runConversation(ctx context.Context, o *options, progress io.Writer, res *results) error {
	answers, err := lengths(o.tokens, pick(o.quick, 16, 64))
	if err != nil {
		return err
	}
	c := conversation.Options{
		Setup: o.setupWith(2048), Warmup: o.warmup(), Conversations: 16, Turns: 5, Adapters: 4, Clients: 4,
		Workers: o.workers.number(2), Slots: 8, Tokens: answers.Max, Rounds: o.rounds, Seed: o.seed,
	}
	if o.quick {
		c.Conversations, c.Turns, c.Slots = 4, 3, 4
	}
	return conversation.Run(ctx, c, progress, res.save)
}

func runCalibrate(ctx context.Context, o *options, progress io.Writer, res *results) error {
	tokens, err := lengths(o.tokens, pick(o.quick, 16, 64))
	if err != nil {
		return err
	}
	c := calibrate.Options{
		Setup: o.setupWith(4096), Batches: o.concurrency.orElse(1, 2, 4, 8, 16, 32), Slots: o.slots,
		Idle: pick(o.idle == nil, []int{0, 2000, 8000}, o.idle), Prompts: []int{100, 500, 2000, 8000}, Tokens: tokens.Max,
		Rounds: o.rounds, Servers: o.servers, MPSDir: o.mpsDir,
	}
	if o.quick {
		c.Batches, c.Prompts = o.concurrency.orElse(1, 2, 4), []int{100, 500}
		c.Idle = pick(o.idle == nil, []int{0, 200}, o.idle)
	}
	return calibrate.Run(ctx, c, progress, func(measured *calibrate.Calibration) error {
		if o.calibration != "" {
			if err := writeJSON(o.calibration, measured); err != nil {
				return err
			}
		}
		return res.save(measured.Table())
	})
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
