package sim

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/loragate/loragate/bench/mixed/calibrate"
	"github.com/loragate/loragate/internal/sched"
)

// Seconds is a length of time; in JSON it is a plain number.
type Seconds float64

// time rounds to nanoseconds, so that seconds made of a time give it back.
func (s Seconds) time() sched.Time {
	return sched.Time(math.Round(float64(s) * float64(time.Second)))
}

func seconds(t sched.Time) Seconds { return Seconds(float64(t) / float64(time.Second)) }

// KV is how a llama-server keeps the KV caches of its slots.
type KV = calibrate.Mode

// The ways to keep them.
const (
	Split   = calibrate.Split
	Unified = calibrate.Unified
)

// llama-server's defaults: the most tokens of one iteration (--batch-size), and of
// one pass over the model (--ubatch-size).
const (
	batchTokens = 2048
	passTokens  = 512
)

// Model says how fast llama-servers are with one base model on one device. All of
// it is measured by `bench calibrate`, and Fit makes it of that.
type Model struct {
	// Of says what was measured, in words.
	Of      string `json:"of,omitempty"`
	Split   Costs  `json:"split"`
	Unified Costs  `json:"unified"`
	// Turns and MPS are what another busy server of the same device adds to a step,
	// without and with CUDA's multi-process service, by how many requests the step
	// gives a token. Without the service servers take turns on the GPU, and each waits
	// for what the other has there, which is about the same whatever the batch. With
	// none of either, a device has one worker.
	Turns []Point `json:"turns,omitempty"`
	MPS   []Point `json:"mps,omitempty"`
	// Crowding says what k other servers add under the service: k^Crowding times
	// what one does. Without it they add k times as much.
	Crowding float64 `json:"crowding"`
}

// Costs is what one server takes on a device of its own.
type Costs struct {
	// Steps is the time of a step of one pass, in which each of so many requests
	// gets a token.
	Steps []Point `json:"steps"`
	// Pass is what each further pass over the model adds to a step.
	Pass Seconds `json:"pass_s"`
	// Reading is what the host prepares for a pass that reads a prompt, of which a
	// device that is busy with another one lets nothing be seen, and Token what each
	// token takes there.
	Reading Seconds `json:"reading_s"`
	Token   Seconds `json:"token_s"`
	// Held is what each token adds to an iteration that a slot without a part in it
	// holds.
	Held Seconds `json:"held_s"`
	// Change is what a change of adapter adds to the next iteration.
	Change Seconds `json:"change_s"`
	// Call is the time of a request that computes nothing. So long every request is
	// on its way, and once more if its adapter has to be put in force before.
	Call Seconds `json:"call_s"`
	// Erase is what it takes to drop one slot's KV.
	Erase Seconds `json:"erase_s"`
	// Cells is how many tokens all slots together had room for when this was
	// measured.
	Cells int `json:"cells"`
}

// Point is a time that was measured with so many requests.
type Point struct {
	Requests int     `json:"requests"`
	Seconds  Seconds `json:"s"`
}

// costs returns those of a kind of server whose slots together have room for so
// many tokens. With one buffer for all slots, reading and a change of adapter take
// longer than without by what grows with the buffer: its mask is of its size times
// the pass's tokens, and so is what is reserved anew.
func (m *Model) costs(kv KV, cells int) Costs {
	if kv == Split {
		return m.Split
	}
	c := m.Unified
	scale := Seconds(float64(cells) / float64(c.Cells))
	c.Reading = m.Split.Reading + scale*max(0, c.Reading-m.Split.Reading)
	c.Change = m.Split.Change + scale*max(0, c.Change-m.Split.Change)
	return c
}

func (m *Model) check() error {
	if err := m.Split.check(); err != nil {
		return fmt.Errorf("model.split: %w", err)
	}
	if err := m.Unified.check(); err != nil {
		return fmt.Errorf("model.unified: %w", err)
	}
	for name, points := range map[string][]Point{"turns": m.Turns, "mps": m.MPS} {
		if len(points) == 0 {
			continue
		}
		if err := checkPoints(points); err != nil {
			return fmt.Errorf("model.%s: %w", name, err)
		}
	}
	if m.Crowding <= 0 {
		return errors.New("model.crowding must be positive")
	}
	return nil
}

func (c *Costs) check() error {
	if err := checkPoints(c.Steps); err != nil {
		return fmt.Errorf("steps: %w", err)
	}
	if c.Pass < 0 || c.Reading < 0 || c.Token < 0 || c.Change < 0 || c.Held < 0 || c.Call < 0 || c.Erase < 0 {
		return errors.New("a time is negative")
	}
	if c.Cells < 1 {
		return errors.New("cells must be positive")
	}
	return nil
}

func checkPoints(points []Point) error {
	if len(points) == 0 {
		return errors.New("there is no point")
	}
	for i, p := range points {
		if p.Requests < 1 || p.Seconds <= 0 || i > 0 && p.Requests <= points[i-1].Requests {
			return errors.New("requests must rise from 1 on, times must be positive")
		}
	}
	return nil
}

// at interpolates between points, and beyond them goes on along the line through the
// first and the last: neighbours are too near each other for a slope.
func at(points []Point, requests int) float64 {
	first, last := points[0], points[len(points)-1]
	if len(points) == 1 {
		return float64(first.Seconds)
	}
	a, b := first, last
	for i := 1; i < len(points); i++ {
		if points[i-1].Requests <= requests && requests <= points[i].Requests {
			a, b = points[i-1], points[i]
		}
	}
	slope := float64(b.Seconds-a.Seconds) / float64(b.Requests-a.Requests)
	from := a
	if requests > last.Requests {
		from = last
	}
	return max(0, float64(from.Seconds)+slope*float64(requests-from.Requests))
}

// step is the time of a step of so many requests, in one pass.
func (c *Costs) step(requests int) float64 { return at(c.Steps, requests) }

// sampling is what drawing one more token adds to a step. It is the host's, as the
// points of Turns show: the GPU's part of a step is the same with 1 request and 16.
func (c *Costs) sampling(requests int) float64 {
	if requests < 2 {
		return 0
	}
	return (c.step(requests) - c.step(1)) / float64(requests-1)
}

// sharing returns what a second server of a device costs.
func (o *Options) sharing() []Point {
	if o.MPS {
		return o.Model.MPS
	}
	return o.Model.Turns
}

// beside is what other busy servers of the device add to work that gives so many
// requests a token, when busy are in all. What the work is longer than a step is
// passes that keep the GPU as busy as a step of one request does.
func (o *Options) beside(c *Costs, requests, busy int, work float64) float64 {
	others := float64(busy - 1)
	if others <= 0 {
		return 0
	}
	if o.MPS {
		others = math.Pow(others, o.Model.Crowding)
	}
	more := max(0, work-c.step(requests))
	points := o.sharing()
	return others * (at(points, requests) + more*at(points, 1)/c.step(1))
}
