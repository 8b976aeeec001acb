package gpu

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
)

// Source is where a reading's figures are from.
type Source string

const (
	FromServer Source = "llama-server" // in whole MiB; the asking costs a context on each GPU
	FromNVML   Source = "NVML"         // NVIDIA's library; the asking costs nothing
)

// Reading is the devices at one moment. Two readings can be compared only if they
// are of one source.
type Reading struct {
	Devices []Device
	Source  Source
}

// Card is one NVIDIA GPU as NVML tells of it. Total is 0 where NVML does not tell of
// the memory, as for one that shares the processor's.
type Card struct {
	UUID, Bus, Name   string // Bus is its PCI address
	Total, Used, Free int64  // bytes
}

// Reader reads devices. It holds no state and is safe for concurrent use.
type Reader struct {
	Command string   // the llama-server program
	Env     []string // for it, as in os.Environ; nil is what workers have of ours
	// Cards lists the NVIDIA GPUs; nil asks NVML. No library and no GPU are an error
	// that Read takes as "none".
	Cards func() ([]Card, error)
}

// Read asks llama-server for its devices and takes their memory from NVML if it is
// certain which card is which device. It blocks for seconds where there are GPUs.
func (r Reader) Read(ctx context.Context) (Reading, error) {
	devices, err := list(ctx, r.Command, r.Env)
	if err != nil {
		return Reading{}, fmt.Errorf("what devices there are: %w", err)
	}
	if measured, ok := measure(devices, r.cards(), r.env()); ok {
		return Reading{Devices: measured, Source: FromNVML}, nil
	}
	return Reading{Devices: devices, Source: FromServer}, nil
}

// Again reads the same devices from the same source as an earlier reading, so that
// the two can be compared.
func (r Reader) Again(ctx context.Context, before Reading) (Reading, error) {
	if before.Source == FromNVML {
		measured, ok := measure(before.Devices, r.cards(), r.env())
		if !ok {
			return Reading{}, fmt.Errorf("NVML tells of other GPUs than before")
		}
		return Reading{Devices: measured, Source: FromNVML}, nil
	}
	devices, err := list(ctx, r.Command, r.Env)
	if err != nil {
		return Reading{}, fmt.Errorf("what memory is free: %w", err)
	}
	return Reading{Devices: devices, Source: FromServer}, nil
}

// cards returns NVML's GPUs, none if it cannot be asked.
func (r Reader) cards() []Card {
	read := r.Cards
	if read == nil {
		read = Cards
	}
	cards, err := read()
	if err != nil {
		return nil
	}
	return cards
}

func (r Reader) env() []string {
	if r.Env != nil {
		return r.Env
	}
	return os.Environ()
}

// measure returns the devices with the CUDA ones' memory from NVML, and false unless
// it is certain which card is which device. NVML numbers all GPUs by their PCI
// address; CUDA numbers those that CUDA_VISIBLE_DEVICES names, fastest first unless
// CUDA_DEVICE_ORDER says PCI_BUS_ID.
//
// Devices of other backends would be a part of the same memory counted from another
// source, so with any that is not a CUDA device's double the answer is false, too.
func measure(devices []Device, cards []Card, env []string) ([]Device, bool) {
	var numbers []int // of the CUDA devices among all
	for i, d := range devices {
		if d.Backend == "CUDA" {
			numbers = append(numbers, i)
		}
	}
	if len(numbers) == 0 || len(numbers) != len(cards) || value(env, "CUDA_VISIBLE_DEVICES") != "" {
		return nil, false
	}
	if !alike(cards) && value(env, "CUDA_DEVICE_ORDER") != "PCI_BUS_ID" {
		return nil, false
	}
	if slices.ContainsFunc(distinct(devices), func(d Device) bool { return d.Backend != "CUDA" }) {
		return nil, false
	}
	measured := slices.Clone(devices)
	for i, card := range cards {
		d := &measured[numbers[i]]
		if d.Name != fmt.Sprintf("CUDA%d", i) || d.Description != card.Name || card.Total <= 0 {
			return nil, false // also a slice of a GPU (MIG), whose name differs
		}
		d.Total, d.Free = card.Total, card.Free
	}
	return measured, true
}

// alike reports whether one card can stand for any other.
func alike(cards []Card) bool {
	return !slices.ContainsFunc(cards, func(c Card) bool {
		return c.Name != cards[0].Name || c.Total != cards[0].Total
	})
}

// value returns a variable of an environment, where the last of several counts.
func value(env []string, name string) string {
	for _, kv := range slices.Backward(env) {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}
