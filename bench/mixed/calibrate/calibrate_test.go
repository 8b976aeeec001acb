package calibrate

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/loragate/loragate/bench/load"
)

// arriving returns a result whose tokens came at these times, in ms.
func arriving(ms ...int) load.Result {
	var r load.Result
	for _, at := range ms {
		r.Arrivals = append(r.Arrivals, time.Duration(at)*time.Millisecond)
	}
	r.TTFT, r.Latency = r.Arrivals[0], r.Arrivals[len(ms)-1]
	return r
}

func TestStepTimeIsOfTheTimeTogether(t *testing.T) {
	// Together from 100 to 160; alone, each is faster.
	all := []load.Result{
		arriving(90, 95, 100, 120, 140, 160),
		arriving(100, 130, 160, 165, 170, 175),
		arriving(95, 100, 120, 140, 160, 170),
	}
	for _, c := range []struct {
		some []load.Result
		want float64
	}{{all, 20}, {all[:1], 20}, {all[2:], 20}} {
		if got, err := stepTime(all, c.some); err != nil || got != c.want {
			t.Errorf("%v, not %v (%v)", got, c.want, err)
		}
	}
}

func TestStepTimeOfAnswersThatNeverMeet(t *testing.T) {
	all := []load.Result{arriving(0, 10, 20, 30), arriving(100, 130, 160, 190)}
	if got, err := stepTime(all, all); err != nil || got != 20 {
		t.Errorf("%v, not the median of 10 and 30 (%v)", got, err)
	}
	short := []load.Result{arriving(0, 10)}
	if _, err := stepTime(short, short); err == nil {
		t.Error("two tokens are enough")
	}
}

func TestScatteredSlots(t *testing.T) {
	for n := range 32 {
		fewer, more := scattered(32, n), scattered(32, n+1)
		if len(fewer) != n || !slices.IsSorted(fewer) {
			t.Fatalf("%d slots: %v", n, fewer)
		}
		for _, slot := range fewer {
			if !slices.Contains(more, slot) {
				t.Errorf("%d is one of %d slots and not of %d", slot, n, n+1)
			}
		}
	}
	if passes(Split, scattered(32, 8)) < 5 {
		t.Errorf("these are hardly scattered: %v", scattered(32, 8))
	}
}

func TestPasses(t *testing.T) {
	for _, c := range []struct {
		mode Mode
		busy []int
		want int
	}{
		{Split, []int{2, 5, 7}, 3}, {Split, []int{2, 3, 4}, 1}, {Split, []int{0, 1, 3, 4, 9}, 3},
		{Split, adjacent(8), 1}, {Unified, []int{2, 5, 7}, 1},
	} {
		if got := passes(c.mode, c.busy); got != c.want {
			t.Errorf("%s %v: %d passes, not %d", c.mode, c.busy, got, c.want)
		}
	}
}

func TestRoom(t *testing.T) {
	split, shared := room{slot: 1000, whole: 4000}, room{slot: 4000, whole: 4000}
	for _, c := range []struct {
		name                  string
		room                  room
		busy, own, idle, held int
		want                  string
	}{
		{"all fits", split, 1, 200, 3, 900, ""},
		{"idle slots hold more than one has", split, 1, 200, 3, 1100, "a slot has 1000"},
		{"requests need more than a slot", split, 1, 1200, 3, 0, "a slot has 1000"},
		{"one slot may hold much", shared, 1, 200, 1, 3000, ""},
		{"all may not", shared, 1, 200, 3, 3000, "all slots together have 4000"},
	} {
		if got := c.room.lacks(c.busy, c.own, c.idle, c.held); (got == "") != (c.want == "") ||
			!strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %q", c.name, got)
		}
	}
}

func TestMPSIsNotFoundUnasked(t *testing.T) {
	o := Options{Batches: []int{4}, MPSDir: "/run/mps"}
	t.Setenv(mpsVariable, "")
	if err := o.complete(); err != nil || o.Slots != 4 {
		t.Errorf("%d slots, %v", o.Slots, err)
	}
	t.Setenv(mpsVariable, "/run/mps")
	if err := o.complete(); err == nil {
		t.Error("servers without MPS would inherit it")
	}
	t.Setenv(mpsVariable, "")
	o.MPSDir = mpsDefault + "/"
	if err := o.complete(); err == nil {
		t.Error("servers without MPS would find it")
	}
}

func TestJSONKeepsEverything(t *testing.T) {
	want := Calibration{
		Version: Version, Model: "base.gguf", ModelBytes: 1, Adapters: 2, AdapterBytes: 3, Build: "b1",
		Args:  []string{"-ngl", "99"},
		Slots: 4, ContextTokens: 512, Tokens: 16, Rounds: 3,
		Steps:       []Step{{Split, true, 3, 1, 4, 100, 5.5, 700}},
		FirstTokens: []FirstToken{{Unified, true, 20}},
		Prefills:    []Prefill{{Split, 500, 10, 50000}},
		Calls:       []Call{{Split, Erase, 1}},
		Shares:      []Share{{2, true, 8, 5, 7}},
		Skipped:     []string{"a"},
	}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Calibration
	if err := json.Unmarshal(text, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if rows := len(got.Table().Rows); rows != 5 {
		t.Errorf("the table has %d rows", rows)
	}
}
