package calibrate

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// scattered returns n of the slots, picked at random but the same every time,
// in ascending order. Fewer are a part of more.
func scattered(slots, n int) []int {
	rng := rand.New(rand.NewPCG(11, 11))
	picked := rng.Perm(slots)[:n]
	slices.Sort(picked)
	return picked
}

// adjacent returns the first n slots.
func adjacent(n int) []int {
	slots := make([]int, n)
	for i := range slots {
		slots[i] = i
	}
	return slots
}

// passes returns how often a step of these ascending slots goes through the
// model: llama.cpp puts only sequences that follow each other into one pass
// unless all share a buffer.
func passes(mode Mode, busy []int) int {
	if mode == Unified {
		return 1
	}
	runs := 0
	for i, slot := range busy {
		if i == 0 || slot != busy[i-1]+1 {
			runs++
		}
	}
	return runs
}

// room is what a server's KV cache has space for, in tokens.
type room struct {
	slot  int // of one slot
	whole int // of all slots together
}

// lacks says why busy requests of so many tokens each, and idle slots that hold
// so many each, do not fit; "" if they do.
func (r room) lacks(busy, own, idle, held int) string {
	switch {
	case own > r.slot || held > r.slot:
		return fmt.Sprintf("a slot has %d tokens", r.slot)
	case busy*own+idle*held > r.whole:
		return fmt.Sprintf("all slots together have %d tokens", r.whole)
	}
	return ""
}
