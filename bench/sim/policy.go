package sim

import (
	"fmt"
	"math"
	"slices"

	"github.com/loragate/loragate/internal/sched"
)

// Names of the policies.
const (
	Ours = "ours" // the gateway's scheduler
	LRU  = "lru"  // a gateway that swaps the least recently used idle worker
	// Raw and RawTuned are bare llama-servers, one on each device, which get
	// everything as it comes; RawTuned has one KV buffer for all slots.
	Raw      = "raw"
	RawTuned = "raw-tuned"
)

// Policies lists the policies' names.
func Policies() []string { return []string{Raw, RawTuned, LRU, Ours} }

// policy decides what runs where. It is told of everything before decide is
// called, once for each moment at which something happened.
type policy interface {
	// servers says what the policy wants to drive; the servers are spread over the
	// devices evenly.
	servers(o *Options) []serverKind
	// arrive queues a request. It may refuse it, or push out another one.
	arrive(j *job, now sched.Time) (evicted *job, admitted bool)
	leave(j *job, now sched.Time)  // a request that waits goes away
	finish(j *job, now sched.Time) // a request that was placed has ended
	decide(now sched.Time) (placed []placement, wake sched.Time)
	waiting() int
	retryAfter(now sched.Time) sched.Time
}

// serverKind says what a server is like.
type serverKind struct {
	slots int
	kv    KV
	raw   bool // it gets requests of several adapters at once
}

// workers are the servers of a gateway.
func workers(o *Options) []serverKind {
	return slices.Repeat([]serverKind{{slots: o.Slots, kv: o.KV}}, o.Workers)
}

// placement puts a request into a slot.
type placement struct {
	job    *job
	server int
	slot   int
	swap   bool
	erase  int // slots
	warm   int // bytes of the prompt that the slot holds
}

func newPolicy(name string, o *Options) (policy, error) {
	switch name {
	case Ours:
		return newOurs(o), nil
	case Raw:
		return newRaw(o, Split), nil
	case RawTuned:
		return newRaw(o, Unified), nil
	case LRU:
		return newLRU(o), nil
	}
	return nil, fmt.Errorf("no policy %q: there are %v", name, Policies())
}

// ours drives the gateway's scheduler.
type ours struct {
	s    *sched.Scheduler
	jobs map[sched.Ticket]*job
}

func newOurs(o *Options) *ours {
	s := sched.New(sched.Options{
		Quantum: o.Quantum.time(), ScaleOutAfter: o.Spread.time(), Queue: o.Queue, Together: o.MPS, Adjacent: o.KV == Split,
	})
	for i := range o.Workers {
		s.Up(i, o.Slots, fmt.Sprint("device", o.deviceOf(i)), 0)
	}
	return &ours{s: s, jobs: make(map[sched.Ticket]*job)}
}

func (p *ours) servers(o *Options) []serverKind { return workers(o) }

func (p *ours) arrive(j *job, now sched.Time) (*job, bool) {
	evicted, admitted := p.s.Arrive(sched.Request{
		Ticket:         j.ticket,
		Identity:       sched.Identity(j.Adapter),
		Exclusive:      j.Whole,
		PrefixHashes:   j.chain,
		Weight:         j.Weight,
		MaxConcurrency: j.MaxConcurrency,
		Since:          now,
	}, now)
	if !admitted {
		return nil, false
	}
	p.jobs[j.ticket] = j
	victim := p.jobs[evicted]
	delete(p.jobs, evicted)
	return victim, true
}

func (p *ours) leave(j *job, now sched.Time) {
	p.s.Leave(j.ticket, now)
	delete(p.jobs, j.ticket)
}

func (p *ours) finish(j *job, now sched.Time) {
	u := sched.Usage{Completion: j.tokens}
	if j.tokens > 0 {
		u.Prompt, u.Cached = j.PromptTokens, j.PromptTokens-max(1, j.PromptTokens-j.warm/bytesPerToken)
	}
	if j.tokens >= j.AnswerTokens { // of one that was cut off llama-server tells no times
		u.Reading, u.Generating = j.first-j.begun, now-j.first
	}
	p.s.Finish(j.ticket, u, now)
	delete(p.jobs, j.ticket)
}

func (p *ours) decide(now sched.Time) ([]placement, sched.Time) {
	actions, wake := p.s.Decide(now)
	placed := make([]placement, len(actions))
	for i, a := range actions {
		placed[i] = placement{
			job: p.jobs[a.Ticket], server: a.Worker, slot: max(0, a.Slot),
			swap: a.Kind == sched.Swap, erase: len(a.Erase), warm: a.Warm,
		}
	}
	return placed, wake
}

func (p *ours) waiting() int                         { return p.s.Waiting() }
func (p *ours) retryAfter(now sched.Time) sched.Time { return p.s.RetryAfter(now) }

// never is the wake-up time of policies that only wait for events.
const never sched.Time = math.MaxInt64
