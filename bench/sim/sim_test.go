package sim

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// long is a length for tests of which a part shows much already: a quarter of it with -short.
func long(length Seconds) Seconds {
	if testing.Short() {
		return length / 4
	}
	return length
}

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

// oneAdapter has a full batch at all times and nothing else to pay for.
func oneAdapter(t *testing.T, clients int) Options {
	o := preset(t, "single", long(60))
	o.Workers, o.Slots, o.RawSlots = 1, clients, clients
	for _, c := range []*Costs{&o.Model.Split, &o.Model.Unified} {
		c.Reading, c.Token, c.Call, c.Erase = c.Steps[0].Seconds, 0, 0, 0
		c.Steps = o.Model.Split.Steps
	}
	o.Streams[0].Clients, o.Streams[0].Prompt, o.Streams[0].Answer = clients, Fixed(1), Fixed(100)
	return o
}

func TestOneAdapterHasTheModelsThroughput(t *testing.T) {
	t.Parallel()
	for _, clients := range []int{1, 8, 20} {
		o := oneAdapter(t, clients)
		want := float64(clients) / o.Model.Split.step(clients)
		for name, r := range compare(t, o) {
			// Requests end one by one, and the next ones begin in between.
			if math.Abs(r.TokensPerSecond/want-1) > 0.03 {
				t.Errorf("%s, %d clients: %.1f tokens/s, want %.1f", name, clients, r.TokensPerSecond, want)
			}
			if r.Utilisation < 0.99 {
				t.Errorf("%s, %d clients: utilisation %v", name, clients, r.Utilisation)
			}
		}
	}
}

func TestEveryRequestIsAccountedForOnce(t *testing.T) {
	t.Parallel()
	for name := range Presets() {
		for _, drain := range []bool{false, true} {
			o := preset(t, name, 2)
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
	t.Parallel()
	for _, name := range []string{"conversations", "flood", "timeline"} {
		o := preset(t, name, long(20))
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
	t.Parallel()
	for _, name := range []string{"conversations", "mixed-in-turns", "flood"} {
		for _, policy := range Policies() {
			o := preset(t, name, long(15))
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
	t.Parallel()
	o := preset(t, "flood", 60)
	results := compare(t, o)
	for _, name := range []string{Raw, RawTuned, LRU} {
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
	alone := o.Model.Split.step(o.Slots)
	longest := 150 * (alone + o.beside(&o.Model.Split, o.Slots, 2, alone))
	const quantum = 3                                                    // the longest of an automatic one
	bound := 9 * (quantum + float64(o.Model.Split.Change) + longest) / 2 // 9 adapters, 2 workers
	if s.Wait.Max > bound {
		t.Errorf("a quiet request waited %.2f s, the bound is %.2f s", s.Wait.Max, bound)
	}
}

// TestRawServerDrains: a raw server runs one adapter after the other, and makes a pass
// over the model for each gap between the slots of one.
func TestRawServerDrains(t *testing.T) {
	took := func(policy string, adapters ...string) float64 {
		o := preset(t, "mixed", 60)
		o.Streams, o.RawSlots, o.Drain = nil, 8, true
		for _, a := range adapters {
			o.Trace = append(o.Trace, Request{Adapter: a, PromptTokens: 20, AnswerTokens: 200})
		}
		r, err := RunPolicy(o, policy)
		if err != nil {
			t.Fatal(err)
		}
		return r.Seconds
	}
	m := H200()
	step := m.Split.step
	for _, c := range []struct {
		name      string
		got, want float64
	}{
		{"one", took(Raw, "a", "a", "a", "a", "a", "a", "a", "a"), 200 * step(8)},
		{"eight", took(Raw, "a", "b", "c", "d", "e", "f", "g", "h"), 8 * 200 * step(1)},
		{"two, side by side", took(Raw, "a", "a", "a", "a", "b", "b", "b", "b"), 2 * 200 * step(4)},
		{"two, in turns of slots", took(Raw, "a", "b", "a", "b", "a", "b", "a", "b"),
			2 * 200 * (step(4) + 3*float64(m.Split.Pass))},
		{"two in one buffer", took(RawTuned, "a", "b", "a", "b", "a", "b", "a", "b"), 2 * 200 * m.Unified.step(4)},
	} {
		if more := c.got/c.want - 1; more < 0 || more > 0.1 { // the prompts and the changes
			t.Errorf("%s: %.2f s, of which steps are %.2f s", c.name, c.got, c.want)
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
	t.Parallel()
	for _, arrivals := range []string{"poisson", "bursty"} {
		o := preset(t, "scale", 20)
		o.Workers, o.Devices = 4, 4
		o.Streams[0].Arrivals, o.Streams[0].Rate = arrivals, 200
		o.Streams[0].BurstShare, o.Streams[0].BurstLength = 0.25, 0.2
		r, err := RunPolicy(o, Ours)
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
		"quantum":    func(o *Options) { o.Quantum = 0 },
		"devices":    func(o *Options) { o.Devices = 9 },
		"adapters":   func(o *Options) { o.Streams[0].Adapters = 0 },
		"weibull":    func(o *Options) { o.Streams[0].Answer.Kind = "weibull" },
		"steps":      func(o *Options) { o.Model.Split.Steps = nil },
		"mps true":   func(o *Options) { o.Model.MPS = nil },
		"max_loaded": func(o *Options) { o.MaxLoaded = -1 },
		"start":      func(o *Options) { o.MaxLoaded = 1 },
		"an adapter": func(o *Options) { o.AdapterMemory, o.Start, o.Streams[0].Bytes = 1, 1, 2 },
		"sideways":   func(o *Options) { o.KV = "sideways" },
		"sometimes":  func(o *Options) { o.Streams[0].Arrivals = "sometimes" },
	} {
		o := preset(t, "mixed", 1)
		spoil(&o)
		if _, err := RunPolicy(o, Ours); err == nil || !strings.Contains(err.Error(), want) {
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
	if err := DrawTimelines(io.Discard, []*Result{{}}); err == nil {
		t.Error("a run without a timeline was drawn")
	}
}

func TestTableHasEveryRun(t *testing.T) {
	results := compare(t, preset(t, "flood", 3))
	var out bytes.Buffer
	if err := WriteTable(&out, []*Result{results[RawTuned], results[Ours]}); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "flood "); n < 2+4 {
		t.Errorf("%d rows:\n%s", n, out.String())
	}
}

// TestReloads: workers that hold less reload more and miss more, and nothing is lost.
func TestReloads(t *testing.T) {
	t.Parallel()
	missed := 2.0
	for _, most := range []int{8, 32, 400} {
		o := preset(t, "reloads", 30)
		o.MaxLoaded, o.Drain = most, true
		r, err := RunPolicy(o, Ours)
		if err != nil {
			t.Fatal(err)
		}
		if r.Finished != r.Arrived || r.MissRate >= missed || (most == 400) != (r.Reloads == 0) {
			t.Errorf("with %d loaded %d of %d are served, %.3f missed, %d reloads",
				most, r.Finished, r.Arrived, r.MissRate, r.Reloads)
		}
		missed = r.MissRate
	}
	if missed != 0 {
		t.Errorf("where all is loaded a share of %.3f misses", missed)
	}
}

// TestMemoryIsABound: as many adapters are loaded as fit, by their sizes.
func TestMemoryIsABound(t *testing.T) {
	count := preset(t, "reloads", 20)
	bytes := count
	bytes.MaxLoaded, bytes.AdapterMemory = 0, 100*int64(count.MaxLoaded)
	bytes.Streams = slices.Clone(count.Streams)
	bytes.Streams[0].Bytes = 100
	a, err := RunPolicy(count, Ours)
	if err != nil {
		t.Fatal(err)
	}
	b, err := RunPolicy(bytes, Ours)
	if err != nil {
		t.Fatal(err)
	}
	if a.Finished != b.Finished || a.Reloads != b.Reloads {
		t.Errorf("%d served with %d reloads by count, %d with %d by bytes", a.Finished, a.Reloads, b.Finished, b.Reloads)
	}
}

// TestTenantsShareByWeight: four times the weight is four times the tokens, and a higher
// priority does not wait for either.
func TestTenantsShareByWeight(t *testing.T) {
	r, err := RunPolicy(preset(t, "tenants", 60), Ours)
	if err != nil {
		t.Fatal(err)
	}
	crowd, heavy, urgent := r.stream(t, "crowd"), r.stream(t, "heavy"), r.stream(t, "urgent")
	if ratio := heavy.TokensPerSecond / crowd.TokensPerSecond; ratio < 3.5 || ratio > 4.5 {
		t.Errorf("heavy got %.1f times the tokens", ratio)
	}
	if urgent.Wait.P99 > heavy.Wait.P50/4 {
		t.Errorf("urgent waited %.2f s, heavy %.2f s in median", urgent.Wait.P99, heavy.Wait.P50)
	}
}
