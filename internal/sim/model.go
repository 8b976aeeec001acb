package sim

import (
	"errors"
	"math"
	"time"

	"github.com/loragate/loragate/internal/sched"
)

// Seconds is a length of time; in JSON it is a plain number.
type Seconds float64

// time rounds to nanoseconds, so that seconds made of a time give it back.
func (s Seconds) time() sched.Time {
	return sched.Time(math.Round(float64(s) * float64(time.Second)))
}

func seconds(t sched.Time) Seconds { return Seconds(float64(t) / float64(time.Second)) }

// Model says how fast a llama-server is. All of it can be measured, and is kept
// here and nowhere else.
type Model struct {
	// Batch holds measured speeds of one server with one adapter, by rising batch
	// size. The time of a step is interpolated between them, and extrapolated
	// along the last two.
	Batch []BatchSpeed `json:"batch"`
	// PrefillRate is how many tokens a second of a prompt are read.
	PrefillRate float64 `json:"prefill_tokens_per_second"`
	// PrefillOverhead is what a step takes longer that reads any prompt.
	PrefillOverhead Seconds `json:"prefill_overhead_s"`
	// Swap is what a change of adapter costs until the next step can begin.
	Swap Seconds `json:"swap_s"`
	// Erase is what it takes to drop one slot's KV.
	Erase Seconds `json:"erase_s"`
	// Share[k-1] is the total speed of k busy servers on one device, against that
	// of one alone. The last entry holds for more.
	Share []float64 `json:"share"`
	// Switch is what a raw server that alternates between adapters loses at each
	// step.
	Switch Seconds `json:"switch_s"`
	// AlternateMin is how many requests an adapter must have for a raw server to
	// begin it together with others when nothing was being generated, and to
	// alternate between them from then on. 0 never alternates. It is fitted, not
	// understood: 8 requests on 8 adapters run one after the other, 4 + 4 on two
	// adapters alternate.
	AlternateMin int `json:"alternate_min"`
}

// BatchSpeed is the total speed at one batch size.
type BatchSpeed struct {
	Size            int     `json:"size"`
	TokensPerSecond float64 `json:"tokens_per_second"`
}

// DefaultModel is a 3 B q4_0 model on one H100, with rank 8 adapters, as in
// docs/llama-server.md. Sizes above 8 are extrapolated.
func DefaultModel() Model {
	return Model{
		Batch:           []BatchSpeed{{1, 245}, {8, 868}},
		PrefillRate:     8000,
		PrefillOverhead: 0.010,
		Swap:            0.036,
		Erase:           0.001,
		Share:           []float64{1, 1.10, 1.14, 1.16},
		Switch:          0.025,
		AlternateMin:    2,
	}
}

// H200Model is a 3 B q4_0 model on one H200 with rank 8 adapters on q and v, as
// docs/benchmarks.md has it. Batches of 2 to 16 are no faster than one request
// there: llama-server's Vulkan backend multiplies adapters slowly at these sizes.
func H200Model() Model {
	m := DefaultModel()
	m.Batch = []BatchSpeed{{1, 260}, {2, 157}, {4, 206}, {8, 265}, {16, 323}, {32, 1467}}
	return m
}

func (m *Model) check() error {
	switch {
	case len(m.Batch) == 0:
		return errors.New("model.batch is empty")
	case m.PrefillRate <= 0:
		return errors.New("model.prefill_tokens_per_second must be positive")
	case len(m.Share) == 0:
		return errors.New("model.share is empty")
	case m.Swap < 0 || m.Erase < 0 || m.Switch < 0 || m.PrefillOverhead < 0:
		return errors.New("model: a time is negative")
	}
	for i, b := range m.Batch {
		if b.Size < 1 || b.TokensPerSecond <= 0 || i > 0 && b.Size <= m.Batch[i-1].Size {
			return errors.New("model.batch must have rising sizes and positive speeds")
		}
	}
	for _, s := range m.Share {
		if s <= 0 {
			return errors.New("model.share must be positive")
		}
	}
	return nil
}

func (b BatchSpeed) step() float64 { return float64(b.Size) / b.TokensPerSecond }

// Step is how long one step of a batch takes on a device of its own.
func (m *Model) Step(batch int) time.Duration {
	return Seconds(m.step(batch)).time()
}

func (m *Model) step(batch int) float64 {
	points := m.Batch
	if len(points) == 1 || batch <= points[0].Size {
		return points[0].step()
	}
	i := 1
	for i < len(points)-1 && points[i].Size < batch {
		i++
	}
	a, b := points[i-1], points[i]
	slope := (b.step() - a.step()) / float64(b.Size-a.Size)
	// A table whose last steps get shorter would end in steps of no time at all.
	return max(a.step()+slope*float64(batch-a.Size), points[len(points)-1].step()/2)
}

// prefill is how long reading prompts of so many tokens makes a step.
func (m *Model) prefill(tokens int) float64 {
	return float64(m.PrefillOverhead) + float64(tokens)/m.PrefillRate
}

// slowdown is how much longer all takes when k servers of a device are busy.
func (m *Model) slowdown(k int) float64 {
	if k <= 1 {
		return 1
	}
	return float64(k) / m.Share[min(k, len(m.Share))-1]
}

// capacity is the most tokens a second that the workers can generate.
func (m *Model) capacity(o *Options) float64 {
	perDevice := max(1, o.Workers/o.Devices)
	one := float64(o.Slots) / m.step(o.Slots)
	return one * float64(perDevice) / m.slowdown(perDevice) * float64(o.Devices)
}
