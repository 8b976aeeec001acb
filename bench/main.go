// Command bench measures the gateway against a bare llama-server. It is one
// binary that needs no source tree when every file is named by a flag.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/loragate/loragate/bench/overhead"
)

func main() {
	overhead.MaybeMain() // some of its contestants are this program again
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		stop()
		os.Exit(1)
	}
}

// benchmark is a subcommand.
type benchmark struct {
	name, about string
	// Which programs it needs. With llama-server go the models.
	gateway, llamaServer bool
	run                  func(context.Context, *options, io.Writer, *results) error
}

// benchmarks are all subcommands but "all", which runs those of inAll.
var benchmarks = []benchmark{
	{"mixed", "requests for many adapters at once, gateway against raw", true, true, runMixed},
	{"conversation", "talks of several turns: tokens computed again, first token", true, true, runConversation},
	{"overhead", "what a proxy adds to a request, beside other proxies", true, false, runOverhead},
	{"calibrate", "what llama-server alone costs; not part of all", false, true, runCalibrate},
}

// inAll says which benchmarks "all" runs.
func inAll(b benchmark) bool { return b.name != "calibrate" }

// run runs the subcommand that args name. Progress goes to progress, the tables
// to out, even those of a run that failed later.
func run(ctx context.Context, args []string, out, progress io.Writer) error {
	if len(args) == 0 {
		return errors.New("name a benchmark: " + usage())
	}
	switch args[0] {
	case "plot":
		return runPlot(args[1:], progress)
	case "simulate":
		return runSimulate(args[1:], out, progress)
	}
	chosen := chosenBenchmarks(args[0])
	if chosen == nil {
		return fmt.Errorf("no benchmark %q: %s", args[0], usage())
	}
	o, err := parse(args[0], args[1:], progress)
	if err != nil {
		return err
	}
	cleanup, err := o.prepare(ctx, chosen, progress)
	defer cleanup()
	if err != nil {
		return err
	}
	res := &results{file: o.json}
	for _, b := range chosen {
		if err = b.run(ctx, o, progress, res); err != nil {
			break
		}
	}
	return errors.Join(err, res.print(out))
}

func chosenBenchmarks(name string) []benchmark {
	var chosen []benchmark
	for _, b := range benchmarks {
		if b.name == name || name == "all" && inAll(b) {
			chosen = append(chosen, b)
		}
	}
	return chosen
}

func usage() string {
	text := "bench NAME [flags], `bench NAME -h` lists the flags"
	for _, b := range benchmarks {
		text += fmt.Sprintf("\n  %-14s%s", b.name, b.about)
	}
	for _, more := range [][2]string{
		{"all", "one after the other"},
		{"plot", "draws what mixed wrote with -json"},
		{"simulate", "the scheduler in virtual time, on what calibrate measured"},
	} {
		text += fmt.Sprintf("\n  %-14s%s", more[0], more[1])
	}
	return text
}
