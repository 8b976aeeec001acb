package sim

import (
	"math"
	"reflect"
	"testing"
	"time"
)

// slots makes jobs of one adapter: in steps that generate, and with prompts of so many
// tokens, by slot.
func slots(generating []int, prompts map[int]int) *server {
	s := newServer(0, &device{}, serverKind{slots: 16, kv: Split}, &Options{Model: H200(), Context: 1024})
	for _, slot := range generating {
		s.add(&job{slot: slot, tokens: 1})
	}
	for slot, n := range prompts {
		s.add(&job{slot: slot, unread: n})
	}
	s.begin()
	return s
}

// TestSplit checks passes against llama.cpp's split_equal, worked out by hand.
func TestSplit(t *testing.T) {
	for name, c := range map[string]struct {
		s    *server
		want []pass
	}{
		"neighbours":               {slots([]int{3, 4, 5}, nil), []pass{{3, true}}},
		"gaps":                     {slots([]int{2, 5, 7}, nil), []pass{{1, true}, {1, true}, {1, true}}},
		"a long prompt":            {slots(nil, map[int]int{0: 1100}), []pass{{512, false}, {512, false}, {76, false}}},
		"equal prompts":            {slots(nil, map[int]int{0: 200, 1: 200}), []pass{{400, false}}},
		"unequal prompts":          {slots(nil, map[int]int{0: 200, 1: 210}), []pass{{400, false}, {10, false}}},
		"a prompt behind a step":   {slots([]int{0, 1}, map[int]int{2: 100}), []pass{{3, true}, {99, false}}},
		"a prompt in between":      {slots([]int{0, 2}, map[int]int{1: 100}), []pass{{2, true}, {1, true}, {99, false}}},
		"a prompt away from steps": {slots([]int{0, 1}, map[int]int{5: 100}), []pass{{2, true}, {100, false}}},
	} {
		if got := split(&c.s.present); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, not %v", name, got, c.want)
		}
	}
}

func TestFirstBusySlotDecides(t *testing.T) {
	s := slots(nil, nil)
	for slot, adapter := range []string{"a", "b", "a", "b"} {
		s.add(&job{Request: Request{Adapter: adapter}, slot: slot, unread: 10})
	}
	if s.jobs[3].tokens = 5; !s.begin() || s.adapter != "b" || len(s.present.generating) != 1 ||
		len(s.present.reading) != 1 {
		t.Errorf("with b generating: %s, %+v", s.adapter, s.present)
	}
	s.remove(s.jobs[3])
	if s.begin(); s.adapter != "a" || len(s.present.reading) != 2 || !s.present.changed {
		t.Errorf("with nothing generating: %s, %+v", s.adapter, s.present)
	}
}

func TestBatchIsBounded(t *testing.T) {
	s := slots([]int{0}, map[int]int{1: 1500, 2: 1500})
	if r := s.present.reading; len(r) != 2 || !r[0].ends() || r[1].ends() || r[1].tokens != batchTokens-1501 {
		t.Errorf("%+v", r)
	}
}

func TestPromptsHideTheHostsWork(t *testing.T) {
	c := H200().Split
	for tokens, host := range map[int]float64{ // further passes are long enough to hide it
		100: float64(c.Reading), 2000: float64(c.Reading),
	} {
		w := slots(nil, map[int]int{0: tokens}).work()
		if want := host + float64(tokens)*float64(c.Token); math.Abs(w.alone()-want) > 1e-9 {
			t.Errorf("%d tokens take %v s, not %v", tokens, w.alone(), want)
		}
	}
}

func TestInterpolation(t *testing.T) {
	points := []Point{{1, 10}, {5, 20}, {9, 50}}
	for requests, want := range map[int]float64{1: 10, 3: 15, 7: 35, 9: 50, 13: 70} {
		if got := at(points, requests); got != want {
			t.Errorf("%d requests: %v, not %v", requests, got, want)
		}
	}
}

func TestOthersOnTheDevice(t *testing.T) {
	c := Costs{Steps: []Point{{1, 2}, {3, 4}}}
	o := Options{Model: Model{Turns: []Point{{1, 2}, {3, 2}}, MPS: []Point{{1, 1}, {3, 2}}, Crowding: 2}}
	for _, w := range []struct {
		mps            bool
		requests, busy int
		work, want     float64
	}{
		{false, 1, 1, 2, 0}, {false, 1, 3, 2, 4}, {false, 3, 2, 4, 2}, {false, 3, 2, 5, 3},
		{true, 1, 3, 2, 4}, {true, 3, 2, 6, 3},
	} {
		o.MPS = w.mps
		if got := o.beside(&c, w.requests, w.busy, w.work); got != w.want {
			t.Errorf("%+v: %v", w, got)
		}
	}
}

// TestTraceClients: each client takes the next request when its last one has ended.
func TestTraceClients(t *testing.T) {
	o := preset(t, "mixed", 60)
	o.Streams, o.TraceClients, o.Drain = nil, 2, true
	for range 5 {
		o.Trace = append(o.Trace, Request{Adapter: "a", PromptTokens: 10, AnswerTokens: 10})
	}
	r, err := RunPolicy(o, Ours)
	if err != nil {
		t.Fatal(err)
	}
	at := map[time.Duration]int{}
	for _, q := range r.Trace {
		at[q.At.time()]++
	}
	if r.Finished != 5 || at[0] != 2 {
		t.Errorf("%d have ended, %d began at once", r.Finished, at[0])
	}
}
