package sim

// Presets are named scenarios.
func Presets() map[string]Options {
	list := []Options{mixed(), mixedH200(), mixed4(), flood(), longShort(), conversations(), scale(), timelineScenario()}
	presets := make(map[string]Options, len(list))
	for _, o := range list {
		presets[o.Name] = o
	}
	return presets
}

// base is what presets have in common.
func base(name, about string) Options {
	return Options{
		Name: name, About: about, Seed: 1, Seconds: 120,
		Workers: 1, Slots: 32, Devices: 1, Queue: 1024,
		Quantum: 1, Spread: 0.1, Model: DefaultModel(),
	}
}

func mixed() Options {
	o := base("mixed", "32 clients without pause, 16 adapters by Zipf's law, answers of 200 tokens, 1 worker of 32 slots")
	o.Streams = []Stream{{
		Name: "clients", Arrivals: "closed", Clients: 32, Adapters: 16, Zipf: 1, Prefix: "a",
		Prompt: Fixed(64), Answer: Fixed(200),
	}}
	return o
}

func mixedH200() Options {
	o := mixed()
	o.Name, o.Model = "mixed-h200", H200Model()
	o.About = "as mixed, with answers of 64 tokens, on the H200 that was measured"
	o.Streams[0].Answer = Fixed(64)
	return o
}

func mixed4() Options {
	o := mixed()
	o.Name, o.Workers, o.Slots = "mixed4", 4, 8
	o.About = "as mixed, but 4 workers of 8 slots on one device"
	return o
}

func flood() Options {
	o := base("flood", "one adapter at 4 times the capacity, 8 others at 0.25 requests/s each, 2 workers of 8 slots on one device")
	o.Workers, o.Slots, o.Queue = 2, 8, 256
	o.Streams = []Stream{
		{Name: "flood", Arrivals: "poisson", Capacity: 4, Adapters: 1, Prefix: "hot",
			Prompt: Fixed(64), Answer: Dist{Kind: "uniform", Min: 50, Max: 150}},
		{Name: "trickle", Arrivals: "poisson", Rate: 2, Adapters: 8, Prefix: "quiet",
			Prompt: Fixed(64), Answer: Dist{Kind: "uniform", Min: 20, Max: 60}},
	}
	return o
}

func longShort() Options {
	o := base("long-short", "an adapter with answers of 2000 tokens and one with 20, 8 clients without pause each, 1 worker of 16 slots")
	o.Slots = 16
	o.Streams = []Stream{
		{Name: "long", Arrivals: "closed", Clients: 8, Adapters: 1, Prefix: "long",
			Prompt: Fixed(64), Answer: Fixed(2000)},
		{Name: "short", Arrivals: "closed", Clients: 8, Adapters: 1, Prefix: "short",
			Prompt: Fixed(64), Answer: Fixed(20)},
	}
	return o
}

func conversations() Options {
	o := base("conversations", "40 clients in conversations of about 6 turns with pauses, 16 adapters, 4 workers of 16 slots on one device")
	o.Workers, o.Slots = 4, 16
	o.Streams = []Stream{{
		Name: "clients", Arrivals: "closed", Clients: 40, Adapters: 16, Zipf: 1, Prefix: "a",
		Think: Lognormal(6, 0.6, 60), Prompt: Lognormal(400, 0.5, 2000), Answer: Lognormal(120, 0.5, 600),
		Turns: Dist{Kind: "uniform", Min: 2, Max: 10}, CancelShare: 0.03, CancelAfter: 2,
	}}
	return o
}

func scale() Options {
	o := base("scale", "5000 requests/s for 10,000 adapters by Zipf's law, 64 workers of 32 slots on 64 devices")
	o.Seconds, o.Workers, o.Slots, o.Devices, o.Queue = 20, 64, 32, 64, 20000
	o.Streams = []Stream{{
		Name: "all", Arrivals: "poisson", Rate: 5000, Adapters: 10000, Zipf: 1, Prefix: "a",
		Prompt: Fixed(32), Answer: Dist{Kind: "uniform", Min: 4, Max: 12},
	}}
	return o
}

// timelineScenario is small enough to be looked at request by request.
func timelineScenario() Options {
	o := base("timeline", "5 adapters, one of them hot, 2 workers of 4 slots on one device, 12 s")
	o.Seconds, o.Workers, o.Slots, o.Timeline = 12, 2, 4, true
	o.Streams = []Stream{
		{Name: "hot", Arrivals: "closed", Clients: 8, Adapters: 1, Prefix: "hot",
			Prompt: Fixed(64), Answer: Dist{Kind: "uniform", Min: 60, Max: 180}},
		{Name: "quiet", Arrivals: "poisson", Rate: 1.2, Adapters: 4, Prefix: "quiet",
			Prompt: Fixed(64), Answer: Dist{Kind: "uniform", Min: 40, Max: 120}},
	}
	return o
}
