package mixed

import (
	"fmt"
	"strconv"

	"github.com/loragate/loragate/bench/load"
	"github.com/loragate/loragate/bench/report"
)

func newTable(o Options) *report.Table {
	answers := fmt.Sprintf("%d", o.Answers.Min)
	if o.Answers.Max != o.Answers.Min {
		answers = fmt.Sprintf("%d to %d", o.Answers.Min, o.Answers.Max)
	}
	t := &report.Table{
		Name: "mixed",
		About: fmt.Sprintf("one llama-server with lora per request (raw) and the gateway, as many slots in total; %d adapters, "+
			"answers of %s tokens, prompts of about %d characters; medians of %d rounds; x is gateway / raw",
			len(o.Setup.Adapters), answers, o.Warmup.Chars, o.Rounds),
		Labels: []string{"traffic", "concurrency", "workers", "server"},
		Columns: []report.Column{
			{Key: "output", Unit: "tokens/s"}, {Key: "output_x"},
			{Key: "ttft_p50", Unit: "ms"}, {Key: "ttft_p50_x"},
			{Key: "ttft_p99", Unit: "ms"}, {Key: "ttft_p99_x"},
			{Key: "latency_p50", Unit: "ms"}, {Key: "latency_p99", Unit: "ms"},
			{Key: "requests", Unit: "1/s"}, {Key: "errors"},
		},
	}
	if o.Check {
		t.Columns = append(t.Columns, report.Column{Key: "wrong"}, report.Column{Key: "rounding"}, report.Column{Key: "answers"})
	}
	return t
}

// addRows adds one row for each contestant.
func addRows(t *report.Table, c benchCase, runs map[string][]run) {
	reference := values(runs[raw])
	for _, name := range []string{raw, gateway} {
		v := values(runs[name])
		if name != raw {
			for _, key := range []string{"output", "ttft_p50", "ttft_p99"} {
				if of, ok := reference[key]; ok && of > 0 {
					v[key+"_x"] = v[key] / of
				}
			}
		}
		t.Add([]string{c.traffic, strconv.Itoa(c.concurrency), strconv.Itoa(c.workers), name}, v)
	}
}

// values returns the medians over the rounds; errors and wrong answers are
// added up.
func values(runs []run) map[string]float64 {
	medians := map[string][]float64{}
	sums := map[string]float64{}
	for _, r := range runs {
		sums["errors"] += float64(r.Errors)
		sums["wrong"] += float64(r.wrong)
		sums["rounding"] += float64(r.rounding)
		sums["answers"] += float64(r.Requests)
		if r.Requests == 0 {
			continue // percentiles of nothing
		}
		for key, v := range map[string]float64{
			"output": r.TokensPerSecond, "requests": r.RequestsPerSecond,
			"ttft_p50": load.Percentile(r.TTFT, 50), "ttft_p99": load.Percentile(r.TTFT, 99),
			"latency_p50": load.Percentile(r.Latency, 50), "latency_p99": load.Percentile(r.Latency, 99),
		} {
			medians[key] = append(medians[key], v)
		}
	}
	for key, v := range medians {
		sums[key] = load.Median(v)
	}
	return sums
}
