// Package sim runs the gateway's scheduling in virtual time: the scheduler is the
// real one, llama-servers and clients are modelled. It answers what a policy, a
// quantum or more workers would do under a load, in seconds and without a GPU.
//
// Runs are deterministic: the same Options give the same Result, but for the
// real time that decisions took.
package sim

import (
	"errors"
	"fmt"
	"slices"

	"github.com/loragate/loragate/internal/sched"
)

// Options says what to simulate.
type Options struct {
	Name  string `json:"name,omitempty"`
	About string `json:"about,omitempty"`
	Seed  uint64 `json:"seed"`
	// Seconds is how long requests arrive. The run ends then, with requests that
	// wait and run, unless it drains.
	Seconds Seconds `json:"seconds"`
	Drain   bool    `json:"drain,omitempty"`

	Workers int `json:"workers"`
	Slots   int `json:"slots"`   // of each worker
	Devices int `json:"devices"` // that the workers are spread over, evenly
	Queue   int `json:"queue"`   // requests that may wait
	// KV is how the workers keep their slots' KV, MPS whether those of a device run
	// at the same time, not in turns.
	KV  KV   `json:"kv"`
	MPS bool `json:"mps"`
	// Context is how many tokens a slot has room for, RawSlots how many slots a raw
	// server has; 0 is as many as all workers of its device.
	Context  int `json:"context"`
	RawSlots int `json:"raw_slots,omitempty"`

	Quantum AutoSeconds `json:"quantum"` // of the gateway's scheduler, as is Spread
	Spread  AutoSeconds `json:"spread"`
	Aging   Seconds     `json:"aging,omitempty"` // what a step of priority is worth

	// MaxLoaded is how many adapters a worker of the gateway may have loaded, and
	// AdapterMemory how many bytes of their files; 0 is no bound. With one, workers
	// reload: not before ReloadInterval has passed since the last one, which takes Start,
	// and with a Spare the other process starts first.
	MaxLoaded      int     `json:"max_loaded,omitempty"`
	AdapterMemory  int64   `json:"adapter_memory,omitempty"`
	ReloadInterval Seconds `json:"reload_interval,omitempty"`
	Start          Seconds `json:"start,omitempty"`
	Spare          int     `json:"spare,omitempty"`

	Model   Model    `json:"model"`
	Streams []Stream `json:"streams,omitempty"`
	// Trace, if there is one, is replayed in place of Streams. With TraceClients it
	// is by so many clients, each of which takes the next request when its last one
	// has ended, and At counts for nothing.
	Trace        []Request `json:"trace,omitempty"`
	TraceClients int       `json:"trace_clients,omitempty"`
	// Timeline keeps what DrawTimelines needs.
	Timeline bool `json:"-"`
}

// capacity is the most tokens a second that the workers can generate.
func (o *Options) capacity() float64 {
	perDevice := max(1, o.Workers/o.Devices)
	c := o.Model.costs(o.KV, o.Slots*o.Context)
	alone := c.step(o.Slots)
	step := alone + o.beside(&c, o.Slots, perDevice, alone)
	return float64(perDevice*o.Slots*o.Devices) / step
}

func (o *Options) check() error {
	switch {
	case o.Workers < 1 || o.Slots < 1 || o.Devices < 1 || o.Queue < 1:
		return errors.New("workers, slots, devices and queue must be positive")
	case o.Devices > o.Workers:
		return errors.New("there are more devices than workers")
	case o.KV != Split && o.KV != Unified:
		return fmt.Errorf("kv must be %s or %s, not %q", Split, Unified, o.KV)
	case o.Context < 1 || o.RawSlots < 0 || o.TraceClients < 0:
		return errors.New("context must be positive, raw_slots and trace_clients not negative")
	case o.Quantum != Auto && o.Quantum <= 0 || o.Spread != Auto && o.Spread < 0:
		return errors.New("quantum must be positive, spread not negative, or auto")
	case o.MaxLoaded < 0 || o.AdapterMemory < 0 || o.ReloadInterval < 0 || o.Spare < 0 || o.Spare > 1 || o.Aging < 0:
		return errors.New("max_loaded, adapter_memory, reload_interval and aging must not be negative, spare 0 or 1")
	case o.bounded() && o.Start <= 0:
		return errors.New("with max_loaded or adapter_memory workers reload: start must be positive")
	case o.AdapterMemory > 0 && slices.ContainsFunc(o.stock(),
		func(st sched.Stock) bool { return st.Bytes > o.AdapterMemory }):
		return errors.New("an adapter has more bytes than adapter_memory")
	case o.Seconds <= 0 && len(o.Trace) == 0:
		return errors.New("seconds must be positive")
	case len(o.Streams) == 0 && len(o.Trace) == 0:
		return errors.New("there is neither a stream nor a trace")
	}
	if err := o.Model.check(); err != nil {
		return err
	}
	if o.Workers > o.Devices && len(o.sharing()) == 0 {
		return fmt.Errorf("the model does not say what workers of a device cost each other with mps %t", o.MPS)
	}
	names := map[string]bool{}
	for i := range o.Streams {
		if err := o.Streams[i].check(); err != nil {
			return err
		}
		if names[o.Streams[i].Name] {
			return fmt.Errorf("two streams are called %q", o.Streams[i].Name)
		}
		names[o.Streams[i].Name] = true
	}
	return checkTrace(o.Trace)
}

// RunPolicy simulates one policy by its name; see Policies. It blocks, for seconds at
// the most with any preset.
func RunPolicy(o Options, policy string) (*Result, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("simulation: %w", err)
	}
	e, err := newEngine(policy, &o)
	if err != nil {
		return nil, fmt.Errorf("simulation: %w", err)
	}
	if err := e.run(); err != nil {
		return nil, fmt.Errorf("simulation of %s: %w", policy, err)
	}
	return e.result(o.Name, policy), nil
}

// Compare simulates several policies under the same load, all of them if none is
// named. In closed loops the requests are the same, and come when earlier ones
// have ended.
func Compare(o Options, policies []string) ([]*Result, error) {
	if len(policies) == 0 {
		policies = Policies()
	}
	var results []*Result
	for _, p := range policies {
		r, err := RunPolicy(o, p)
		if err != nil {
			return nil, err
		}
		results = append(results, r)
	}
	return results, nil
}
