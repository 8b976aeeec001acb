package sim

import (
	"cmp"
	"math"
	"slices"

	"github.com/loragate/loragate/internal/sched"
)

// Result is what one policy made of one load. Times are in seconds. All but
// Overhead is the same for the same Options.
type Result struct {
	Scenario string  `json:"scenario,omitempty"`
	Policy   string  `json:"policy"`
	Seconds  float64 `json:"seconds"` // that the run took, in virtual time

	// Every request that arrived is in exactly one of these.
	Finished  int `json:"finished"`
	Cancelled int `json:"cancelled"`
	Rejected  int `json:"rejected"`
	Running   int `json:"running"` // its prompt was begun, at the end of the run
	Waiting   int `json:"waiting"` // at the end of the run
	Arrived   int `json:"arrived"` // the sum

	TokensPerSecond   float64 `json:"tokens_per_second"` // generated
	RequestsPerSecond float64 `json:"requests_per_second"`

	// TTFT is from arrival to the first token, Wait until the prompt is begun, a
	// swap included. Requests that still waited at the end count with what they
	// had waited by then, those that were refused or went away before do not
	// count. Latency is of finished requests.
	TTFT    Spread `json:"ttft"`
	Wait    Spread `json:"wait"`
	Latency Spread `json:"latency"`

	Swaps int `json:"swaps"` // on one raw server: times it took up an adapter
	// Reloads is how often a worker restarted to load other adapters, MissRate the share
	// of the begun requests whose adapter nobody had loaded when they came.
	Reloads  int     `json:"reloads,omitempty"`
	MissRate float64 `json:"miss_rate,omitempty"`
	// KVHitRate is the share of the begun prompts' bytes that slots held already.
	KVHitRate float64 `json:"kv_hit_rate"`
	// Fairness is Jain's index, (sum x)^2 / (n sum x^2), where x is the tokens
	// that an adapter was given over its weight, of those adapters that had a
	// request waiting for at least half of the run: 1 if all were given the same,
	// 1/n if one was given everything. FairAmong is n; with less than two there
	// was no contest and the index is 1.
	Fairness  float64 `json:"fairness"`
	FairAmong int     `json:"fair_among"`
	// Utilisation is the share of the time in which a device was in a step.
	Utilisation float64 `json:"utilisation"`
	// ForeignTurns is how many turns of other adapters began while one request
	// waited, at most; ForeignRequests how many requests of other adapters were
	// begun.
	ForeignTurns    int `json:"foreign_turns"`
	ForeignRequests int `json:"foreign_requests"`

	Streams  []StreamResult `json:"streams,omitempty"` // by name
	Overhead Overhead       `json:"overhead"`

	Trace    []Request `json:"-"` // all arrivals, to be replayed
	Timeline *Timeline `json:"-"` // if Options.Timeline
}

// StreamResult is what requests of one stream got.
type StreamResult struct {
	Name            string  `json:"name"`
	Arrived         int     `json:"arrived"`
	Finished        int     `json:"finished"`
	Rejected        int     `json:"rejected"`
	TokensPerSecond float64 `json:"tokens_per_second"`
	TTFT            Spread  `json:"ttft"`
	Wait            Spread  `json:"wait"`
}

// Spread is how values are distributed.
type Spread struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// spread sorts values in place.
func spread(values []float64) Spread {
	n := len(values)
	if n == 0 {
		return Spread{}
	}
	slices.Sort(values)
	at := func(p float64) float64 { return values[max(0, int(math.Ceil(p*float64(n)))-1)] }
	return Spread{P50: at(0.5), P90: at(0.9), P99: at(0.99), Max: values[n-1]}
}

// sums collects what is asked of requests, all or a stream's.
type sums struct {
	ttft, wait, latency         []float64
	arrived, finished, rejected int
	cancelled, running, waiting int
	tokens                      int
	warm, prompt                int
	begun, missed               int
	seen                        overtaking
}

func (s *sums) add(j *job, now sched.Time) {
	s.arrived++
	s.tokens += j.tokens
	since := func(t sched.Time) float64 { return float64(seconds(t - j.At.time())) }
	switch j.result {
	case finished:
		s.finished++
		s.latency = append(s.latency, since(j.ended))
	case cancelled:
		s.cancelled++
	case rejected:
		s.rejected++
	case unfinished:
		if j.begun >= 0 {
			s.running++
		} else {
			s.waiting++
			s.wait = append(s.wait, since(now))
		}
		if j.first < 0 {
			s.ttft = append(s.ttft, since(now))
		}
	}
	if j.begun >= 0 {
		s.wait = append(s.wait, since(j.begun))
		s.begun++
		if j.in.Missed {
			s.missed++
		}
		s.warm += j.warm
		s.prompt += j.PromptTokens * bytesPerToken
	}
	if j.first >= 0 {
		s.ttft = append(s.ttft, since(j.first))
	}
	s.seen.turns = max(s.seen.turns, j.seen.turns)
	s.seen.begun = max(s.seen.begun, j.seen.begun)
}

// result sums a run up.
func (e *engine) result(scenario, name string) *Result {
	all, byStream := &sums{}, map[string]*sums{}
	trace := make([]Request, 0, len(e.jobs))
	for _, j := range e.jobs {
		if j.result == unfinished && j.begun < 0 {
			e.rec.noLongerWaits(j, e.Now())
		}
		all.add(j, e.Now())
		if byStream[j.Stream] == nil {
			byStream[j.Stream] = &sums{}
		}
		byStream[j.Stream].add(j, e.Now())
		trace = append(trace, j.Request)
	}
	took := float64(seconds(e.Now()))
	r := &Result{
		Scenario: scenario, Policy: name, Seconds: took,
		Finished: all.finished, Cancelled: all.cancelled, Rejected: all.rejected,
		Running: all.running, Waiting: all.waiting, Arrived: all.arrived,
		TokensPerSecond: ratio(float64(e.rec.tokens), took), RequestsPerSecond: ratio(float64(all.finished), took),
		TTFT: spread(all.ttft), Wait: spread(all.wait), Latency: spread(all.latency),
		Swaps: e.rec.turns, Reloads: e.rec.reloads, MissRate: ratio(float64(all.missed), float64(all.begun)),
		KVHitRate:    ratio(float64(all.warm), float64(all.prompt)),
		ForeignTurns: all.seen.turns, ForeignRequests: all.seen.begun,
		Overhead: e.clock.overhead(len(e.jobs)), Trace: trace, Timeline: e.rec.timeline,
	}
	r.Fairness, r.FairAmong = e.rec.fairness(e.Now())
	r.Utilisation = e.utilisation()
	for stream, s := range byStream {
		r.Streams = append(r.Streams, StreamResult{
			Name: stream, Arrived: s.arrived, Finished: s.finished, Rejected: s.rejected,
			TokensPerSecond: ratio(float64(s.tokens), took), TTFT: spread(s.ttft), Wait: spread(s.wait),
		})
	}
	slices.SortFunc(r.Streams, func(a, b StreamResult) int { return cmp.Compare(a.Name, b.Name) })
	if r.Timeline != nil {
		r.Timeline.close(e, name)
	}
	return r
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

func (e *engine) utilisation() float64 {
	var busy sched.Time
	for _, d := range e.devices {
		busy += d.busyTime
		if d.busy > 0 {
			busy += e.Now() - d.busySince
		}
	}
	return ratio(float64(busy), float64(e.Now())*float64(len(e.devices)))
}

func (r *recorder) fairness(now sched.Time) (index float64, among int) {
	sum, squares := 0.0, 0.0
	for _, name := range sortedKeys(r.adapters) { // sums of floats depend on their order
		t := r.adapters[name]
		if 2*t.waited < now {
			continue
		}
		x := float64(t.tokens) / t.weight
		sum += x
		squares += x * x
		among++
	}
	if among < 2 || squares == 0 {
		return 1, among
	}
	return sum * sum / (float64(among) * squares), among
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
