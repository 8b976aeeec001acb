package mixed

import (
	"fmt"
	"strconv"

	"github.com/loragate/loragate/bench/load"
	"github.com/loragate/loragate/bench/report"
)

// The labels and some of the quantities of the table, for those who read it.
const (
	LabelTraffic, LabelClients, LabelServer = "traffic", "clients", "server"

	Output  = "output"   // tokens/s, generated
	TTFTP50 = "ttft_p50" // ms
	TTFTP99 = "ttft_p99" // ms
)

// compared are the quantities of which there are ratios, and references what
// the gateway is compared with, by the ending of the ratio's key.
var (
	compared   = []string{Output, TTFTP50, TTFTP99}
	references = []struct{ suffix, name string }{{"_x_raw", Raw}, {"_x_tuned", RawTuned}}
)

// newTable returns the table of the runs so far.
func newTable(o Options, runs map[cell][]run) *report.Table {
	t := &report.Table{
		Name: "mixed", About: about(o),
		Labels: []string{LabelTraffic, LabelClients, LabelServer},
		Columns: []report.Column{
			{Key: Output, Unit: "tokens/s"}, {Key: "output_x_raw"}, {Key: "output_x_tuned"},
			{Key: TTFTP50, Unit: "ms"}, {Key: "ttft_p50_x_raw"}, {Key: "ttft_p50_x_tuned"},
			{Key: TTFTP99, Unit: "ms"}, {Key: "ttft_p99_x_raw"}, {Key: "ttft_p99_x_tuned"},
			{Key: "latency_p50", Unit: "ms"}, {Key: "latency_p99", Unit: "ms"}, {Key: "requests", Unit: "1/s"},
			{Key: "workers"}, {Key: "spread"}, {Key: "rounds"}, {Key: "errors"},
		},
	}
	if o.Check {
		t.Columns = append(t.Columns, report.Column{Key: "wrong"}, report.Column{Key: "rounding"},
			report.Column{Key: "answers"})
	}
	for _, row := range o.Rows {
		addRow(t, row, o.contestants(), runs)
	}
	return t
}

// about says under which conditions the numbers hold.
func about(o Options) string {
	answers := strconv.Itoa(o.Answers.Min)
	if o.Answers.Max != o.Answers.Min {
		answers = fmt.Sprintf("%d to %d", o.Answers.Min, o.Answers.Max)
	}
	return fmt.Sprintf("one llama-server with lora per request as it comes (%s) and with one KV buffer for all slots "+
		"(%s), "+
		"a slot for each client, and the gateway; %d adapters, answers of %s tokens, prompts of about %d characters, %d "+
		"tokens a slot; "+
		"medians of the rounds; x is gateway / raw or raw-tuned; spread is the busiest worker's tokens / the mean worker's",
		Raw, RawTuned, len(o.Setup.Adapters), answers, o.Warmup.Chars, o.Setup.Context)
}

// addRow adds what there is of a row, the bare servers first.
func addRow(t *report.Table, row Row, contestants []contestant, runs map[cell][]run) {
	for _, kind := range []string{Raw, RawTuned, Gateway} {
		for _, c := range contestants {
			got := runs[cell{row, c.name}]
			if c.kind != kind || len(got) == 0 {
				continue
			}
			v := values(got)
			if kind == Gateway {
				addRatios(v, row, runs)
			} else {
				delete(v, "workers")
				delete(v, "spread")
			}
			t.Add([]string{row.Traffic, strconv.Itoa(row.Clients), c.name}, v)
		}
	}
}

// addRatios compares the gateway's values with those of the bare servers.
func addRatios(v map[string]float64, row Row, runs map[cell][]run) {
	for _, reference := range references {
		of := values(runs[cell{row, reference.name}])
		for _, key := range compared {
			mine, there := v[key]
			if other := of[key]; there && other > 0 {
				v[key+reference.suffix] = mine / other
			}
		}
	}
}

// values returns the medians over the rounds; errors and wrong answers are
// added up.
func values(runs []run) map[string]float64 {
	medians := map[string][]float64{}
	v := map[string]float64{"rounds": float64(len(runs))}
	for _, r := range runs {
		v["errors"] += float64(r.Errors)
		v["wrong"] += float64(r.wrong)
		v["rounding"] += float64(r.rounding)
		v["answers"] += float64(r.Requests)
		if r.Requests == 0 {
			continue // percentiles of nothing
		}
		for key, x := range map[string]float64{
			Output: r.TokensPerSecond, "requests": r.RequestsPerSecond,
			TTFTP50: load.Percentile(r.TTFT, 50), TTFTP99: load.Percentile(r.TTFT, 99),
			"latency_p50": load.Percentile(r.Latency, 50), "latency_p99": load.Percentile(r.Latency, 99),
			"workers": float64(r.workers), "spread": r.spread,
		} {
			medians[key] = append(medians[key], x)
		}
	}
	for key, x := range medians {
		v[key] = load.Median(x)
	}
	return v
}
