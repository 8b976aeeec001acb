package heap

import (
	"math/rand/v2"
	"slices"
	"testing"
)

type node struct{ value, at int }

func TestAgainstASort(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	h := New(func(a, b *node) bool { return a.value < b.value }, func(n *node) *int { return &n.at })
	var in []*node
	for range 5000 {
		switch n := rng.IntN(4); {
		case n < 2:
			x := &node{value: rng.IntN(1000)}
			in = append(in, x)
			h.Fix(x)
		case len(in) == 0:
		case n == 2:
			x := in[rng.IntN(len(in))]
			x.value = rng.IntN(1000)
			h.Fix(x)
		default:
			i := rng.IntN(len(in))
			h.Remove(in[i])
			in = slices.Delete(in, i, i+1)
		}
		slices.SortFunc(in, func(a, b *node) int { return a.value - b.value })
		first, any := h.First()
		if !h.Check() || h.Len() != len(in) || any && first.value != in[0].value {
			t.Fatal("the heap is broken")
		}
		for i, x := range h.Least(5, func(n *node) bool { return n.value < 500 }) {
			if x.value != in[i].value || x.value >= 500 {
				t.Fatalf("%d at %d, want %d", x.value, i, in[i].value)
			}
		}
	}
}
