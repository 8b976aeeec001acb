package overhead

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/loragate/loragate/bench/report"
)

func (a *arena) tables(rounds map[key][]sample, memory map[string]int64) []*report.Table {
	conditions := fmt.Sprintf("an upstream that answers at once, on a Unix socket for the gateway and TCP for the "+
		"others; "+
		"all on the same %d cores, nginx with %d workers; medians of %d rounds",
		runtime.NumCPU(), nginxWorkers(), a.opts.Rounds)
	if len(a.missing) > 0 {
		conditions += "; not installed, so left out: " + strings.Join(a.missing, ", ")
	}
	overhead := &report.Table{
		Name:   "overhead",
		About:  "chat completions of 0.4 kB, answers of 0.7 kB, " + conditions,
		Labels: []string{"proxy", "concurrency"},
		Columns: []report.Column{
			{Key: "p50", Unit: "ms"}, {Key: "p90", Unit: "ms"}, {Key: "p99", Unit: "ms"}, {Key: "p50_added", Unit: "ms"},
			{Key: "requests", Unit: "1/s"}, {Key: "cpu", Unit: "us/request"}, {Key: "peak_memory", Unit: "MiB"},
		},
	}
	streamed := &report.Table{
		Name:   "streams",
		About:  fmt.Sprintf("%d streams of %d events at once, %s", streams, streamChunks, conditions),
		Labels: []string{"proxy", "concurrency"},
		Columns: []report.Column{
			{Key: "chunks", Unit: "1/s"}, {Key: "cpu", Unit: "us/chunk"}, {Key: "first_p50", Unit: "ms"},
			{Key: "first_p99", Unit: "ms"},
		},
	}
	for _, c := range cases() {
		for _, who := range a.contestants {
			samples, labels := rounds[key{who.name, c}], []string{who.name, strconv.Itoa(c.connections)}
			proxied := len(who.pids) > 0
			if c.stream {
				streamed.Add(labels, streamValues(samples, proxied))
				continue
			}
			values := requestValues(samples, proxied)
			if proxied {
				values["p50_added"] = added(samples, rounds[key{Direct, c}])
				values["peak_memory"] = float64(memory[who.name]) / (1 << 20)
			}
			overhead.Add(labels, values)
		}
	}
	return []*report.Table{overhead, streamed}
}

// medianOf is the median over the rounds of a quantity.
func medianOf(samples []sample, quantity func(s sample) float64) float64 {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = quantity(s)
	}
	return median(values)
}

func requestValues(samples []sample, proxied bool) map[string]float64 {
	values := map[string]float64{
		"p50":      medianOf(samples, func(s sample) float64 { return percentile(s.whole, 50) }),
		"p90":      medianOf(samples, func(s sample) float64 { return percentile(s.whole, 90) }),
		"p99":      medianOf(samples, func(s sample) float64 { return percentile(s.whole, 99) }),
		"requests": medianOf(samples, func(s sample) float64 { return float64(s.requests) / s.took.Seconds() }),
	}
	if proxied {
		values["cpu"] = medianOf(samples, func(s sample) float64 { return microseconds(s.cpu) / float64(s.requests) })
	}
	return values
}

func streamValues(samples []sample, proxied bool) map[string]float64 {
	values := map[string]float64{
		"chunks":    medianOf(samples, func(s sample) float64 { return float64(s.requests*streamChunks) / s.took.Seconds() }),
		"first_p50": medianOf(samples, func(s sample) float64 { return percentile(s.first, 50) }),
		"first_p99": medianOf(samples, func(s sample) float64 { return percentile(s.first, 99) }),
	}
	if proxied {
		values["cpu"] = medianOf(samples, func(s sample) float64 { return microseconds(s.cpu) / float64(s.requests*streamChunks) })
	}
	return values
}

// added is the median of what a proxy's p50 is above the direct one of the same
// round, in milliseconds.
func added(samples, direct []sample) float64 {
	differences := make([]float64, len(samples))
	for i := range samples {
		differences[i] = percentile(samples[i].whole, 50) - percentile(direct[i].whole, 50)
	}
	return median(differences)
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
