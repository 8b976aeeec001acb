// Command overhead runs the overhead benchmark alone.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/loragate/loragate/bench/overhead"
	"github.com/loragate/loragate/bench/report"
)

func main() {
	overhead.MaybeMain()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	gateway := flag.String("gateway", "bin/gateway", "path of a built gateway")
	rounds := flag.Int("rounds", 5, "how often each case is measured")
	length := flag.Duration("per-round", time.Second, "length of one measurement")
	quick := flag.Bool("quick", false, "a few requests only")
	only := flag.String("only", "", "contestants, separated by commas; all if empty: "+strings.Join(overhead.All(), ","))
	asJSON := flag.Bool("json", false, "print JSON")
	flag.Parse()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	opts := overhead.Options{GatewayBinary: *gateway, Self: self, Rounds: *rounds, PerRound: *length, Quick: *quick}
	if *only != "" {
		opts.Contestants = strings.Split(*only, ",")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	tables, err := overhead.Run(ctx, opts, os.Stderr)
	if err != nil {
		return err
	}
	if *asJSON {
		return report.WriteJSON(os.Stdout, tables)
	}
	for _, t := range tables {
		if err := t.Write(os.Stdout); err != nil {
			return err
		}
	}
	return nil
}
