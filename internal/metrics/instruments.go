package metrics

import "github.com/prometheus/client_golang/prometheus"

// Upper bounds in seconds. Those of the first token are the finest: percentiles
// are read from them.
var (
	waitBuckets = []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120}
	ttftBuckets = []float64{.005, .01, .02, .03, .05, .075, .1, .15, .2, .3, .5, .75, 1, 1.5, 2, 3, 5, 7.5, 10, 15, 30,
		60, 120}
	tokenBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}
	totalBuckets = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20, 30, 60, 120}
	swapBuckets  = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
)

// outcomes are in the order of Outcome.index.
var outcomes = [...]Outcome{OK, ClientGone, Failed, Rejected, Stopped}

func (o Outcome) index() int {
	switch o {
	case OK:
		return 0
	case ClientGone:
		return 1
	case Rejected:
		return 3
	case Stopped:
		return 4
	}
	return 2
}

// states are the label of what a lease found, in the order of stateIndex.
var states = [...]string{"warm", "swap", "reload", Other}

func stateIndex(state string) int {
	switch state {
	case states[0]:
		return 0
	case states[1]:
		return 1
	case states[2]:
		return 2
	}
	return 3
}

// knownReasons have a series from the start, so that a first rejection shows as
// an increase.
var knownReasons = [...]string{"queue_full", "queue_wait", "no_worker", "model_unavailable", "request_quarantined"}

// workerEnds have a series from the start for the same reason.
var workerEnds = [...]string{"crash", "outside", "memory", "kill"}

// instruments are what events are counted with. Children that the hot path
// needs are looked up once.
type instruments struct {
	requests, prompt, cached, completion *prometheus.CounterVec

	responses    *prometheus.CounterVec
	rejections   *prometheus.CounterVec
	workerEnds   *prometheus.CounterVec
	scrapeErrors *prometheus.CounterVec

	queueWait        prometheus.Histogram
	interToken       prometheus.Histogram
	durations        *prometheus.HistogramVec
	durationStreamed prometheus.Observer
	durationWhole    prometheus.Observer
	ttfts            *prometheus.HistogramVec
	ttft             [len(states)]prometheus.Histogram
	swapDuration     *prometheus.HistogramVec
}

// modelCounters are one model's children.
type modelCounters struct {
	outcomes                   [len(outcomes)]prometheus.Counter
	prompt, cached, completion prometheus.Counter
}

func newInstruments() *instruments {
	i := &instruments{
		requests:   counter("requests_total", "Requests that have ended, by model and by how.", "model", "outcome"),
		prompt:     counter("prompt_tokens_total", "Tokens of prompts, cached ones included.", "model"),
		cached:     counter("cached_tokens_total", "Tokens of prompts that a KV cache already held.", "model"),
		completion: counter("completion_tokens_total", "Tokens generated.", "model"),
		responses:  counter("responses_total", "Answers to requests, by HTTP status; 499 is a client that left.", "code"),
		rejections: counter("rejections_total", "Requests that were turned away before they ran.", "reason"),
		workerEnds: counter("worker_ends_total", "Ends of workers' processes that nobody asked for: crash, outside (a "+
			"signal from elsewhere), memory (workers.memory_limit) or kill (it hung, or could not be trusted).", "reason"),
		scrapeErrors: counter("worker_scrape_errors_total",
			"Scrapes that lack a worker's own series, because it did not answer in time or not in Prometheus' format.",
			"worker"),

		durations: histogram("request_duration_seconds",
			"From a request's arrival to the end of its answer, of requests that ran.", totalBuckets, "streamed"),
		ttfts: histogram("time_to_first_token_seconds", "From a request's arrival to the first byte of its stream.",
			ttftBuckets, "state"),
		swapDuration: histogram("swap_duration_seconds", "How long changing the applied adapter took.", swapBuckets,
			"worker"),
		queueWait: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "loragate_queue_wait_seconds", Help: "From a request's arrival to its lease.", Buckets: waitBuckets,
		}),
		interToken: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "loragate_inter_token_seconds", Help: "Between two chunks of a stream.", Buckets: tokenBuckets,
		}),
	}
	i.durationStreamed = i.durations.WithLabelValues("true")
	i.durationWhole = i.durations.WithLabelValues("false")
	for n, s := range states {
		i.ttft[n] = i.ttfts.WithLabelValues(s).(prometheus.Histogram)
	}
	for _, reason := range knownReasons {
		i.rejections.WithLabelValues(reason)
	}
	for _, reason := range workerEnds {
		i.workerEnds.WithLabelValues(reason)
	}
	return i
}

func (i *instruments) collectors() []prometheus.Collector {
	return []prometheus.Collector{
		i.requests, i.prompt, i.cached, i.completion, i.responses, i.rejections, i.workerEnds, i.scrapeErrors,
		i.queueWait, i.interToken, i.durations, i.ttfts, i.swapDuration,
	}
}

func (i *instruments) modelCounters(name string) *modelCounters {
	c := &modelCounters{
		prompt:     i.prompt.WithLabelValues(name),
		cached:     i.cached.WithLabelValues(name),
		completion: i.completion.WithLabelValues(name),
	}
	for n, o := range outcomes {
		c.outcomes[n] = i.requests.WithLabelValues(name, string(o))
	}
	return c
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "loragate_" + name, Help: help}, labels)
}

func histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "loragate_" + name, Help: help, Buckets: buckets},
		labels)
}
