package mixed

import (
	"encoding/json"
	"testing"

	"github.com/loragate/loragate/bench/load"
	"github.com/loragate/loragate/bench/report"
)

func TestSlotsOfACase(t *testing.T) {
	for _, c := range []struct{ concurrency, workers, want int }{{8, 1, 8}, {8, 4, 4}, {64, 4, 16}, {33, 4, 9}} {
		if got := (benchCase{"zipf", c.concurrency, c.workers}).slots(); got != c.want {
			t.Errorf("%d clients, %d workers: %d slots, not %d", c.concurrency, c.workers, got, c.want)
		}
	}
}

// twoTokens is the reference answer " two tokens", whose second word is nearly
// tied with " words".
func twoTokens(t *testing.T) reference {
	t.Helper()
	var r reference
	err := json.Unmarshal([]byte(`[
		{"token":" two","logprob":-0.1,"top_logprobs":[{"token":" two","logprob":-0.1},{"token":" three","logprob":-3}]},
		{"token":" tokens","logprob":-0.7,"top_logprobs":[{"token":" tokens","logprob":-0.7},{"token":" words","logprob":-0.71}]}
	]`), &r)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestJudge(t *testing.T) {
	for got, want := range map[string]verdict{
		" two tokens":      equal,
		" two words more":  rounding, // the other of the tied
		" three tokens":    wrong,    // far from tied
		" two birds":       wrong,    // neither of the tied
		" two":             wrong,    // too short
		" two tokens more": wrong,    // too long
	} {
		if v := twoTokens(t).judge(got, 0.05); v != want {
			t.Errorf("%q is judged %v, not %v", got, v, want)
		}
	}
}

func TestJudgeCounts(t *testing.T) {
	trace := []load.Request{
		{Adapter: 0, Messages: []load.Message{{Content: "a"}}},
		{Adapter: 1, Messages: []load.Message{{Content: "a"}}},
	}
	other := reference{{Text: "another"}}
	j := newJudge(Options{Check: true, NearTie: 0.05})
	j.answers[key(trace[0])], j.answers[key(trace[1])] = twoTokens(t), other
	wrongs, roundings, example := j.count(trace, []load.Result{{Text: " two words"}, {Text: " two tokens"}})
	if wrongs != 1 || roundings != 1 || example == "" {
		t.Errorf("%d wrong, %d by rounding, %q", wrongs, roundings, example)
	}
}

func TestRowsHaveMediansAndRatios(t *testing.T) {
	at := func(tokens, ttft float64) run {
		return run{Summary: load.Summary{Requests: 2, TokensPerSecond: tokens, TTFT: []float64{ttft}, Latency: []float64{2 * ttft}}}
	}
	failed := run{Summary: load.Summary{Errors: 3}}
	var table report.Table
	addRows(&table, benchCase{"zipf", 8, 4}, map[string][]run{
		raw:     {at(100, 10), at(300, 30), at(200, 20)},
		gateway: {at(500, 5), failed, at(300, 5)},
	})
	if len(table.Rows) != 2 {
		t.Fatalf("%d rows", len(table.Rows))
	}
	r, g := table.Rows[0].Values, table.Rows[1].Values
	if r["output"] != 200 || r["ttft_p50"] != 20 || r["latency_p99"] != 40 || r["errors"] != 0 {
		t.Errorf("raw: %v", r)
	}
	if g["output"] != 400 || g["output_x"] != 2 || g["ttft_p50_x"] != 0.25 || g["errors"] != 3 {
		t.Errorf("gateway: %v", g)
	}
	if _, ok := r["output_x"]; ok {
		t.Error("raw is compared with itself")
	}
}
