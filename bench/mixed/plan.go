package mixed

import (
	"fmt"
	"slices"

	"github.com/loragate/loragate/bench/load"
)

// Row is one kind of load, and a row of the table for each contestant.
type Row struct {
	Traffic string // Zipf or Single
	Clients int
}

// The kinds of traffic.
const (
	Zipf   = "zipf"   // over all adapters, by Zipf's law
	Single = "single" // for the first adapter alone
)

func (r Row) String() string { return fmt.Sprintf("%s, %d clients", r.Traffic, r.Clients) }

// The names of contestants in Options.Contestants. Of the gateway there may be
// several, with different settings.
const (
	Raw      = "raw"       // llama-server with as many slots as clients
	RawTuned = "raw-tuned" // the same with one KV buffer for all slots
	Gateway  = "gateway"
)

// Contestants are all of them in the order in which they run if nothing else is
// asked for: what is slow comes last, for a run that is cut.
func Contestants() []string { return []string{Gateway, RawTuned, Raw} }

// server says how to start a server. Equal ones can be the same process.
type server struct {
	raw       load.Raw
	gateway   load.Gateway
	isGateway bool
}

// alone says that the server looks how much room the device has, so that no
// other may have taken some when it starts.
func (s server) alone() bool { return s.isGateway && s.gateway.Workers == 0 }

// contestant is one way to serve all rows.
type contestant struct {
	name    string // in the table
	kind    string // Raw, RawTuned or Gateway
	gateway load.Gateway
}

// contestants returns those that the options ask for, in the order of runs.
func (o Options) contestants() []contestant {
	var all []contestant
	for _, kind := range o.Contestants {
		if kind != Gateway {
			all = append(all, contestant{name: kind, kind: kind})
			continue
		}
		for _, g := range o.Gateways {
			all = append(all, contestant{name: g.String(), kind: kind, gateway: g})
		}
	}
	return all
}

// minSlots is the least number of slots that a worker gets.
const minSlots = 4

// server returns what serves a row. The slots of a bare server never limit the
// clients, and are no more than they can use: idle ones would lie between the
// busy ones. A gateway that is told its workers but not their slots has enough
// for the clients as well; one with neither keeps its own number.
func (o Options) server(c contestant, row Row) server {
	if c.kind != Gateway {
		slots := row.Clients
		if o.RawSlots > 0 {
			slots = o.RawSlots
		}
		return server{raw: load.Raw{Slots: slots, Unified: c.kind == RawTuned}}
	}
	g := c.gateway
	if g.Workers > 0 && g.Slots == 0 {
		g.Slots = max(minSlots, (row.Clients+g.Workers-1)/g.Workers)
	}
	return server{gateway: g, isGateway: true}
}

// step is one measured run.
type step struct {
	cell
	kind   string
	round  int // from 0
	server server
}

// cell is what has medians of its own.
type cell struct {
	row        Row
	contestant string
}

// plan returns all runs in their order. The first round of every row comes
// before the second of any, so that a run that is cut has measured all rows,
// and the contestants take turns.
func (o Options) plan() []step {
	var steps []step
	for round := range max(o.Rounds, o.RawRounds) {
		for _, row := range o.Rows {
			for _, c := range o.contestants() {
				rounds := o.Rounds
				if c.kind == Raw {
					rounds = o.RawRounds
				}
				if round < rounds {
					steps = append(steps, step{cell{row, c.name}, c.kind, round, o.server(c, row)})
				}
			}
		}
	}
	return steps
}

// needed says whether any of the steps uses a server.
func needed(s server, steps []step) bool {
	return slices.ContainsFunc(steps, func(st step) bool { return st.server == s })
}
