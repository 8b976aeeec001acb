package lru

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestPutEvictsTheLeastRecentlyUsed(t *testing.T) {
	s := New[string, int](2)
	s.Put("a", 1)
	s.Put("b", 2)
	s.Get("a")
	evicted, err := s.Put("c", 3)
	if err != nil || !slices.Equal(evicted, []Entry[string, int]{{"b", 2}}) {
		t.Fatalf("Put(c) = %v, %v; want b evicted", evicted, err)
	}
	if _, ok := s.Peek("b"); ok {
		t.Error("b is still there")
	}
}

func TestPutPassesOverWhatIsPinned(t *testing.T) {
	s := New[string, int](2)
	s.Put("a", 1)
	s.Put("b", 2)
	s.Pin("a")
	if evicted, _ := s.Put("c", 3); len(evicted) != 1 || evicted[0].Key != "b" {
		t.Fatalf("evicted %v, want b: a is in use", evicted)
	}
	s.Pin("c")
	if _, err := s.Put("d", 4); !errors.Is(err, ErrAllPinned) {
		t.Fatalf("Put into a set in use: %v, want ErrAllPinned", err)
	}
	if _, ok := s.Peek("d"); ok || s.Len() != 2 {
		t.Error("a refused Put changed the set")
	}
}

func TestPinsAddUp(t *testing.T) {
	s := New[string, int](1)
	s.Put("a", 1)
	s.Pin("a")
	s.Pin("a")
	s.Unpin("a")
	if !s.Pinned("a") {
		t.Fatal("one of two pins gone, and a is not pinned")
	}
	s.Unpin("a")
	if s.Pinned("a") {
		t.Fatal("both pins gone, and a is pinned")
	}
	if s.Pin("b") {
		t.Error("Pin of a key that is not there reports true")
	}
}

func TestUnpinMakesMostRecentlyUsed(t *testing.T) {
	s := New[string, int](3)
	for i, k := range []string{"a", "b", "c"} {
		s.Put(k, i)
	}
	s.Pin("a")
	if k, _, _ := s.Oldest(); k != "b" {
		t.Errorf("oldest is %q, want b: a is in use", k)
	}
	s.Unpin("a")
	if got := s.Idle(); !slices.Equal(got, []string{"b", "c", "a"}) {
		t.Errorf("order %v, want b c a", got)
	}
}

func TestPutUpdatesPinned(t *testing.T) {
	s := New[string, int](1)
	s.Put("a", 1)
	s.Pin("a")
	if evicted, err := s.Put("a", 2); evicted != nil || err != nil {
		t.Fatalf("Put = %v, %v", evicted, err)
	}
	s.Unpin("a")
	if v, _ := s.Get("a"); v != 2 {
		t.Errorf("a = %d, want 2", v)
	}
}

func TestUnpinOnceTooOftenPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	s := New[string, int](1)
	s.Put("a", 1)
	s.Unpin("a")
}

func TestRemove(t *testing.T) {
	s := New[string, int](2)
	s.Put("a", 1)
	s.Put("b", 1)
	s.Pin("a")
	if !s.Remove("a") || !s.Remove("b") || s.Remove("c") || s.Len() != 0 {
		t.Error("Remove does not tell what was there")
	}
}

// TestAgainstModel compares random operations with a slow list that is plainly
// right.
func TestAgainstModel(t *testing.T) {
	const capacity, keys = 4, 7
	rng := rand.New(rand.NewPCG(1, 2))
	s := New[int, int](capacity)
	var order []int // unpinned, oldest first
	pins := map[int]int{}
	touch := func(k int) {
		order = append(slices.DeleteFunc(order, func(x int) bool { return x == k }), k)
	}
	for range 20_000 {
		k := rng.IntN(keys)
		idle, pinned := slices.Contains(order, k), pins[k] > 0
		switch rng.IntN(4) {
		case 0:
			evicted, err := s.Put(k, k)
			full := len(order)+len(pins) >= capacity
			switch {
			case pinned:
			case !idle && full && len(order) == 0:
				if err == nil {
					t.Fatal("Put into a set in use succeeded")
				}
			default:
				if !idle && full {
					if len(evicted) != 1 || evicted[0].Key != order[0] {
						t.Fatalf("evicted %v, want %d", evicted, order[0])
					}
					order = order[1:]
				}
				touch(k)
			}
		case 1:
			if _, ok := s.Get(k); ok != (idle || pinned) {
				t.Fatalf("Get(%d) = %v", k, ok)
			}
			if idle {
				touch(k)
			}
		case 2:
			if s.Pin(k) {
				pins[k]++
				order = slices.DeleteFunc(order, func(x int) bool { return x == k })
			}
		case 3:
			if !pinned {
				continue
			}
			s.Unpin(k)
			if pins[k]--; pins[k] == 0 {
				delete(pins, k)
				touch(k)
			}
		}
		if got := s.Idle(); !slices.Equal(got, order) || s.IdleLen() != len(order) || s.Len() != len(order)+len(pins) {
			t.Fatalf("idle %v, want %v", got, order)
		}
	}
}

func TestWeights(t *testing.T) {
	s := NewWeighted(Limits{Weight: 10}, func(_ string, v int) int64 { return int64(v) })
	s.Put("a", 3)
	s.Put("b", 3)
	s.Put("c", 3)
	s.Pin("a")
	if evicted, err := s.Put("d", 6); err != nil || len(evicted) != 2 || evicted[0].Key != "b" || evicted[1].Key != "c" {
		t.Fatalf("evicted %v, %v; want b and c, a is in use", evicted, err)
	}
	if _, err := s.Put("e", 8); !errors.Is(err, ErrAllPinned) || s.Len() != 2 {
		t.Error("more than fits beside what is in use is let in")
	}
	if s.PinnedWeight() != 3 || s.PinnedLen() != 1 || !s.Room(1, 7) || s.Room(1, 8) {
		t.Errorf("%d pinned of weight %d", s.PinnedLen(), s.PinnedWeight())
	}
	s.Put("a", 5)
	if s.Remove("d"); s.PinnedWeight() != 5 || s.weight != 5 {
		t.Errorf("weight %d, pinned %d", s.weight, s.PinnedWeight())
	}
	s.Unpin("a")
	if s.Remove("a"); s.weight != 0 || s.PinnedWeight() != 0 {
		t.Errorf("an empty set weighs %d, pinned %d", s.weight, s.PinnedWeight())
	}
}

func TestPutPinned(t *testing.T) {
	s := New[string, int](2)
	s.Put("a", 1)
	s.Put("b", 2)
	if evicted, err := s.PutPinned("a", 1); evicted != nil || err != nil || !s.Pinned("a") {
		t.Fatalf("%v, %v", evicted, err)
	}
	if evicted, err := s.PutPinned("c", 3); err != nil || len(evicted) != 1 || evicted[0].Key != "b" || !s.Pinned("c") {
		t.Fatalf("%v, %v; want b to make room", evicted, err)
	}
	if _, err := s.PutPinned("d", 4); !errors.Is(err, ErrAllPinned) {
		t.Errorf("%v in a set in use", err)
	}
}

func TestLastUse(t *testing.T) {
	s := New[string, int](3)
	s.Put("a", 1)
	s.Put("b", 2)
	if s.LastUse("a") >= s.LastUse("b") || s.LastUse("c") != 0 {
		t.Error("not in the order of Put")
	}
	if s.Get("a"); s.LastUse("a") <= s.LastUse("b") {
		t.Error("Get is no use")
	}
	s.Pin("b")
	if s.Unpin("b"); s.LastUse("b") <= s.LastUse("a") {
		t.Error("the end of the last pin is no use")
	}
}
