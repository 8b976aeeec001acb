package sim

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

// preset returns a named scenario, cut to so many seconds.
func preset(t *testing.T, name string, length Seconds) Options {
	t.Helper()
	o, ok := Presets()[name]
	if !ok {
		t.Fatalf("there is no preset %q", name)
	}
	o.Seconds = min(o.Seconds, length)
	return o
}

func compare(t *testing.T, o Options) map[string]*Result {
	t.Helper()
	results, err := Compare(o, nil)
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]*Result{}
	for _, r := range results {
		byName[r.Policy] = r
	}
	return byName
}

func TestStepIsInterpolated(t *testing.T) {
	m := Model{Batch: []BatchSpeed{{1, 100}, {5, 250}, {9, 300}}} // steps of 10, 20, 30 ms
	for batch, want := range map[int]time.Duration{
		1: 10 * time.Millisecond, 3: 15 * time.Millisecond, 5: 20 * time.Millisecond,
		7: 25 * time.Millisecond, 9: 30 * time.Millisecond, 13: 40 * time.Millisecond,
	} {
		if got := m.Step(batch); got != want {
			t.Errorf("step of %d = %v, want %v", batch, got, want)
		}
	}
}

func TestSlowdownOfSharedDevice(t *testing.T) {
	m := Model{Share: []float64{1, 1.25}}
	for k, want := range map[int]float64{0: 1, 1: 1, 2: 1.6, 5: 4} {
		if got := m.slowdown(k); got != want {
			t.Errorf("slowdown of %d = %v, want %v", k, got, want)
		}
	}
}

// oneAdapter has a full batch at all times and nothing else to pay for.
func oneAdapter(t *testing.T, clients int) Options {
	o := preset(t, "mixed", 60)
	o.Slots = clients
	o.Model.PrefillOverhead, o.Model.PrefillRate = 0, 1e12
	o.Streams = []Stream{{
		Name: "one", Arrivals: "closed", Clients: clients, Adapters: 1, Prefix: "a",
		Prompt: Fixed(1), Answer: Fixed(100),
	}}
	return o
}

func TestOneAdapterHasTheModelsThroughput(t *testing.T) {
	for _, clients := range []int{1, 8, 20} {
		o := oneAdapter(t, clients)
		want := float64(clients) / o.Model.Step(clients).Seconds()
		for name, r := range compare(t, o) {
			if math.Abs(r.TokensPerSecond/want-1) > 0.005 {
				t.Errorf("%s, %d clients: %.1f tokens/s, want %.1f", name, clients, r.TokensPerSecond, want)
			}
			if r.Utilisation < 0.99 {
				t.Errorf("%s, %d clients: utilisation %v", name, clients, r.Utilisation)
			}
		}
	}
}

func TestEveryRequestIsAccountedForOnce(t *testing.T) {
	for name := range Presets() {
		for _, drain := range []bool{false, true} {
			o := preset(t, name, 5)
			o.Drain = drain
			o.Queue = 40
			for i := range o.Streams {
				o.Streams[i].CancelShare, o.Streams[i].CancelAfter = 0.2, 0.5
				o.Streams[i].WholeShare = 0.1
			}
			for policy, r := range compare(t, o) {
				sum := r.Finished + r.Cancelled + r.Rejected + r.Running + r.Waiting
				if r.Arrived != sum || r.Arrived != len(r.Trace) || r.Arrived == 0 {
					t.Errorf("%s, %s: %d arrived, %d in the trace, %d accounted for", name, policy, r.Arrived, len(r.Trace), sum)
				}
				if drain && r.Running+r.Waiting > 0 {
					t.Errorf("%s, %s: after draining %d run and %d wait", name, policy, r.Running, r.Waiting)
				}
			}
		}
	}
}

// numbers returns a result without what real time is in.
func numbers(r *Result) Result {
	n := *r
	n.Overhead = Overhead{}
	return n
}

func TestSameSeedSameResult(t *testing.T) {
	for _, name := range []string{"conversations", "flood", "timeline"} {
		o := preset(t, name, 20)
		first, again := compare(t, o), compare(t, o)
		o.Seed++
		other := compare(t, o)
		for _, p := range Policies() {
			if !reflect.DeepEqual(numbers(first[p]), numbers(again[p])) {
				t.Errorf("%s, %s: two runs differ", name, p)
			}
			if reflect.DeepEqual(first[p].Trace, other[p].Trace) {
				t.Errorf("%s, %s: another seed gives the same arrivals", name, p)
			}
		}
	}
}

func TestTraceReplaysExactly(t *testing.T) {
	for _, name := range []string{"conversations", "mixed4", "flood"} {
		for _, policy := range Policies() {
			o := preset(t, name, 30)
			o.Timeline = true
			recorded, err := RunPolicy(o, policy)
			if err != nil {
				t.Fatal(err)
			}
			var file bytes.Buffer
			if err := WriteTrace(&file, recorded.Trace); err != nil {
				t.Fatal(err)
			}
			if o.Trace, err = ReadTrace(&file); err != nil {
				t.Fatal(err)
			}
			o.Streams = nil
			replayed, err := RunPolicy(o, policy)
			if err != nil {
				t.Fatal(err)
			}
			a, b := numbers(recorded), numbers(replayed)
			a.Trace, b.Trace = nil, nil // a client's number is not written
			if !reflect.DeepEqual(a, b) {
				t.Errorf("%s, %s: the replay differs:\n%+v\n%+v", name, policy, a, b)
			}
		}
	}
}

func TestReadTraceNamesWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		`[{"at":1,"adaptor":"x","answer_tokens":1}]`:                                       "adaptor",
		`[{"at":0,"adapter":"x","answer_tokens":1},{"at":1,"adapter":"x"}]`:                "request 1",
		`[{"at":-1,"adapter":"x","answer_tokens":1}]`:                                      "request 0",
		`[{"at":1,"adapter":"x","prompt_tokens":3,"answer_tokens":2,"cancel_after":-0.5}]`: "cancel_after",
	} {
		if _, err := ReadTrace(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v does not name %s", text, err, want)
		}
	}
}

func (r *Result) stream(t *testing.T, name string) StreamResult {
	t.Helper()
	for _, s := range r.Streams {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("%s has no stream %q", r.Policy, name)
	return StreamResult{}
}

// TestFlood: the flooded server starves others, the scheduler bounds their wait
// by all adapters' quanta and longest generations.
func TestFlood(t *testing.T) {
	o := preset(t, "flood", 60)
	results := compare(t, o)
	for _, name := range []string{Naive, LRU} {
		s := results[name].stream(t, "trickle")
		if s.Finished*2 > s.Arrived {
			t.Errorf("%s served %d of %d: the scenario shows no starvation", name, s.Finished, s.Arrived)
		}
	}
	r := results[Ours]
	s := r.stream(t, "trickle")
	if s.Rejected > 0 || s.Finished < s.Arrived-8 {
		t.Errorf("of %d quiet requests %d were served and %d refused", s.Arrived, s.Finished, s.Rejected)
	}
	longest := 150 * o.Model.Step(o.Slots).Seconds() * o.Model.slowdown(2)
	bound := 9 * (float64(o.Quantum+o.Model.Swap) + longest) / 2 // 9 adapters, 2 workers
	if s.Wait.Max > bound {
		t.Errorf("a quiet request waited %.2f s, the bound is %.2f s", s.Wait.Max, bound)
	}
}

func TestRawServerMatchesMeasurements(t *testing.T) {
	speed := func(adapters ...string) float64 {
		o := preset(t, "mixed", 60)
		o.Streams, o.Slots, o.Drain = nil, 8, true
		for _, a := range adapters {
			o.Trace = append(o.Trace, Request{Adapter: a, PromptTokens: 64, AnswerTokens: 200})
		}
		r, err := RunPolicy(o, Naive)
		if err != nil {
			t.Fatal(err)
		}
		return r.TokensPerSecond
	}
	for _, c := range []struct {
		got, want float64
	}{
		{speed("a", "a", "a", "a", "a", "a", "a", "a"), 868},
		{speed("a", "b", "c", "d", "e", "f", "g", "h"), 219},
		{speed("a", "a", "a", "a", "b", "b", "b", "b"), 128},
	} {
		if math.Abs(c.got/c.want-1) > 0.1 {
			t.Errorf("%.0f tokens/s, measured were %.0f", c.got, c.want)
		}
	}
}

func TestConversationsKeepTheirKV(t *testing.T) {
	o := preset(t, "conversations", 60)
	o.Workers = 1
	o.Streams[0].Adapters, o.Streams[0].Clients = 1, 8 // a slot for each
	for name, r := range compare(t, o) {
		if r.KVHitRate < 0.5 {
			t.Errorf("%s: KV hit rate %v", name, r.KVHitRate)
		}
	}
}

func TestLoads(t *testing.T) {
	for _, arrivals := range []string{"poisson", "bursty"} {
		o := preset(t, "scale", 20)
		o.Workers, o.Devices = 4, 4
		o.Streams[0].Arrivals, o.Streams[0].Rate = arrivals, 200
		o.Streams[0].BurstShare, o.Streams[0].BurstLength = 0.25, 0.2
		r, err := Run(o)
		if err != nil {
			t.Fatal(err)
		}
		if rate := float64(r.Arrived) / 20; math.Abs(rate/200-1) > 0.2 {
			t.Errorf("%s: %v requests/s, want about 200", arrivals, rate)
		}
	}
}

func TestOptionsAreJSON(t *testing.T) {
	for name, o := range Presets() {
		text, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		var back Options
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		back.Timeline = o.Timeline
		if !reflect.DeepEqual(o, back) {
			t.Errorf("%s: %+v became %+v", name, o, back)
		}
	}
}

func TestBadOptionsAreNamed(t *testing.T) {
	for want, spoil := range map[string]func(*Options){
		"quantum":     func(o *Options) { o.Quantum = 0 },
		"devices":     func(o *Options) { o.Devices = 2 },
		"adapters":    func(o *Options) { o.Streams[0].Adapters = 0 },
		"weibull":     func(o *Options) { o.Streams[0].Answer.Kind = "weibull" },
		"model.batch": func(o *Options) { o.Model.Batch = nil },
		"sometimes":   func(o *Options) { o.Streams[0].Arrivals = "sometimes" },
	} {
		o := preset(t, "mixed", 1)
		spoil(&o)
		if _, err := Run(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %s", err, want)
		}
	}
	if _, err := RunPolicy(preset(t, "mixed", 1), "magic"); err == nil || !strings.Contains(err.Error(), "magic") {
		t.Errorf("error %v does not name the policy", err)
	}
}

func TestTimelineIsXML(t *testing.T) {
	results, err := Compare(preset(t, "timeline", 12), []string{LRU, Ours})
	if err != nil {
		t.Fatal(err)
	}
	var svg bytes.Buffer
	if err := DrawTimelines(&svg, results); err != nil {
		t.Fatal(err)
	}
	text := svg.String()
	for _, want := range []string{"hot0, ", "swap to quiet", "drains for quiet", "waiting", "prefers-color-scheme"} {
		if !strings.Contains(text, want) {
			t.Errorf("the drawing has no %q", want)
		}
	}
	for d := xml.NewDecoder(&svg); ; {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := DrawTimeline(io.Discard, &Result{}); err == nil {
		t.Error("a run without a timeline was drawn")
	}
}

func TestTableHasEveryRun(t *testing.T) {
	results := compare(t, preset(t, "flood", 3))
	var out bytes.Buffer
	if err := WriteTable(&out, []*Result{results[Naive], results[Ours]}); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "flood "); n < 2+4 {
		t.Errorf("%d rows:\n%s", n, out.String())
	}
}
