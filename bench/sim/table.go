package sim

import (
	"io"

	"github.com/loragate/loragate/bench/report"
)

// WriteTable prints results for people, a row for each, and then each stream's
// if there are several.
func WriteTable(w io.Writer, results []*Result) error {
	if len(results) == 0 {
		return nil
	}
	if err := overall(results).Write(w); err != nil {
		return err
	}
	t := byStream(results)
	if len(t.Rows) == 0 {
		return nil
	}
	return t.Write(w)
}

func overall(results []*Result) *report.Table {
	t := &report.Table{
		Name: "simulation", About: "in virtual time; waits count until the run's end", Labels: []string{"scenario", "policy"},
		Columns: []report.Column{
			{Key: "tokens", Unit: "/s"}, {Key: "requests", Unit: "/s"},
			{Key: "ttft p50", Unit: "ms"}, {Key: "p90", Unit: "ms"}, {Key: "p99", Unit: "ms"}, {Key: "max", Unit: "ms"},
			{Key: "wait p50", Unit: "ms"}, {Key: "wait p99", Unit: "ms"}, {Key: "wait max", Unit: "ms"},
			{Key: "latency p50", Unit: "ms"}, {Key: "latency p99", Unit: "ms"},
			{Key: "swaps"}, {Key: "reloads"}, {Key: "misses", Unit: "%"}, {Key: "KV hits", Unit: "%"}, {Key: "fairness"},
			{Key: "among"}, {Key: "busy", Unit: "%"},
			{Key: "rejected"}, {Key: "foreign turns"}, {Key: "foreign requests"},
			{Key: "decision", Unit: "us"}, {Key: "decision p99", Unit: "us"}, {Key: "per request", Unit: "us"},
		},
	}
	for _, r := range results {
		t.Add([]string{r.Scenario, r.Policy}, map[string]float64{
			"tokens": r.TokensPerSecond, "requests": r.RequestsPerSecond,
			"ttft p50": 1e3 * r.TTFT.P50, "p90": 1e3 * r.TTFT.P90, "p99": 1e3 * r.TTFT.P99, "max": 1e3 * r.TTFT.Max,
			"wait p50": 1e3 * r.Wait.P50, "wait p99": 1e3 * r.Wait.P99, "wait max": 1e3 * r.Wait.Max,
			"latency p50": 1e3 * r.Latency.P50, "latency p99": 1e3 * r.Latency.P99,
			"swaps": float64(r.Swaps), "reloads": float64(r.Reloads), "misses": 100 * r.MissRate, "KV hits": 100 * r.KVHitRate,
			"fairness": r.Fairness, "among": float64(r.FairAmong), "busy": 100 * r.Utilisation,
			"rejected": float64(r.Rejected), "foreign turns": float64(r.ForeignTurns),
			"foreign requests": float64(r.ForeignRequests),
			"decision":         r.Overhead.Mean, "decision p99": r.Overhead.P99, "per request": r.Overhead.Request,
		})
	}
	return t
}

func byStream(results []*Result) *report.Table {
	t := &report.Table{
		Name: "streams", About: "what each kind of traffic got", Labels: []string{"scenario", "policy", "stream"},
		Columns: []report.Column{
			{Key: "tokens", Unit: "/s"}, {Key: "arrived"}, {Key: "finished"}, {Key: "rejected"},
			{Key: "ttft p50", Unit: "ms"}, {Key: "ttft p99", Unit: "ms"}, {Key: "wait p99", Unit: "ms"},
			{Key: "wait max", Unit: "ms"},
		},
	}
	for _, r := range results {
		if len(r.Streams) < 2 {
			continue
		}
		for _, s := range r.Streams {
			t.Add([]string{r.Scenario, r.Policy, s.Name}, map[string]float64{
				"tokens": s.TokensPerSecond, "arrived": float64(s.Arrived), "finished": float64(s.Finished),
				"rejected": float64(s.Rejected),
				"ttft p50": 1e3 * s.TTFT.P50, "ttft p99": 1e3 * s.TTFT.P99, "wait p99": 1e3 * s.Wait.P99,
				"wait max": 1e3 * s.Wait.Max,
			})
		}
	}
	return t
}
