// Package overhead measures what a proxy adds to a request whose upstream
// answers at once: the gateway beside nginx, Go's ReverseProxy and llama-swap.
// Each is a process of its own; all are measured in the same run, in turns. The
// load generator, the proxies and the upstream share the machine's cores, so the
// numbers compare proxies on one machine and are not what a proxy can do at most.
package overhead

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/loragate/loragate/bench/report"
)

// Options say what to measure.
type Options struct {
	GatewayBinary string        // path of a built gateway
	Self          string        // path of the running program, whose main calls MaybeMain
	Rounds        int           // how often each case is measured; the tables have the medians
	PerRound      time.Duration // length of one measurement
	Quick         bool          // a few requests only, to see that all works
	Contestants   []string      // which to run, of All; empty means all. Direct always runs
}

// concurrencies are the numbers of connections of the table "overhead".
var concurrencies = []int{1, 16, 64}

// streams is how many streams run at once in the table "streams".
const streams = 64

// benchCase is one way to load a proxy.
type benchCase struct {
	connections int
	stream      bool
}

func cases() []benchCase {
	var all []benchCase
	for _, n := range concurrencies {
		all = append(all, benchCase{connections: n})
	}
	return append(all, benchCase{connections: streams, stream: true})
}

// key is what results are kept under.
type key struct {
	contestant string
	benchCase
}

// Run measures and returns the tables "overhead" and "streams". It blocks for
// about contestants x cases x Rounds x 1.25 PerRound and tells progress what it
// does. A request that fails, or a proxy that does not start, is an error; a
// proxy whose program is not installed is left out, and the tables say so. All
// processes and files are gone when it returns, also when ctx ends it.
func Run(ctx context.Context, opts Options, progress io.Writer) ([]*report.Table, error) {
	if err := opts.complete(); err != nil {
		return nil, fmt.Errorf("overhead: %w", err)
	}
	a, err := newArena(ctx, opts, progress)
	defer a.close()
	if err != nil {
		return nil, fmt.Errorf("overhead: %w", err)
	}
	rounds := map[key][]sample{}
	for round := range opts.Rounds {
		fmt.Fprintf(progress, "overhead: round %d of %d\n", round+1, opts.Rounds)
		if err := a.round(ctx, rounds); err != nil {
			return nil, fmt.Errorf("overhead: round %d: %w", round+1, err)
		}
	}
	memory, err := a.memory()
	if err != nil {
		return nil, fmt.Errorf("overhead: %w", err)
	}
	return a.tables(rounds, memory), nil
}

// complete checks the options and fills in what Quick and empty fields mean.
func (o *Options) complete() error {
	if len(o.Contestants) == 0 {
		o.Contestants = All()
	}
	if o.Quick {
		o.Rounds = 1
	}
	for _, name := range o.Contestants {
		if !slices.Contains(All(), name) {
			return fmt.Errorf("no contestant is called %q; there are %s", name, strings.Join(All(), ", "))
		}
	}
	switch {
	case o.Self == "":
		return errors.New("no path of the running program (Self)")
	case o.GatewayBinary == "":
		return errors.New("no path of a built gateway (GatewayBinary)")
	case o.Rounds < 1:
		return fmt.Errorf("%d rounds; at least 1 is needed", o.Rounds)
	case o.PerRound <= 0 && !o.Quick:
		return fmt.Errorf("a round of %s; it must be above 0", o.PerRound)
	}
	var err error
	o.Self, err = filepath.Abs(o.Self) // links to it are made elsewhere
	return err
}

// round measures each case once on each contestant. Those of one case run one
// after the other, in random order, so that what else the machine does meets
// them alike.
func (a *arena) round(ctx context.Context, rounds map[key][]sample) error {
	for _, c := range cases() {
		for _, i := range rand.Perm(len(a.contestants)) {
			who := a.contestants[i]
			s, err := a.measure(ctx, who, c)
			if err != nil {
				return fmt.Errorf("%s with %d connections: %w", who.name, c.connections, err)
			}
			k := key{who.name, c}
			rounds[k] = append(rounds[k], s)
		}
	}
	return nil
}
