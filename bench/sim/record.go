package sim

import (
	"slices"
	"time"

	"github.com/loragate/loragate/internal/sched"
)

// overtaking is what a request saw happen to others while it waited.
type overtaking struct {
	turns, begun int // counters when it came, later what was added since
}

// tally is what is known of one adapter.
type tally struct {
	weight       float64
	tokens       int
	turns, begun int
	waiting      int // requests whose prompts were not begun
	waitSince    sched.Time
	waited       sched.Time // in which at least one request waited
}

// recorder watches a run. It decides nothing.
type recorder struct {
	adapters     map[string]*tally
	tokens       int
	turns, begun int // turns of adapters on servers, prompts begun
	reloads      int
	timeline     *Timeline // nil if nobody wants it
}

func newRecorder(timeline bool) *recorder {
	r := &recorder{adapters: map[string]*tally{}}
	if timeline {
		r.timeline = &Timeline{}
	}
	return r
}

func (r *recorder) of(adapter string) *tally {
	t := r.adapters[adapter]
	if t == nil {
		t = &tally{}
		r.adapters[adapter] = t
	}
	return t
}

func (r *recorder) arrive(j *job, now sched.Time) {
	t := r.of(j.Adapter)
	t.weight = j.weight()
	if t.waiting == 0 {
		t.waitSince = now
	}
	t.waiting++
	j.seen = overtaking{turns: r.turns - t.turns, begun: r.begun - t.begun}
}

func (r *recorder) noLongerWaits(j *job, now sched.Time) {
	t := r.of(j.Adapter)
	t.waiting--
	if t.waiting == 0 {
		t.waited += now - t.waitSince
	}
	j.seen = overtaking{turns: r.turns - t.turns - j.seen.turns, begun: r.begun - t.begun - j.seen.begun}
}

func (r *recorder) begin(j *job, now sched.Time) {
	r.noLongerWaits(j, now)
	r.begun++
	r.of(j.Adapter).begun++
}

func (r *recorder) end(j *job, now sched.Time) {
	if j.begun < 0 {
		r.noLongerWaits(j, now)
	}
	if r.timeline != nil && j.begun >= 0 {
		r.timeline.span(j, now)
	}
}

func (r *recorder) token(j *job) {
	r.tokens++
	r.of(j.Adapter).tokens++
}

// turn counts that a server takes up an adapter.
func (r *recorder) turn(adapter string) {
	r.turns++
	r.of(adapter).turns++
}

func (r *recorder) swap(s *server, j *job, from, to sched.Time) {
	r.turn(j.Adapter)
	if r.timeline != nil {
		r.timeline.swap(s.id, j.Adapter, from, to)
	}
}

func (r *recorder) sample(now sched.Time, waiting int) {
	if r.timeline != nil {
		r.timeline.sample(now, waiting)
	}
}

// stopwatch measures the time that a policy itself takes, which is real time.
type stopwatch struct {
	present time.Duration // since the last decision, which updates belong to
	all     []time.Duration
}

func (s *stopwatch) start() (stop func()) {
	begin := time.Now()
	return func() { s.present += time.Since(begin) }
}

func (s *stopwatch) decided() {
	s.all = append(s.all, s.present)
	s.present = 0
}

// Overhead is the real time that a policy took.
type Overhead struct {
	Decisions int `json:"decisions"`
	// Request is all of it by request, in microseconds; Mean, P99 and Max are of
	// one decision with the updates before it.
	Request float64 `json:"request_us"`
	Mean    float64 `json:"mean_us"`
	P99     float64 `json:"p99_us"`
	Max     float64 `json:"max_us"`
}

func (s *stopwatch) overhead(requests int) Overhead {
	n := len(s.all)
	if n == 0 || requests == 0 {
		return Overhead{}
	}
	slices.Sort(s.all)
	var sum time.Duration
	for _, d := range s.all {
		sum += d
	}
	us := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
	return Overhead{
		Decisions: n,
		Request:   us(sum) / float64(requests),
		Mean:      us(sum) / float64(n),
		P99:       us(s.all[n*99/100]),
		Max:       us(s.all[n-1]),
	}
}
