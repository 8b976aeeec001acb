package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/loragate/loragate/internal/sched"
	"github.com/loragate/loragate/internal/sched/world"
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

// policy decides what runs where: the gateway's own scheduler, or what stands in its place.
// All but that have every adapter loaded, and do not know of requests that need a worker for
// themselves.
type policy interface {
	world.Scheduler
	Waiting() int
	RetryAfter(now sched.Time) time.Duration
}

// contest is a policy and the servers that it drives, which are spread over the devices
// evenly.
type contest struct {
	policy
	servers []serverKind
	up      int // of them, from the first on; the others wait to be started
}

// serverKind says what a server is like.
type serverKind struct {
	slots int
	kv    KV
	raw   bool // it gets requests of several adapters at once
}

func newContest(name string, o *Options) (*contest, error) {
	worker := serverKind{slots: o.Slots, kv: o.KV}
	switch name {
	case Ours:
		return &contest{newScheduler(o), slices.Repeat([]serverKind{worker}, o.Workers+o.Spare), o.Workers}, nil
	case LRU:
		return &contest{newLRU(o), slices.Repeat([]serverKind{worker}, o.Workers), o.Workers}, nil
	case Raw, RawTuned:
		bare := serverKind{slots: o.RawSlots, kv: Split, raw: true}
		if name == RawTuned {
			bare.kv = Unified
		}
		if bare.slots == 0 {
			bare.slots = o.Workers * o.Slots / o.Devices
		}
		return &contest{&raw{newSimple(o)}, slices.Repeat([]serverKind{bare}, o.Devices), o.Devices}, nil
	}
	return nil, fmt.Errorf("no policy %q: there are %v", name, Policies())
}

// newScheduler returns the gateway's scheduler, as the pool sets it up.
func newScheduler(o *Options) *sched.Scheduler {
	s := sched.New(sched.Options{
		Quantum: o.Quantum.time(), ScaleOutAfter: o.Spread.time(), Queue: o.Queue, Aging: o.Aging.time(),
		Together: o.MPS, Adjacent: o.KV == Split,
		Workers: o.Workers, Spares: o.Spare, ReloadInterval: o.ReloadInterval.time(),
		MaxLoaded: o.MaxLoaded, Memory: o.AdapterMemory,
	})
	if o.bounded() {
		s.SetStock(o.stock(), 0)
	}
	return s
}

// bounded reports whether workers cannot have every adapter loaded.
func (o *Options) bounded() bool { return o.MaxLoaded > 0 || o.AdapterMemory > 0 }

// stock lists the adapters' files: those of the streams, or of the trace.
func (o *Options) stock() (list []sched.Stock) {
	seen := map[string]bool{"": true}
	add := func(adapter string, bytes int64) {
		if !seen[adapter] {
			seen[adapter] = true
			list = append(list, sched.Stock{File: sched.File(adapter), Bytes: bytes})
		}
	}
	for _, r := range o.Trace {
		add(r.Adapter, r.Bytes)
	}
	if len(o.Trace) == 0 {
		for i := range o.Streams {
			for n := range o.Streams[i].Adapters {
				add(o.Streams[i].adapter(n), o.Streams[i].Bytes)
			}
		}
	}
	return list
}

// timed measures the real time that a policy takes.
type timed struct {
	policy
	clock *stopwatch
}

func (t timed) Arrive(r sched.Request, now sched.Time) (sched.Ticket, bool) {
	defer t.clock.start()()
	return t.policy.Arrive(r, now)
}

func (t timed) Finish(ticket sched.Ticket, u sched.Usage, now sched.Time) {
	defer t.clock.start()()
	t.policy.Finish(ticket, u, now)
}

func (t timed) Decide(now sched.Time) (actions []sched.Action, wake sched.Time) {
	stop := t.clock.start()
	actions, wake = t.policy.Decide(now)
	stop()
	t.clock.decided()
	return actions, wake
}
