package sim

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/loragate/loragate/bench/load"
	"github.com/loragate/loragate/internal/sched"
)

// measured is a row of `bench mixed` on one H200 (docs/benchmarks.md): medians of
// its rounds. A percentile of 0 was not written down.
type measured struct {
	Run     int    `json:"run"` // of the benchmark: 1 to 3
	Server  string `json:"server"`
	Traffic string `json:"traffic"`
	Clients int    `json:"clients"`
	MPS     bool   `json:"mps"`
	Rounds  int    `json:"rounds"`
	figures
	// Holds says that the prediction is within tolerance of all of them.
	Holds bool `json:"holds"`
}

// figures are what is compared.
type figures struct {
	Tokens float64 `json:"tokens_per_second"`
	P50    float64 `json:"ttft_p50_ms"`
	P99    float64 `json:"ttft_p99_ms"`
}

func (m *measured) String() string {
	name := fmt.Sprintf("%s, %s, %d clients", m.Server, m.Traffic, m.Clients)
	switch {
	case m.Run == 2:
		name += ", again"
	case m.Server == "gateway" && !m.MPS:
		name += ", no MPS"
	}
	return name
}

// What `bench mixed -tokens 64 -warm sparse` has everywhere.
const (
	mixedAdapters = 16
	mixedTokens   = 64
	mixedChars    = 400
)

// options is the scenario, without its requests.
func (m *measured) options() (o Options, policy string) {
	o = base("measured", "")
	o.Drain, o.RawSlots = true, m.Clients
	switch {
	case m.Server != "gateway":
		return o, m.Server
	case !m.MPS:
		o = inTurns(o)
	}
	return o, Ours
}

// trace is what the benchmark sent in one round.
func (m *measured) trace(round int) (list []Request) {
	for _, r := range load.Trace(load.TraceOptions{
		Seed: uint64(1 + round), Requests: 6 * m.Clients, Adapters: mixedAdapters, Single: m.Traffic == "single",
		Chars: mixedChars, Answers: load.Lengths{Min: mixedTokens, Max: mixedTokens},
	}) {
		list = append(list, Request{
			Stream: "measured", Adapter: fmt.Sprint(r.Adapter),
			PromptTokens: countTokens(r.Messages[0].Content), AnswerTokens: r.MaxTokens,
		})
	}
	return list
}

// countTokens counts the tokens of a prompt with the vocabulary of internal/randgguf's
// 3 B model: control tokens around it; a space and the small letters after it, three
// or, as far as 32,000 go, four; a byte each for the rest.
func countTokens(text string) int {
	const around, words = 4, 32000 - 261 // bos, user, end, assistant; bytes and control tokens
	n := around
	for rest := text; rest != ""; n++ {
		letters, index := 0, 0
		for letters < 4 && 1+letters < len(rest) && rest[0] == ' ' && 'a' <= rest[1+letters] && rest[1+letters] <= 'z' {
			index = (index+1)*26 + int(rest[1+letters]-'a') // of the stem's children
			if index >= words {
				break
			}
			letters++
		}
		rest = rest[1+letters:]
	}
	return n
}

// phases is a source of loads one after the other.
type phases struct {
	engine *engine
	list   []relay
	left   int // requests of the present one that have not ended
}

func (p *phases) first() []Request {
	p.left = len(p.list[0].rest)
	return p.list[0].first()
}

func (p *phases) next(Request) []Request { return nil }

func (p *phases) ended(r Request, now sched.Time) (Request, bool) {
	p.left--
	if next, ok := p.list[0].ended(r, now); ok || p.left > 0 || len(p.list) == 1 {
		return next, ok
	}
	p.list = p.list[1:]
	for _, r := range p.first() {
		r.At = seconds(now)
		p.engine.schedule(r)
	}
	return Request{}, false
}

// warmUp is what the benchmark sends before it measures: see load.Warmup.
func warmUp(workers, slots int) (list []relay) {
	rng := rand.New(rand.NewPCG(7, 7))
	add := func(identities []string, size, chars, tokens int) {
		var all []Request
		for _, identity := range identities {
			for range size {
				all = append(all, Request{
					Stream: "warm-up", Adapter: identity, PromptTokens: countTokens(load.Prompt(rng, chars)), AnswerTokens: tokens,
				})
			}
		}
		list = append(list, relay{rest: all, clients: len(all)})
	}
	var identities []string
	for i := range workers {
		identities = append(identities, fmt.Sprint(i))
	}
	for size := 1; size <= slots; size++ {
		if size <= 16 || size%8 == 0 {
			add(identities, size, 60, 8)
		}
	}
	for size := 1; size <= slots; size *= 2 {
		add([]string{"base"}, size, 60, 8)
	}
	add(identities, 1, mixedChars, 2)
	add(identities, slots, mixedChars, 2)
	return list
}

// predict simulates one round as the benchmark ran it.
func (m *measured) predict(t *testing.T, round int) figures {
	t.Helper()
	o, policy := m.options()
	workers, slots := o.Workers, o.Slots
	if policy != Ours {
		workers, slots = 1, o.RawSlots
	}
	o.Trace = m.trace(round) // for the check
	if err := o.check(); err != nil {
		t.Fatal(err)
	}
	e, err := newEngine(policy, &o)
	if err != nil {
		t.Fatal(err)
	}
	e.source = &phases{engine: e, list: append(warmUp(workers, slots), relay{rest: o.Trace, clients: m.Clients})}
	if err := e.run(); err != nil {
		t.Fatal(err)
	}
	var first, last sched.Time
	var ttft []float64
	for _, j := range e.jobs {
		if j.Stream != "measured" {
			continue
		}
		if len(ttft) == 0 {
			first = j.At.time()
		}
		last = max(last, j.ended)
		ttft = append(ttft, load.Milliseconds(j.first-j.At.time()))
	}
	if len(ttft) != len(o.Trace) {
		t.Fatalf("%s: %d of %d requests were measured", m, len(ttft), len(o.Trace))
	}
	return figures{
		Tokens: float64(len(ttft)*mixedTokens) / (last - first).Seconds(),
		P50:    load.Percentile(ttft, 50), P99: load.Percentile(ttft, 99),
	}
}

// off tells how far a prediction is off, as shares; the worst first.
func (m *measured) off(p figures) (worst float64, text string) {
	var b strings.Builder
	for _, c := range []struct {
		name      string
		got, want float64
	}{{"tokens/s", p.Tokens, m.Tokens}, {"p50", p.P50, m.P50}, {"p99", p.P99, m.P99}} {
		if c.want == 0 {
			fmt.Fprintf(&b, "  %s %6.0f, not measured", c.name, c.got)
			continue
		}
		off := c.got/c.want - 1
		worst = max(worst, math.Abs(off))
		fmt.Fprintf(&b, "  %s %6.0f, measured %6.0f, %+3.0f %%", c.name, c.got, c.want, 100*off)
	}
	return worst, b.String()
}

// tolerance is how far off a prediction may be.
const tolerance = 0.2

// TestPredictsWhatWasMeasured holds the simulator to the rows of which it predicts
// all figures, and tells of the others how far off it is. The gateway's rows depend
// on the scheduler as well: one that decides differently must be measured anew.
func TestPredictsWhatWasMeasured(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/mixed-h200.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows []measured
	if err := json.Unmarshal(text, &rows); err != nil {
		t.Fatal(err)
	}
	held := 0
	for _, m := range rows {
		var tokens, p50, p99 []float64
		for round := range m.Rounds {
			p := m.predict(t, round)
			tokens, p50, p99 = append(tokens, p.Tokens), append(p50, p.P50), append(p99, p.P99)
		}
		worst, text := m.off(figures{load.Median(tokens), load.Median(p50), load.Median(p99)})
		t.Logf("%-36s%s", m.String(), text)
		if m.Holds {
			held++
			if worst > tolerance {
				t.Errorf("%s: off by %.0f %%", m.String(), 100*worst)
			}
		}
	}
	if held < 6 {
		t.Errorf("%d rows hold", held)
	}
}
