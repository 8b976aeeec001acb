package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/loragate/loragate/bench/load"
	"github.com/loragate/loragate/bench/mixed"
	"github.com/loragate/loragate/internal/randgguf"
)

// defaultNearTie is twice the widest gap that was seen on a CPU to be bridged
// with one adapter alone, so by rounding: 0.11.
const defaultNearTie = 0.2

// options is the command line. A number that is 0 stands for the benchmark's
// own default, which depends on quick.
type options struct {
	setup    load.Setup // complete after prepare
	adapters string
	args     string
	json     string
	rounds   int
	seed     uint64
	quick    bool
	warm     string
	context  int

	random         string
	randomAdapters int

	tokens string
	chars  int

	contestants, kv, mps words
	concurrency          list
	workers              workers
	slots                int
	rawRounds, rawSlots  int
	traffic              words
	requests             int
	budget               time.Duration
	keep, check          bool
	nearTie              float64

	idle        counts
	servers     int
	mpsDir      string
	calibration string
}

func parse(name string, args []string, errOut io.Writer) (*options, error) {
	o := &options{}
	f := flag.NewFlagSet("bench "+name, flag.ContinueOnError)
	f.SetOutput(errOut)
	f.StringVar(&o.setup.LlamaServer, "llama-server", ".llama/bin/llama-server", "the llama-server `program`")
	f.StringVar(&o.setup.Gateway, "gateway", "", "the gateway `program`; built from ./cmd/gateway if left out")
	f.StringVar(&o.setup.Base, "base", "deploy/demo/base.gguf", "the base model's `file`")
	f.StringVar(&o.adapters, "adapters", "deploy/demo/adapters/*.gguf",
		"the adapters' `files`: patterns, separated by commas")
	f.StringVar(&o.random, "random", "", "a model of random weights instead, written to a temporary folder: a `shape` "+
		"such as tiny, 3b or 8b")
	f.IntVar(&o.randomAdapters, "random-adapters", 8,
		"how many adapters of it, of rank 8 on q and v, of 8b of rank 16 on all modules")
	f.StringVar(&o.args, "args", "", "further `arguments` for every llama-server, such as \"-ngl 99\"")
	f.Func("set", "a `key=value` of the gateway's configuration, such as scheduler.queue=64; may be repeated",
		func(kv string) error {
			if !strings.Contains(kv, "=") {
				return fmt.Errorf("it is key=value")
			}
			o.setup.Set = append(o.setup.Set, kv)
			return nil
		})
	f.DurationVar(&o.setup.StartTimeout, "start-timeout", 5*time.Minute, "how long a server may take to start")
	f.StringVar(&o.json, "json", "", "write the tables to this `file` as well, as they are completed")
	f.IntVar(&o.rounds, "rounds", 0, "how often each case is run; 0 is 3, or 1 with -quick")
	f.Uint64Var(&o.seed, "seed", 1, "of the requests")
	f.BoolVar(&o.quick, "quick", false, "a short run that only shows that everything works")
	f.StringVar(&o.warm, "warm", "all", "batch sizes to warm up: all or sparse")
	f.IntVar(&o.context, "context", 0, "tokens a slot; 0 is 1024, for calibrate 4096")
	f.IntVar(&o.chars, "chars", 400, "about how many characters a prompt has")
	f.StringVar(&o.tokens, "tokens", "", "tokens of an answer: a number, or mix for 20 to 400; for mixed 200 if left out")
	o.mixedFlags(f)
	o.calibrateFlags(f)
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("what is %q?", f.Arg(0))
	}
	if o.warm != "all" && o.warm != "sparse" {
		return nil, fmt.Errorf("-warm %q: it is all or sparse", o.warm)
	}
	if o.rounds == 0 {
		o.rounds = pick(o.quick, 1, 3)
	}
	return o, nil
}

// mixedFlags adds what mixed alone, or nearly alone, looks at.
func (o *options) mixedFlags(f *flag.FlagSet) {
	o.contestants, o.traffic = mixed.Contestants(), words{mixed.Zipf, mixed.Single}
	f.Var(&o.contestants, "contestants", "mixed: `which`, in the order of their runs")
	f.Var(&o.concurrency, "concurrency", "mixed: `numbers` of clients; if left out 8,32,64 for zipf and 32 for single. "+
		"calibrate: requests at once")
	f.Var(&o.workers, "workers", "mixed: `numbers` of the gateway's workers, auto leaves the key out of its "+
		"configuration; auto if left out. "+
		"conversation: the first number counts")
	f.IntVar(&o.slots, "slots", 0, "mixed: of each of the gateway's workers; 0 is the gateway's default, with a number "+
		"of workers as many as the clients need. "+
		"calibrate: of the server; 0 is the most requests at once")
	f.Var(&o.kv, "kv", "mixed: `values` of workers.kv to compare; the key is left out if this is")
	f.Var(&o.mps, "mps", "mixed: `values` of workers.mps to compare; the key is left out if this is")
	f.IntVar(&o.rawRounds, "raw-rounds", 1, "mixed: how often each case is run on raw, which is slow")
	f.IntVar(&o.rawSlots, "raw-slots", 0, "mixed: of the bare servers; 0 is the case's clients")
	f.Var(&o.traffic, "traffic", "mixed: `kinds`: zipf over all adapters, single for the first alone")
	f.IntVar(&o.requests, "requests", 0, "mixed: of each run; 0 is 6 for each client")
	f.DurationVar(&o.budget, "budget", 0, "mixed: leave out further rounds that would end later; first rounds are "+
		"always run; 0 is no bound")
	f.BoolVar(&o.keep, "keep", true, "mixed: leave servers running until their last run, warmed up once; false needs "+
		"memory for one at a time")
	f.BoolVar(&o.check, "check", false, "mixed: compare every answer with what its adapter answers alone")
	f.Float64Var(&o.nearTie, "near-tie", defaultNearTie,
		"mixed: with -check, the gap of log-probabilities that rounding may bridge; single traffic shows how far it reaches")
}

// calibrateFlags adds what calibrate alone looks at.
func (o *options) calibrateFlags(f *flag.FlagSet) {
	f.StringVar(&o.calibration, "calibration", "", "calibrate: write what was measured to this `file`, for simulate fit")
	f.Var(&o.idle, "idle", "calibrate: `numbers` of tokens that the slots without a request hold; 0,2000,8000 if left out")
	f.IntVar(&o.servers, "servers", 2, "calibrate: on one device, to see what they cost each other; 1 leaves that out")
	f.StringVar(&o.mpsDir, "mps-dir", "", "calibrate: the `folder` in which a daemon of CUDA's multi-process service "+
		"has its pipes, for servers under it")
}

// prepare finds or makes every file that the benchmarks need. The cleanup that
// it returns is never nil and must be called.
func (o *options) prepare(ctx context.Context, chosen []benchmark, progress io.Writer) (cleanup func(), err error) {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return func() {}, err
	}
	cleanup = func() { os.RemoveAll(dir) }
	if slices.ContainsFunc(chosen, func(b benchmark) bool { return b.gateway }) && o.setup.Gateway == "" {
		if o.setup.Gateway, err = buildGateway(ctx, dir); err != nil {
			return cleanup, err
		}
	}
	if slices.ContainsFunc(chosen, func(b benchmark) bool { return b.llamaServer }) {
		err = o.prepareModels(dir, progress)
	}
	return cleanup, err
}

// buildGateway builds the gateway of the source tree that is the working
// directory.
func buildGateway(ctx context.Context, dir string) (string, error) {
	program := filepath.Join(dir, "gateway")
	build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", program, "./cmd/gateway")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot build the gateway, name one with -gateway: %w\n%s", err, out)
	}
	return program, nil
}

// prepareModels completes the setup.
func (o *options) prepareModels(dir string, progress io.Writer) error {
	o.setup.Args = strings.Fields(o.args)
	var err error
	if o.random != "" {
		err = o.writeRandom(dir, progress)
	} else {
		o.setup.Adapters, err = glob(o.adapters)
	}
	if err != nil {
		return err
	}
	o.setup, err = o.setup.Validate()
	return err
}

// writeRandom writes a model of random weights and its adapters into dir.
func (o *options) writeRandom(dir string, progress io.Writer) error {
	shape, err := randgguf.Preset(o.random)
	if err != nil {
		return fmt.Errorf("-random: %w", err)
	}
	fmt.Fprintf(progress, "writing a random model of shape %s with %d adapters\n", shape.Name, o.randomAdapters)
	o.setup.Base = filepath.Join(dir, "base.gguf")
	if err := randgguf.WriteBase(o.setup.Base, shape, 1); err != nil {
		return err
	}
	rank, modules := shape.Usual()
	o.setup.Adapters = nil
	for i := range o.randomAdapters {
		path := filepath.Join(dir, fmt.Sprintf("adapter-%03d.gguf", i))
		if err := randgguf.WriteAdapter(path, shape, rank, 2*float64(rank), uint64(i+2), modules...); err != nil {
			return err
		}
		o.setup.Adapters = append(o.setup.Adapters, path)
	}
	return nil
}

// glob returns the files that patterns, separated by commas, match.
func glob(patterns string) ([]string, error) {
	var files []string
	for pattern := range strings.SplitSeq(patterns, ",") {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return nil, fmt.Errorf("-adapters %q: %w", pattern, err)
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("-adapters %q: no such file", pattern)
		}
		files = append(files, found...)
	}
	return files, nil
}

// pick returns one of two values.
func pick[T any](first bool, yes, no T) T {
	if first {
		return yes
	}
	return no
}
