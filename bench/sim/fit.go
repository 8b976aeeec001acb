package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"

	"github.com/loragate/loragate/bench/load"
	"github.com/loragate/loragate/bench/mixed/calibrate"
)

// crowding is the one number of a model that is fitted, not measured: calibrations
// had two servers, and the gateway runs eight under MPS. With it the gateway does in
// the simulator what it was measured to do with 8, 32 and 64 clients of 16 adapters
// (docs/benchmarks.md). In proportion, with 1, it would make a fourth too much.
const crowding = 1.15

// calibration is what `bench calibrate` measured.
type calibration struct{ calibrate.Calibration }

// Fit makes a model of what `bench calibrate` measured. It says what of that is
// missing.
func Fit(r io.Reader) (Model, error) {
	var c calibration
	if err := json.NewDecoder(r).Decode(&c); err != nil {
		return Model{}, fmt.Errorf("calibration: %w", err)
	}
	if c.Version != calibrate.Version {
		return Model{}, fmt.Errorf("calibration: version %d, not %d", c.Version, calibrate.Version)
	}
	m := Model{Of: c.about(), Turns: c.shares(false), MPS: c.shares(true), Crowding: crowding}
	var err error
	if m.Split, err = c.costs(Split); err != nil {
		return m, fmt.Errorf("calibration, %s: %w", Split, err)
	}
	if m.Unified, err = c.costs(Unified); err != nil {
		return m, fmt.Errorf("calibration, %s: %w", Unified, err)
	}
	return m, m.check()
}

func (c *calibration) about() string {
	return fmt.Sprintf("%s (%.1f GB) with %d adapters of %.1f MB, llama-server %s",
		c.Model, float64(c.ModelBytes)/1e9, c.Adapters, float64(c.AdapterBytes)/1e6, c.Build)
}

func ms(v float64) Seconds { return Seconds(v / 1000) }

func (c *calibration) costs(kv KV) (Costs, error) {
	out := Costs{Steps: c.steps(kv), Cells: c.Slots * c.ContextTokens}
	if len(out.Steps) == 0 {
		return out, errors.New("there is no step of one adapter beside empty slots")
	}
	out.Pass, out.Held = c.pass(&out), c.held(kv, &out)
	var err error
	if out.Reading, out.Token, err = c.reading(kv); err != nil {
		return out, err
	}
	first := map[bool]float64{}
	for _, f := range c.FirstTokens {
		if f.Mode == kv {
			first[f.Changed] = f.MS
		}
	}
	if len(first) < 2 {
		return out, errors.New("there is no first token with a change of adapter, or none without")
	}
	out.Change = ms(max(0, first[true]-first[false]))
	for _, call := range c.Calls {
		switch {
		case call.Mode == kv && call.Name == calibrate.Apply:
			out.Call = ms(call.MS)
		case call.Mode == kv && call.Name == calibrate.Erase:
			out.Erase = ms(call.MS)
		}
	}
	return out, nil
}

// steps returns the times of steps of one pass. Servers that share a device measured
// them as well, alone, with one buffer.
func (c *calibration) steps(kv KV) []Point {
	measured := map[int][]float64{}
	for _, s := range c.Steps {
		if s.Mode == kv && s.Passes == 1 && s.Adapters == 1 && s.IdleTokens == 0 && s.Scattered == (kv == Unified) {
			measured[s.Requests] = append(measured[s.Requests], s.MS)
		}
	}
	for _, s := range c.Shares {
		if kv == Unified {
			measured[s.Requests] = append(measured[s.Requests], s.AloneMS)
		}
	}
	return medians(measured)
}

// pass returns what each further pass adds, from steps of scattered slots.
func (c *calibration) pass(costs *Costs) Seconds {
	var each []float64
	for _, s := range c.Steps {
		if s.Mode == Split && s.Passes > 1 && s.Adapters == 1 && s.IdleTokens == 0 {
			each = append(each, (s.MS-1000*costs.step(s.Requests))/float64(s.Passes-1))
		}
	}
	return ms(max(0, median(each)))
}

// held returns what a token in a slot without a request adds.
func (c *calibration) held(kv KV, costs *Costs) Seconds {
	var each []float64
	for _, s := range c.Steps {
		if s.Mode == kv && s.Passes == 1 && s.Adapters == 1 && s.IdleTokens > 0 && s.Scattered == (kv == Unified) {
			each = append(each, (s.MS-1000*costs.step(s.Requests))/float64(s.IdleTokens*(c.Slots-s.Requests)))
		}
	}
	return ms(max(0, median(each)))
}

// reading returns the line through the times of prompts that one iteration reads.
func (c *calibration) reading(kv KV) (overhead, token Seconds, err error) {
	var n, x, y, xx, xy float64
	for _, p := range c.Prefills {
		if p.Mode == kv && p.Tokens <= batchTokens {
			t := float64(p.Tokens)
			n, x, y, xx, xy = n+1, x+t, y+p.MS, xx+t*t, xy+t*p.MS
		}
	}
	if n < 2 || n*xx == x*x {
		return 0, 0, fmt.Errorf("there are less than two lengths of prompts up to %d tokens", batchTokens)
	}
	slope := (n*xy - x*y) / (n*xx - x*x)
	return ms(max(0, (y-slope*x)/n)), ms(slope), nil
}

// shares returns what each other server of the device adds to a step.
func (c *calibration) shares(mps bool) []Point {
	measured := map[int][]float64{}
	for _, s := range c.Shares {
		if s.MPS == mps && s.Servers > 1 {
			others := float64(s.Servers - 1)
			if mps {
				others = math.Pow(others, crowding)
			}
			measured[s.Requests] = append(measured[s.Requests], (s.TogetherMS-s.AloneMS)/others)
		}
	}
	return medians(measured)
}

func medians(measured map[int][]float64) []Point {
	var points []Point
	for _, requests := range slices.Sorted(maps.Keys(measured)) {
		points = append(points, Point{requests, ms(median(measured[requests]))})
	}
	return points
}

// median is load.Median, but 0 of none: what was not measured costs nothing.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	return load.Median(values)
}
