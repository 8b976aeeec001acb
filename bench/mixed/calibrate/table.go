package calibrate

import (
	"fmt"
	"strconv"

	"github.com/loragate/loragate/bench/report"
)

// Table returns what was measured for people.
func (c *Calibration) Table() *report.Table {
	t := &report.Table{
		Name: "calibrate",
		About: fmt.Sprintf("llama-server %s alone with %s, %d slots of %d tokens; step is the time from token to token of "+
			"each of n requests at once, "+
			"of %d tokens each, while every other slot holds idle tokens; of a prompt, n is its tokens; of servers, n is the "+
			"requests of each; medians of %d rounds",
			c.Build, c.Model, c.Slots, c.ContextTokens, c.Tokens, c.Rounds),
		Labels: []string{"measure", "mode", "n", "idle"},
		Columns: []report.Column{
			{Key: "step", Unit: "ms"}, {Key: "passes"}, {Key: "output", Unit: "tokens/s"}, {Key: "time", Unit: "ms"},
			{Key: "prefill", Unit: "tokens/s"}, {Key: "alone", Unit: "ms"}, {Key: "step_x"},
		},
	}
	for _, s := range c.Steps {
		t.Add([]string{s.name(), string(s.Mode), strconv.Itoa(s.Requests), strconv.Itoa(s.IdleTokens)},
			map[string]float64{"step": s.MS, "passes": float64(s.Passes), "output": s.TokensPerSecond})
	}
	for _, p := range c.Prefills {
		t.Add([]string{"prompt", string(p.Mode), strconv.Itoa(p.Tokens), "0"},
			map[string]float64{"time": p.MS, "prefill": p.TokensPerSecond})
	}
	for _, call := range c.Calls {
		t.Add([]string{call.Name, string(call.Mode), "1", "0"}, map[string]float64{"time": call.MS})
	}
	for _, f := range c.FirstTokens {
		name := "first token, same adapter"
		if f.Changed {
			name = "first token, another adapter"
		}
		t.Add([]string{name, string(f.Mode), "1", "0"}, map[string]float64{"time": f.MS})
	}
	for _, s := range c.Shares {
		name := fmt.Sprintf("%d servers", s.Servers)
		if s.MPS {
			name += ", MPS"
		}
		t.Add([]string{name, string(Unified), strconv.Itoa(s.Requests), "0"},
			map[string]float64{"step": s.TogetherMS, "alone": s.AloneMS, "step_x": s.TogetherMS / s.AloneMS})
	}
	return t
}

func (s Step) name() string {
	switch {
	case s.Adapters == 0:
		return "step, base"
	case s.Adapters > 1:
		return fmt.Sprintf("step, %d adapters", s.Adapters)
	case s.Scattered:
		return "step, scattered"
	}
	return "step, adjacent"
}
