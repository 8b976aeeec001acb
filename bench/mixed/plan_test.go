package mixed

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/loragate/loragate/bench/load"
)

func TestPlanTakesTurnsAndMeasuresAllRowsFirst(t *testing.T) {
	o := Options{Contestants: Contestants(), Gateways: []load.Gateway{{}}, Rows: []Row{{Zipf, 8}, {Single, 32}},
		Rounds: 2, RawRounds: 1}
	var got []string
	for _, s := range o.plan() {
		got = append(got, fmt.Sprintf("%d %s %d %s", s.round, s.row.Traffic, s.row.Clients, s.contestant))
	}
	want := []string{
		"0 zipf 8 gateway", "0 zipf 8 raw-tuned", "0 zipf 8 raw",
		"0 single 32 gateway", "0 single 32 raw-tuned", "0 single 32 raw",
		"1 zipf 8 gateway", "1 zipf 8 raw-tuned",
		"1 single 32 gateway", "1 single 32 raw-tuned",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the plan is\n%s", strings.Join(got, "\n"))
	}
}

func TestServersOfRows(t *testing.T) {
	told := func(workers, slots int) contestant {
		return contestant{"g", Gateway, load.Gateway{Workers: workers, Slots: slots}}
	}
	for _, c := range []struct {
		contestant contestant
		rawSlots   int
		clients    int
		want       server
	}{
		{contestant{Raw, Raw, load.Gateway{}}, 0, 8, server{raw: load.Raw{Slots: 8}}},
		{contestant{Raw, Raw, load.Gateway{}}, 64, 8, server{raw: load.Raw{Slots: 64}}},
		{contestant{RawTuned, RawTuned, load.Gateway{}}, 0, 32, server{raw: load.Raw{Slots: 32, Unified: true}}},
		{told(0, 0), 0, 64, server{isGateway: true}},
		{told(4, 0), 0, 33, server{gateway: load.Gateway{Workers: 4, Slots: 9}, isGateway: true}},
		{told(4, 0), 0, 8, server{gateway: load.Gateway{Workers: 4, Slots: 4}, isGateway: true}},
		{told(4, 2), 0, 64, server{gateway: load.Gateway{Workers: 4, Slots: 2}, isGateway: true}},
	} {
		if got := (Options{RawSlots: c.rawSlots}).server(c.contestant, Row{Zipf, c.clients}); got != c.want {
			t.Errorf("%+v, %d clients: %+v, not %+v", c.contestant, c.clients, got, c.want)
		}
	}
}

func TestEachSettingIsAContestant(t *testing.T) {
	o := Options{Contestants: []string{Raw, Gateway}, Gateways: []load.Gateway{{}, {Workers: 4, KV: "split"}}}
	var names []string
	for _, c := range o.contestants() {
		names = append(names, c.name)
	}
	if want := []string{"raw", "gateway", "gateway workers=4 kv=split"}; !slices.Equal(names, want) {
		t.Errorf("%q", names)
	}
}

func TestRoundsThatWouldEndTooLateAreLeftOut(t *testing.T) {
	s := step{cell: cell{Row{Zipf, 8}, Raw}, server: server{raw: load.Raw{Slots: 8}}}
	f := &fleet[*load.Server]{starting: map[server]time.Duration{s.server: time.Minute}}
	b := &bench{fleet: f, begun: time.Now().Add(-8 * time.Minute), took: map[cell]time.Duration{s.cell: time.Minute}}
	for _, c := range []struct {
		round  int
		budget time.Duration
		want   bool
	}{
		{1, 0, true},                // no bound
		{0, time.Minute, true},      // a first round
		{1, 9 * time.Minute, false}, // it has to be started as well
		{1, 11 * time.Minute, true},
	} {
		s.round, b.opts.Budget = c.round, c.budget
		if got := b.fits(s); got != c.want {
			t.Errorf("round %d of a budget of %s fits: %v", c.round, c.budget, got)
		}
	}
}

// stub is a server that notes when it is stopped.
type stub struct {
	name string
	log  *[]string
}

func (s stub) Stop() { *s.log = append(*s.log, "stop "+s.name) }

func TestFleet(t *testing.T) {
	raw, tuned := server{raw: load.Raw{Slots: 8}}, server{raw: load.Raw{Slots: 8, Unified: true}}
	auto := server{isGateway: true}
	names := map[server]string{raw: "raw", tuned: "tuned", auto: "auto"}
	for _, c := range []struct {
		name string
		keep bool
		full int // so many servers fit
		uses []server
		want string
	}{
		{"kept until the last use", true, 9, []server{raw, tuned, raw, tuned},
			"start raw, start tuned, stop raw, stop tuned"},
		{"each use has its own", false, 9, []server{raw, raw}, "start raw, stop raw, start raw, stop raw"},
		{"no room for two", true, 1, []server{raw, tuned, raw},
			"start raw, fail tuned, stop raw, start tuned, stop tuned, start raw, stop raw"},
		{"one that looks for room starts alone", true, 9, []server{raw, auto, raw, auto},
			"start raw, stop raw, start auto, start raw, stop raw, stop auto"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log []string
			f := &fleet[stub]{keep: c.keep, say: t.Logf, running: map[server]stub{}, starting: map[server]time.Duration{}}
			f.start = func(_ context.Context, s server) (stub, error) {
				if len(f.running) >= c.full {
					log = append(log, "fail "+names[s])
					return stub{}, errors.New("no memory")
				}
				log = append(log, "start "+names[s])
				return stub{names[s], &log}, nil
			}
			for i, s := range c.uses {
				_, release, err := f.get(t.Context(), s)
				if err != nil {
					t.Fatal(err)
				}
				release()
				var left []step
				for _, next := range c.uses[i+1:] {
					left = append(left, step{server: next})
				}
				f.retire(left)
			}
			if got := strings.Join(log, ", "); got != c.want {
				t.Errorf("%s, not %s", got, c.want)
			}
		})
	}
}
