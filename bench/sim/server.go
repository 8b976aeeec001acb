package sim

import (
	"cmp"
	"slices"

	"github.com/loragate/loragate/internal/sched"
)

// device is a GPU, or a host's processors. Servers on it share its speed.
type device struct {
	id        int
	busy      int // servers in an iteration
	busySince sched.Time
	busyTime  sched.Time
}

func (d *device) begin(now sched.Time) {
	if d.busy == 0 {
		d.busySince = now
	}
	d.busy++
}

func (d *device) end(now sched.Time) {
	d.busy--
	if d.busy == 0 {
		d.busyTime += now - d.busySince
	}
}

// server is a modelled llama-server. It works in iterations, each of which gives
// every generating request of one adapter a token and reads prompts of that
// adapter. While any request of it generates, the others wait: the server drains,
// then changes.
type server struct {
	id     int
	device *device
	kv     KV
	costs  Costs
	// raw servers get requests of several adapters at once; of others the policy sees
	// to it that they do not.
	raw bool

	ready   sched.Time // when the calls of its last swap are done
	jobs    []*job     // in slots, by slot
	held    []int      // tokens in each slot's KV, and in all
	holds   int
	adapter string // of the last iteration
	busy    bool   // in an iteration
	queued  bool   // in the engine's list of servers that may begin one
	present iteration
}

func newServer(id int, d *device, kind serverKind, o *Options) *server {
	return &server{
		id: id, device: d, kv: kind.kv, raw: kind.raw, held: make([]int, kind.slots),
		costs: o.Model.costs(kind.kv, kind.slots*o.Context),
	}
}

// reset forgets what an earlier process held.
func (s *server) reset() {
	clear(s.held)
	s.ready, s.holds, s.adapter = 0, 0, ""
}

func (s *server) add(j *job) {
	i, _ := slices.BinarySearchFunc(s.jobs, j, bySlot)
	s.jobs = slices.Insert(s.jobs, i, j)
}

func (s *server) remove(j *job) {
	s.jobs = slices.DeleteFunc(s.jobs, func(x *job) bool { return x == j })
}

func bySlot(a, b *job) int { return cmp.Compare(a.slot, b.slot) }

// hold notes what a slot holds from now on.
func (s *server) hold(slot, tokens int) {
	s.holds += tokens - s.held[slot]
	s.held[slot] = tokens
}

// iteration is what one batch of llama-server does.
type iteration struct {
	generating []*job
	reading    []read
	changed    bool // the adapter
	sampled    []*job
}

// read is a part of a prompt.
type read struct {
	job    *job
	tokens int
}

// ends reports whether the prompt ends with it, and the first token follows.
func (r read) ends() bool { return r.tokens == r.job.unread }

// begin chooses what the next iteration does, as llama-server does
// (server_context::update_slots): the first slot that generates, or else the first
// that has a prompt, decides on the adapter. It reports whether there is anything to
// do.
func (s *server) begin() bool {
	it := &s.present
	*it = iteration{generating: it.generating[:0], reading: it.reading[:0], sampled: it.sampled[:0]}
	if len(s.jobs) == 0 {
		return false
	}
	lead := max(0, slices.IndexFunc(s.jobs, (*job).generates))
	it.changed = s.jobs[lead].Adapter != s.adapter
	s.adapter = s.jobs[lead].Adapter
	for _, j := range s.jobs {
		if j.Adapter == s.adapter && j.generates() {
			it.generating = append(it.generating, j)
		}
	}
	room := batchTokens - len(it.generating)
	for _, j := range s.jobs {
		if j.Adapter == s.adapter && !j.generates() && room > 0 {
			r := read{j, min(room, j.unread)}
			it.reading = append(it.reading, r)
			room -= r.tokens
		}
	}
	it.sampled = append(it.sampled, it.generating...)
	for _, r := range it.reading {
		if r.ends() {
			it.sampled = append(it.sampled, r.job)
		}
	}
	slices.SortFunc(it.sampled, bySlot)
	return true
}

func (j *job) generates() bool { return j.tokens > 0 }

// work is how long something takes: on the server's host, which the device's other
// servers do not slow down, and the rest, on a device of one's own.
type work struct{ host, rest float64 }

func (w work) alone() float64 { return w.host + w.rest }

// work is what the present iteration takes.
func (s *server) work() work {
	it, c := &s.present, &s.costs
	w := work{rest: c.step(max(1, len(it.sampled))) + float64(c.Held)*float64(s.heldBeside())}
	if it.changed {
		w.rest += float64(c.Change)
	}
	if len(it.reading) == 0 && s.kv == Unified {
		return w
	}
	stepping, reading := s.passes()
	w.rest += float64(max(0, stepping-1)) * float64(c.Pass)
	if stepping == 0 { // what a step's pass takes is in Reading
		w.host -= c.step(1)
	}
	// The host prepares a pass while the device works on the one before.
	hidden := 0.0
	for _, tokens := range reading {
		w.host += max(0, float64(c.Reading)-hidden)
		hidden = float64(tokens) * float64(c.Token)
		w.rest += hidden
	}
	return w
}

// heldBeside is how many tokens those slots hold that are not in the iteration.
func (s *server) heldBeside() int {
	n := s.holds
	for _, j := range s.present.generating {
		n -= s.held[j.slot]
	}
	for _, r := range s.present.reading {
		n -= s.held[r.job.slot]
	}
	return n
}

// passes returns how many passes over the model the iteration makes for requests
// that generate, and the tokens of each of the others. With one buffer for all slots
// prompts and steps are in the same ones.
func (s *server) passes() (stepping int, reading []int) {
	if s.kv == Unified {
		tokens := len(s.present.generating)
		for _, r := range s.present.reading {
			tokens += r.tokens
		}
		for ; tokens > 0; tokens -= passTokens {
			reading = append(reading, min(tokens, passTokens))
		}
		return 0, reading
	}
	for _, p := range split(&s.present) {
		if p.generates {
			stepping++
		} else {
			reading = append(reading, p.tokens)
		}
	}
	return stepping, reading
}

// pass is one pass over the model.
type pass struct {
	tokens    int
	generates bool // at least one of them is of a request that generates
}

// part is what of an iteration is left for later passes, of one slot.
type part struct {
	slot, tokens int
	generates    bool
}

// split cuts an iteration into passes as llama.cpp does when each slot has a KV
// cache of its own (llama_batch_allocr::split_equal): a pass takes slots whose
// numbers follow each other in the order of the batch, generating ones before those
// with prompts, and as many tokens of each, up to the end of the shortest.
func split(it *iteration) (passes []pass) {
	parts := make([]part, 0, len(it.generating)+len(it.reading))
	for _, j := range it.generating {
		parts = append(parts, part{j.slot, 1, true})
	}
	for _, r := range it.reading {
		parts = append(parts, part{r.job.slot, r.tokens, false})
	}
	for len(parts) > 0 {
		in, each := row(parts)
		each = min(each, max(1, passTokens/len(in)))
		p := pass{tokens: each * len(in)}
		for _, i := range in {
			parts[i].tokens -= each
			p.generates = p.generates || parts[i].generates
		}
		passes = append(passes, p)
		parts = slices.DeleteFunc(parts, func(p part) bool { return p.tokens == 0 })
	}
	return passes
}

// row returns the indices of the parts of the next pass, and the tokens of the
// shortest of them.
func row(parts []part) (in []int, shortest int) {
	for i, p := range parts {
		if len(in) == 0 || p.slot == parts[in[len(in)-1]].slot+1 {
			in = append(in, i)
			shortest = min(p.tokens, cmp.Or(shortest, p.tokens))
		}
	}
	return in, shortest
}
