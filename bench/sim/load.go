package sim

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"strconv"

	"github.com/loragate/loragate/internal/sched"
)

// Stream is one kind of traffic. Several make a load.
type Stream struct {
	Name string `json:"name"`
	// Arrivals is "closed", "poisson" or "bursty".
	Arrivals string `json:"arrivals"`
	// Clients of a closed loop ask again when their answer is complete, after
	// thinking.
	Clients int  `json:"clients,omitempty"`
	Think   Dist `json:"think,omitzero"` // seconds; also between the turns of a conversation
	// Rate is how many conversations, or requests, begin a second. Capacity sets it
	// as a multiple of what the workers could at best generate instead.
	Rate     float64 `json:"rate,omitempty"`
	Capacity float64 `json:"capacity,omitempty"`
	// Bursty traffic comes at Rate / BurstShare for BurstLength on average, and
	// not at all in between, so that Rate holds on the whole.
	BurstShare  float64 `json:"burst_share,omitempty"`
	BurstLength Seconds `json:"burst_length,omitempty"`

	// Adapters is among how many adapters requests choose, by a Zipf distribution
	// with the exponent Zipf: 0 chooses evenly.
	Adapters int     `json:"adapters"`
	Zipf     float64 `json:"zipf"`
	// Prefix begins the adapters' names. Streams with the same one share adapters.
	Prefix string `json:"prefix,omitempty"`
	Bytes  int64  `json:"bytes,omitempty"` // of each adapter's file

	Prompt Dist `json:"prompt"` // tokens that a turn adds
	Answer Dist `json:"answer"` // tokens
	// Turns makes conversations: each turn's prompt has all before it as its
	// beginning. None is requests that continue nothing.
	Turns Dist `json:"turns,omitzero"`

	// Tenant is whose requests they are, TenantWeight its share of an adapter's turns;
	// a step of Priority counts as Options.Aging that they have waited longer.
	Tenant       string  `json:"tenant,omitempty"`
	TenantWeight float64 `json:"tenant_weight,omitempty"`
	Priority     int     `json:"priority,omitempty"`

	Weight         float64 `json:"weight,omitempty"`
	MaxConcurrency int     `json:"max_concurrency,omitempty"`
	// WholeShare of the requests need a worker for themselves.
	WholeShare float64 `json:"whole_share,omitempty"`
	// CancelShare of the clients go away before the end, CancelAfter on average
	// after they asked.
	CancelShare float64 `json:"cancel_share,omitempty"`
	CancelAfter Seconds `json:"cancel_after,omitempty"`
}

// adapter returns the name of the n-th adapter.
func (s *Stream) adapter(n int) string { return fmt.Sprint(s.Prefix, n) }

func (s *Stream) check() error {
	if s.Adapters < 1 || s.Zipf < 0 {
		return fmt.Errorf("stream %q: adapters must be positive, zipf not negative", s.Name)
	}
	switch s.Arrivals {
	case "closed":
		if s.Clients < 1 {
			return fmt.Errorf("stream %q: a closed loop needs clients", s.Name)
		}
	case "bursty", "poisson":
		if s.Rate <= 0 && s.Capacity <= 0 {
			return fmt.Errorf("stream %q: rate or capacity must be positive", s.Name)
		}
		if s.Arrivals == "bursty" && (s.BurstShare <= 0 || s.BurstShare > 1 || s.BurstLength <= 0) {
			return fmt.Errorf("stream %q: burst_share must be in (0, 1], burst_length positive", s.Name)
		}
	default:
		return fmt.Errorf("stream %q: arrivals must be closed, poisson or bursty, not %q", s.Name, s.Arrivals)
	}
	for what, d := range map[string]*Dist{"think": &s.Think, "prompt": &s.Prompt, "answer": &s.Answer, "turns": &s.Turns} {
		if err := d.check(what); err != nil {
			return fmt.Errorf("stream %q: %w", s.Name, err)
		}
	}
	return nil
}

// source makes arrivals. Those of a closed loop depend on when earlier ones
// ended, not on the policy in any other way.
type source interface {
	first() []Request
	next(r Request) []Request // that come independently of how r fares, after r came
	ended(r Request, now sched.Time) (Request, bool)
}

// streams is the source of generated traffic.
type streams struct {
	opts    *Options
	byName  map[string]*stream
	ordered []*stream
}

// stream is the state of one Stream.
type stream struct {
	Stream
	rng     *rand.Rand // of an open loop's arrivals
	clients []*rand.Rand
	zipf    *zipf
	rate    float64
	on      bool       // bursty: within a burst
	flips   sched.Time // when that changes
	begun   int        // conversations
	talks   map[string]*talk
}

// talk is a conversation that goes on.
type talk struct {
	rng  *rand.Rand
	left int // turns after the present one
}

func newStreams(o *Options) *streams {
	all := &streams{opts: o, byName: map[string]*stream{}}
	for i, s := range o.Streams {
		st := &stream{Stream: s, zipf: newZipf(s.Adapters, s.Zipf), talks: map[string]*talk{}, rate: s.Rate}
		st.rng = rand.New(rand.NewPCG(o.Seed, uint64(i)<<32))
		if s.Capacity > 0 {
			st.rate = s.Capacity * o.capacity() / s.Answer.mean()
		}
		for c := range s.Clients {
			st.clients = append(st.clients, rand.New(rand.NewPCG(o.Seed, uint64(i)<<32|uint64(c+1))))
		}
		all.byName[s.Name] = st
		all.ordered = append(all.ordered, st)
	}
	return all
}

func (s *streams) first() []Request {
	var list []Request
	for _, st := range s.ordered {
		if st.Arrivals != "closed" {
			list = append(list, st.begin(st.rng, 0, st.gap(0)))
			continue
		}
		for i, rng := range st.clients {
			list = append(list, st.begin(rng, i+1, Seconds(st.Think.draw(rng)).time()))
		}
	}
	return list
}

func (s *streams) next(r Request) []Request {
	st := s.byName[r.Stream]
	if st.Arrivals == "closed" || r.Turn > 0 {
		return nil
	}
	return []Request{st.begin(st.rng, 0, st.gap(r.At.time()))}
}

func (s *streams) ended(r Request, now sched.Time) (Request, bool) {
	st := s.byName[r.Stream]
	if t := st.talks[r.Conversation]; t != nil {
		if t.left > 0 {
			t.left--
			return st.turn(t, r, now), true
		}
		delete(st.talks, r.Conversation)
	}
	if r.client == 0 {
		return Request{}, false
	}
	rng := st.clients[r.client-1]
	return st.begin(rng, r.client, now+Seconds(st.Think.draw(rng)).time()), true
}

// gap returns when the next arrival of an open loop comes after one at now.
func (st *stream) gap(now sched.Time) sched.Time {
	if st.Arrivals == "poisson" {
		return now + Seconds(st.rng.ExpFloat64()/st.rate).time()
	}
	for {
		if st.on {
			next := now + Seconds(st.rng.ExpFloat64()*st.BurstShare/st.rate).time()
			if next < st.flips {
				return next
			}
		}
		now = max(now, st.flips) // nothing comes before, and the past is forgotten
		st.on = !st.on
		mean := float64(st.BurstLength)
		if !st.on {
			mean *= (1 - st.BurstShare) / st.BurstShare
		}
		st.flips = now + Seconds(st.rng.ExpFloat64()*mean).time()
	}
}

// begin makes a request that continues nothing, or a conversation's first turn.
func (st *stream) begin(rng *rand.Rand, client int, at sched.Time) Request {
	r := Request{
		Stream:  st.Name,
		Adapter: st.adapter(st.zipf.draw(rng)), Bytes: st.Bytes,
		Weight: st.Weight, MaxConcurrency: st.MaxConcurrency,
		Tenant: st.Tenant, TenantWeight: st.TenantWeight, Priority: st.Priority,
		client: client,
	}
	if st.Turns.Kind != "" {
		st.begun++
		r.Conversation = st.Name + "/" + strconv.Itoa(client) + "/" + strconv.Itoa(st.begun)
		st.talks[r.Conversation] = &talk{rng: rng, left: st.Turns.tokens(rng, 1) - 1}
		if client == 0 { // later turns must not disturb the arrivals of others
			st.talks[r.Conversation].rng = rand.New(rand.NewPCG(rng.Uint64(), rng.Uint64()))
		}
	}
	return st.fill(r, rng, 0, at)
}

// turn makes the next turn of a conversation. Its prompt has all that was said.
func (st *stream) turn(t *talk, r Request, now sched.Time) Request {
	r.Turn++
	said := r.PromptTokens + r.AnswerTokens
	return st.fill(r, t.rng, said, now+Seconds(st.Think.draw(t.rng)).time())
}

func (st *stream) fill(r Request, rng *rand.Rand, said int, at sched.Time) Request {
	r.At = seconds(at)
	r.PromptTokens = said + st.Prompt.tokens(rng, 1)
	r.AnswerTokens = st.Answer.tokens(rng, 1)
	r.Whole = rng.Float64() < st.WholeShare
	r.CancelAfter = 0
	if rng.Float64() < st.CancelShare {
		r.CancelAfter = Seconds(math.Max(0.001, rng.ExpFloat64()*float64(st.CancelAfter)))
	}
	return r
}

// bytesPerToken turns the scheduler's bytes into the model's tokens.
const bytesPerToken = 4

// chains gives each turn of a conversation its chain: that of the turn before and
// one link more.
type chains map[string]sched.PrefixHashes

func (c chains) of(r *Request) sched.PrefixHashes {
	if r.Conversation == "" {
		return nil
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%s\x00%d", r.Conversation, r.Turn)
	before := c[r.Conversation]
	chain := append(before[:len(before):len(before)],
		sched.PrefixHash{Hash: h.Sum64(), Bytes: r.PromptTokens * bytesPerToken})
	c[r.Conversation] = chain
	return chain
}
