// Package calibrate measures what llama-servers cost, step by step, on the
// device at hand. A simulator of the gateway is fitted to its numbers.
package calibrate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/loragate/loragate/bench/load"
)

// Options says what to measure.
type Options struct {
	Setup   load.Setup // with two adapters at least, or there are no changes of adapter
	Batches []int      // numbers of requests at once
	Slots   int        // of each server; 0 is the largest batch
	Idle    []int      // tokens that slots without a request hold
	Prompts []int      // lengths of prompts in tokens
	Tokens  int        // of each generation
	Rounds  int        // of each measurement
	Servers int        // on the same device, for Shares; below 2 there are none
	// MPSDir is where a daemon of CUDA's multi-process service has its pipes;
	// "" has nothing measured under one.
	MPSDir string
}

// mpsVariable tells a CUDA program where the daemon is. Without it a program
// looks in mpsDefault.
const (
	mpsVariable = "CUDA_MPS_PIPE_DIRECTORY"
	mpsDefault  = "/tmp/nvidia-mps"
)

// complete checks the options and fills in what 0 means.
func (o *Options) complete() error {
	o.Slots = max(o.Slots, 2, slices.Max(o.Batches))
	if o.MPSDir == "" {
		return nil
	}
	if os.Getenv(mpsVariable) != "" || filepath.Clean(o.MPSDir) == mpsDefault {
		return errors.New("what is measured without MPS would run under it: " +
			"give the daemon a folder other than " + mpsDefault + ", and unset " + mpsVariable)
	}
	return nil
}

// Run measures everything and blocks for a minute or more. It calls save with
// what there is after each kind of measurement, and tells progress of each.
func Run(ctx context.Context, o Options, progress io.Writer, save func(*Calibration) error) error {
	if err := o.complete(); err != nil {
		return fmt.Errorf("calibrate: %w", err)
	}
	c := &calibrator{opts: o, progress: progress, save: save, begun: time.Now()}
	for _, part := range []func(context.Context) error{c.describe, c.split, c.unified, c.shares} {
		if err := part(ctx); err != nil {
			return fmt.Errorf("calibrate: %w", err)
		}
	}
	return nil
}

// calibrator is the state of one Run.
type calibrator struct {
	opts     Options
	progress io.Writer
	save     func(*Calibration) error
	begun    time.Time
	result   Calibration
	perSlot  bool // llama-server can bound a slot in a unified buffer
}

// describe takes down what is measured.
func (c *calibrator) describe(ctx context.Context) error {
	base, err := os.Stat(c.opts.Setup.Base)
	if err != nil {
		return err
	}
	adapter, err := os.Stat(c.opts.Setup.Adapters[0])
	if err != nil {
		return err
	}
	c.perSlot = load.HasFlag(ctx, c.opts.Setup.LlamaServer, load.PerSlotFlag)
	c.result = Calibration{
		Version: Version, Model: base.Name(), ModelBytes: base.Size(),
		Adapters: len(c.opts.Setup.Adapters), AdapterBytes: adapter.Size(), Args: c.opts.Setup.Args,
		Slots: c.opts.Slots, ContextTokens: c.opts.Setup.Context, Tokens: c.opts.Tokens, Rounds: c.opts.Rounds,
	}
	return nil
}

func (c *calibrator) split(ctx context.Context) error { return c.oneServer(ctx, Split) }

func (c *calibrator) unified(ctx context.Context) error { return c.oneServer(ctx, Unified) }

// oneServer measures everything that one server is enough for.
func (c *calibrator) oneServer(ctx context.Context, mode Mode) error {
	s, err := load.StartRaw(ctx, c.opts.Setup, c.raw(mode))
	if err != nil {
		return err
	}
	defer s.Stop()
	b, err := c.newBench(ctx, s, mode)
	if err != nil {
		return err
	}
	for _, part := range []struct {
		name    string
		measure func(context.Context) error
	}{{"steps", b.steps}, {"prompts", b.prefills}, {"changes of adapter", b.changes}} {
		if err := part.measure(ctx); err != nil {
			return fmt.Errorf("%s, %s: %w", mode, part.name, err)
		}
		if err := c.done("%s, %s", mode, part.name); err != nil {
			return err
		}
	}
	return nil
}

func (c *calibrator) raw(mode Mode) load.Raw {
	unified := mode == Unified
	return load.Raw{Slots: c.opts.Slots, Unified: unified, PerSlot: unified && c.perSlot}
}

// newBench asks a server what it is.
func (c *calibrator) newBench(ctx context.Context, s *load.Server, mode Mode) (*bench, error) {
	var props struct {
		Build    string `json:"build_info"`
		Settings struct {
			Context int `json:"n_ctx"`
		} `json:"default_generation_settings"`
	}
	if err := s.Call(ctx, http.MethodGet, "/props", nil, &props); err != nil {
		return nil, err
	}
	c.result.Build = props.Build
	b := &bench{calibrator: c, server: s, mode: mode, held: map[int]int{},
		room: room{slot: props.Settings.Context, whole: c.opts.Slots * c.opts.Setup.Context}}
	return b, b.learnWords(ctx)
}

// done saves what there is and tells of it.
func (c *calibrator) done(format string, args ...any) error {
	c.say(format+": done", args...)
	return c.save(&c.result)
}

func (c *calibrator) say(format string, args ...any) {
	fmt.Fprintf(c.progress, "%6.1fs  calibrate: %s\n", time.Since(c.begun).Seconds(), fmt.Sprintf(format, args...))
}

// skip notes, once, that something is not measured.
func (c *calibrator) skip(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if slices.Contains(c.result.Skipped, text) {
		return
	}
	c.result.Skipped = append(c.result.Skipped, text)
	c.say("left out: %s", text)
}
