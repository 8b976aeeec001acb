package conversation

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/loragate/loragate/bench/load"
)

func TestScript(t *testing.T) {
	o := Options{Conversations: 6, Turns: 3, Adapters: 4, Tokens: 8, Warmup: load.Warmup{Chars: 50}}
	plans := script(o, 1)
	if len(plans) != 6 || !reflect.DeepEqual(plans, script(o, 1)) || reflect.DeepEqual(plans, script(o, 2)) {
		t.Error("a script does not follow from its seed")
	}
	for i, p := range plans {
		if p.adapter != i%4 || len(p.says) != 3 || p.tokens != 8 {
			t.Errorf("conversation %d: %+v", i, p)
		}
	}
}

func TestValues(t *testing.T) {
	at := func(number, computed, cached int, ttft time.Duration) turn {
		return turn{number, load.Result{Computed: computed, Cached: cached, TTFT: ttft, Latency: 2 * ttft}}
	}
	turns := []turn{
		at(0, 100, 0, 10*time.Millisecond),
		at(1, 50, 150, 20*time.Millisecond),
		at(1, 150, 50, 40*time.Millisecond),
		{1, load.Result{Err: errors.New("cut")}},
	}
	want := map[string]float64{"requests": 2, "errors": 1, "prompt": 200, "computed": 100, "computed_share": 0.5,
		"ttft_p50": 20, "ttft_p99": 40, "latency_p50": 40}
	if got := values(turns, 1); !reflect.DeepEqual(got, want) {
		t.Errorf("second turn: %v", got)
	}
	if got := values(turns, -1); got["requests"] != 3 || got["computed"] != 100 || got["computed_share"] != 0.6 {
		t.Errorf("all: %v", got)
	}
	if got := values(turns, 2); !reflect.DeepEqual(got, map[string]float64{"requests": 0, "errors": 0}) {
		t.Errorf("no turn: %v", got)
	}
}

func TestDialogue(t *testing.T) {
	d := &dialogue{plan: plan{says: []string{"a", "b"}}}
	for number := range 2 {
		if d.number() != number || d.ended() {
			t.Fatalf("turn %d: at %d, ended %v", number, d.number(), d.ended())
		}
		d.messages = append(d.messages, load.Message{Role: "user"}, load.Message{Role: "assistant"})
	}
	if !d.ended() {
		t.Error("it goes on")
	}
}
