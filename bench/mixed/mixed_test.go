package mixed

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"github.com/loragate/loragate/bench/load"
)

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
		return run{Summary: load.Summary{Requests: 2, TokensPerSecond: tokens, TTFT: []float64{ttft},
			Latency: []float64{2 * ttft}},
			workers: 2, spread: 1.5}
	}
	failed := run{Summary: load.Summary{Errors: 3}}
	row := Row{Zipf, 8}
	o := Options{Contestants: Contestants(), Gateways: []load.Gateway{{}}, Rows: []Row{row, {Single, 8}}}
	table := newTable(o, map[cell][]run{
		{row, Raw}:       {at(100, 10), at(300, 30), at(200, 20)},
		{row, RawTuned}:  {at(800, 5)},
		{row, "gateway"}: {at(500, 5), failed, at(300, 5)},
	})
	if len(table.Rows) != 3 {
		t.Fatalf("%d rows", len(table.Rows))
	}
	r, g := table.Rows[0].Values, table.Rows[2].Values
	if r["output"] != 200 || r["ttft_p50"] != 20 || r["latency_p99"] != 40 || r["errors"] != 0 || r["rounds"] != 3 {
		t.Errorf("raw: %v", r)
	}
	if g["output"] != 400 || g["output_x_raw"] != 2 || g["output_x_tuned"] != 0.5 || g["ttft_p50_x_raw"] != 0.25 ||
		g["errors"] != 3 || g["spread"] != 1.5 || g["workers"] != 2 {
		t.Errorf("gateway: %v", g)
	}
	for _, key := range []string{"output_x_raw", "spread", "workers"} {
		if _, ok := r[key]; ok {
			t.Errorf("raw has %s", key)
		}
	}
	if want := []string{"zipf", "8", "raw-tuned"}; !reflect.DeepEqual(table.Rows[1].Labels, want) {
		t.Errorf("the second row is %q, not %q", table.Rows[1].Labels, want)
	}
}

func TestSpread(t *testing.T) {
	results := []load.Result{{Worker: "0", Tokens: 30}, {Worker: "1", Tokens: 10}, {Worker: "0", Tokens: 20},
		{Worker: "2", Tokens: 90, Err: errors.New("cut")}}
	if answered, busiest := spread(results, 3); answered != 2 || busiest != 2.5 {
		t.Errorf("%d answered, the busiest made %v times its share", answered, busiest)
	}
	if _, busiest := spread(nil, 3); busiest != 0 {
		t.Errorf("of nothing: %v", busiest)
	}
}
