package sim

import (
	"bytes"
	_ "embed" // for the calibration
)

// h200 is what `bench calibrate` measured on one NVIDIA H200 (docs/benchmarks.md).
//
//go:embed h200.json
var h200 []byte

// H200 is a 3 B q4_0 model on one NVIDIA H200 with rank 8 adapters on q and v.
func H200() Model {
	m, err := Fit(bytes.NewReader(h200))
	if err != nil {
		panic(err) // the file is a part of the program
	}
	return m
}

// Presets are named scenarios.
func Presets() map[string]Options {
	list := []Options{
		mixed(), mixedInTurns(), single(), flood(), longShort(), conversations(), scale(), reloads(), tenants(),
		timelineScenario(),
	}
	presets := make(map[string]Options, len(list))
	for _, o := range list {
		presets[o.Name] = o
	}
	return presets
}

// base is what presets have in common: the model, and what the gateway chooses on a
// GPU with CUDA's multi-process service.
func base(name, about string) Options {
	return Options{
		Name: name, About: about, Seed: 1, Seconds: 120,
		Workers: 8, Slots: 16, Devices: 1, Queue: 1024, KV: Split, MPS: true, Context: 1024,
		Quantum: Auto, Spread: Auto, Model: H200(),
	}
}

// inTurns is what the gateway chooses on a GPU without the service.
func inTurns(o Options) Options {
	o.MPS, o.Workers, o.Slots = false, 2, 32
	return o
}

// mixedPrompt is how many tokens the prompts of `bench mixed` have on average.
const mixedPrompt = 244

func mixed() Options {
	o := base("mixed", "32 clients without pause, 16 adapters by Zipf's law, answers of 64 tokens, 8 workers of 16 "+
		"slots under MPS")
	o.RawSlots = 32
	o.Streams = []Stream{{
		Name: "clients", Arrivals: "closed", Clients: 32, Adapters: 16, Zipf: 1, Prefix: "a",
		Prompt: Fixed(mixedPrompt), Answer: Fixed(64),
	}}
	return o
}

func mixedInTurns() Options {
	o := inTurns(mixed())
	o.Name, o.About = "mixed-in-turns", "as mixed, without MPS on 2 workers of 32 slots"
	return o
}

func single() Options {
	o := mixed()
	o.Name, o.About = "single", "as mixed, with one adapter"
	o.Streams[0].Adapters = 1
	return o
}

func flood() Options {
	o := inTurns(base("flood", "one adapter at 4 times the capacity, 8 others at 0.25 requests/s each, 2 workers of 32 "+
		"slots without MPS"))
	o.Queue = 256
	o.Streams = []Stream{
		{Name: "flood", Arrivals: "poisson", Capacity: 4, Adapters: 1, Prefix: "hot",
			Prompt: Fixed(64), Answer: Dist{Kind: "uniform", Min: 50, Max: 150}},
		{Name: "trickle", Arrivals: "poisson", Rate: 2, Adapters: 8, Prefix: "quiet",
			Prompt: Fixed(64), Answer: Dist{Kind: "uniform", Min: 20, Max: 60}},
	}
	return o
}

func longShort() Options {
	o := base("long-short", "an adapter with answers of 2000 tokens and one with 20, 8 clients without pause each, 1 "+
		"worker of 16 slots")
	o.Workers, o.Context = 1, 4096
	o.Streams = []Stream{
		{Name: "long", Arrivals: "closed", Clients: 8, Adapters: 1, Prefix: "long",
			Prompt: Fixed(64), Answer: Fixed(2000)},
		{Name: "short", Arrivals: "closed", Clients: 8, Adapters: 1, Prefix: "short",
			Prompt: Fixed(64), Answer: Fixed(20)},
	}
	return o
}

func conversations() Options {
	o := base("conversations", "40 clients in conversations of about 6 turns with pauses, 16 adapters, 8 workers of 16 "+
		"slots under MPS")
	o.Context = 8192
	o.Streams = []Stream{{
		Name: "clients", Arrivals: "closed", Clients: 40, Adapters: 16, Zipf: 1, Prefix: "a",
		Think: Lognormal(6, 0.6, 60), Prompt: Lognormal(400, 0.5, 2000), Answer: Lognormal(120, 0.5, 600),
		Turns: Dist{Kind: "uniform", Min: 2, Max: 10}, CancelShare: 0.03, CancelAfter: 2,
	}}
	return o
}

func scale() Options {
	o := base("scale", "1000 requests/s for 10,000 adapters by Zipf's law, 64 workers of 32 slots on 64 devices")
	o.Seconds, o.Workers, o.Slots, o.Devices, o.Queue = 20, 64, 32, 64, 20000
	o.Streams = []Stream{{
		Name: "all", Arrivals: "poisson", Rate: 1000, Adapters: 10000, Zipf: 1, Prefix: "a",
		Prompt: Fixed(32), Answer: Dist{Kind: "uniform", Min: 4, Max: 12},
	}}
	return o
}

func reloads() Options {
	o := base("reloads", "64 clients without pause, 400 adapters by Zipf's law of which each of 8 workers may load 32, "+
		"starts of 4 s, 1 spare")
	o.MaxLoaded, o.ReloadInterval, o.Start, o.Spare = 32, 1, 4, 1
	o.Streams = []Stream{{
		Name: "clients", Arrivals: "closed", Clients: 64, Adapters: 400, Zipf: 1, Prefix: "a",
		Prompt: Fixed(mixedPrompt), Answer: Fixed(64),
	}}
	return o
}

func tenants() Options {
	o := inTurns(base("tenants", "one adapter for a tenant with 48 clients without pause, one of 4 times its weight, "+
		"and one of a higher priority, 1 worker of 16 slots"))
	o.Workers, o.Slots, o.Aging = 1, 16, 10
	crowd := Stream{
		Name: "crowd", Arrivals: "closed", Clients: 48, Adapters: 1, Prefix: "shared", Tenant: "crowd",
		Prompt: Fixed(64), Answer: Dist{Kind: "uniform", Min: 50, Max: 150},
	}
	heavy, urgent := crowd, crowd
	heavy.Name, heavy.Tenant, heavy.TenantWeight = "heavy", "heavy", 4
	urgent.Name, urgent.Tenant, urgent.Priority = "urgent", "urgent", 1
	urgent.Arrivals, urgent.Clients, urgent.Rate = "poisson", 0, 0.5
	o.Streams = []Stream{crowd, heavy, urgent}
	return o
}

// timelineScenario is small enough to be looked at request by request.
func timelineScenario() Options {
	o := base("timeline", "5 adapters, one of them hot, 2 workers of 4 slots without MPS, 12 s")
	o.Seconds, o.Workers, o.Slots, o.MPS, o.Timeline = 12, 2, 4, false, true
	o.Streams = []Stream{
		{Name: "hot", Arrivals: "closed", Clients: 8, Adapters: 1, Prefix: "hot",
			Prompt: Fixed(64), Answer: Dist{Kind: "uniform", Min: 60, Max: 180}},
		{Name: "quiet", Arrivals: "poisson", Rate: 1.2, Adapters: 4, Prefix: "quiet",
			Prompt: Fixed(64), Answer: Dist{Kind: "uniform", Min: 40, Max: 120}},
	}
	return o
}
