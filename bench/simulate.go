package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/loragate/loragate/bench/sim"
)

// simulation is what the command line asks for.
type simulation struct {
	scenario, file       string
	model                string
	policies             words
	quantum              time.Duration
	seed                 uint64
	trace, record        string
	asJSON, printOptions bool
	timeline             string
}

const aboutSimulate = `bench simulate [flags] runs the gateway's scheduler in virtual time against modelled
workers and clients, beside the obvious alternatives: lru swaps the least recently used
idle worker and closes none, raw is one llama-server with an adapter in every request,
raw-tuned the same with one KV buffer for all slots. These three have every adapter
loaded, whatever a scenario says of what fits.

Scenarios: %s.
Print one with -print, change it and run it with -file, to put in your own load. They run
on the model of one H200; bench simulate fit FILE makes one of the file that
bench calibrate -calibration FILE wrote, for -model.

`

// runSimulate runs a scenario, or makes the model of a worker.
func runSimulate(args []string, out, errOut io.Writer) error {
	if len(args) > 0 && args[0] == "fit" {
		return runFit(args[1:], out)
	}
	s := simulation{policies: sim.Policies()}
	f := flag.NewFlagSet("bench simulate", flag.ContinueOnError)
	f.SetOutput(errOut)
	f.Usage = func() {
		fmt.Fprintf(errOut, aboutSimulate, scenarios())
		f.PrintDefaults()
	}
	f.StringVar(&s.scenario, "scenario", "mixed", "the `name` of a scenario")
	f.StringVar(&s.file, "file", "", "a scenario as a JSON `file` instead")
	f.StringVar(&s.model, "model", "", "the model of a worker in this JSON `file`, which fit printed, instead of the "+
		"scenario's")
	f.Var(&s.policies, "policies", "which `policies` to compare")
	f.DurationVar(&s.quantum, "quantum", 0, "the scheduler's quantum, instead of the scenario's")
	f.Uint64Var(&s.seed, "seed", 0, "the seed of the random numbers, instead of the scenario's")
	f.StringVar(&s.trace, "trace", "", "replay the requests in this JSON `file`")
	f.StringVar(&s.record, "record", "", "write the requests of the first policy to this `file`")
	f.StringVar(&s.timeline, "timeline", "", "draw who ran when as SVG into this `file`")
	f.BoolVar(&s.asJSON, "json", false, "print the results as JSON")
	f.BoolVar(&s.printOptions, "print", false, "print the scenario as JSON and end")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("what is %q?", f.Arg(0))
	}
	return s.run(out)
}

func scenarios() string { return strings.Join(slices.Sorted(maps.Keys(sim.Presets())), ", ") }

// runFit prints the model of a worker that a calibration makes.
func runFit(args []string, out io.Writer) error {
	if len(args) != 1 {
		return errors.New("simulate fit needs one file, which calibrate wrote")
	}
	file, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer file.Close()
	model, err := sim.Fit(file)
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	return printJSON(out, model)
}

func printJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func (s *simulation) run(out io.Writer) error {
	opts, err := s.options()
	if err != nil {
		return err
	}
	if s.printOptions {
		return printJSON(out, opts)
	}
	results, err := sim.Compare(opts, s.policies)
	if err != nil {
		return err
	}
	if s.record != "" {
		if err := create(s.record, func(w io.Writer) error { return sim.WriteTrace(w, results[0].Trace) }); err != nil {
			return err
		}
	}
	if s.timeline != "" {
		if err := create(s.timeline, func(w io.Writer) error { return sim.DrawTimelines(w, results) }); err != nil {
			return err
		}
	}
	if s.asJSON {
		return printJSON(out, results)
	}
	return sim.WriteTable(out, results)
}

// options returns the scenario with the flags' changes.
func (s *simulation) options() (sim.Options, error) {
	opts, known := sim.Presets()[s.scenario]
	switch {
	case s.file != "":
		opts = sim.Options{}
		if err := readJSON(s.file, &opts); err != nil {
			return opts, err
		}
	case !known:
		return opts, fmt.Errorf("-scenario %s: there is none of that name; there are %s", s.scenario, scenarios())
	}
	if s.model != "" {
		opts.Model = sim.Model{}
		if err := readJSON(s.model, &opts.Model); err != nil {
			return opts, err
		}
	}
	if s.quantum > 0 {
		opts.Quantum = sim.AutoSeconds(s.quantum.Seconds())
	}
	if s.seed > 0 {
		opts.Seed = s.seed
	}
	opts.Timeline = s.timeline != ""
	if s.trace == "" {
		return opts, nil
	}
	file, err := os.Open(s.trace)
	if err != nil {
		return opts, err
	}
	defer file.Close()
	opts.Trace, err = sim.ReadTrace(file)
	return opts, err
}

// readJSON reads a file whose every key must be known.
func readJSON(path string, v any) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	d := json.NewDecoder(file)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// create writes a new file.
func create(path string, write func(io.Writer) error) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(file), file.Close())
}
