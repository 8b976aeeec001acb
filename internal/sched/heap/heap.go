// Package heap has a heap whose elements know where they are in it.
package heap

// Heap is a binary heap whose elements know where they are in it, so that one
// that changed is moved, or taken out, in logarithmic time.
type Heap[T any] struct {
	items []T
	less  func(a, b T) bool
	index func(T) *int // the element's place, counted from 1; 0 is not in the heap
}

// New returns an empty heap. index returns where an element keeps its place, counted from
// 1; 0 is not in the heap.
func New[T any](less func(a, b T) bool, index func(T) *int) Heap[T] {
	return Heap[T]{less: less, index: index}
}

// Items returns what is in the heap: the first comes first, the others in no order. It is
// not to be changed.
func (h *Heap[T]) Items() []T { return h.items }

// Len returns how much is in the heap.
func (h *Heap[T]) Len() int { return len(h.items) }

// First returns the smallest element.
func (h *Heap[T]) First() (item T, ok bool) {
	if len(h.items) == 0 {
		return item, false
	}
	return h.items[0], true
}

// Fix puts an element in, or where it belongs after a change.
func (h *Heap[T]) Fix(x T) {
	i := *h.index(x) - 1
	if i < 0 {
		i = len(h.items)
		h.items = append(h.items, x)
		*h.index(x) = i + 1
	}
	if !h.up(i) {
		h.down(i)
	}
}

// Remove takes an element out, if it is in.
func (h *Heap[T]) Remove(x T) {
	i := *h.index(x) - 1
	if i < 0 {
		return
	}
	last := len(h.items) - 1
	h.swap(i, last)
	var zero T
	h.items[last] = zero
	h.items = h.items[:last]
	*h.index(x) = 0
	if i < last && !h.up(i) {
		h.down(i)
	}
}

// Least returns the smallest elements that fit, at most n, smallest first. What
// does not fit must have no descendant that fits.
func (h *Heap[T]) Least(n int, fits func(T) bool) []T {
	var list []T
	var front []int // the smallest of them comes next; descendants of what is in list
	if len(h.items) > 0 && fits(h.items[0]) {
		front = append(front, 0)
	}
	for len(list) < n && len(front) > 0 {
		next := 0
		for i := range front {
			if h.less(h.items[front[i]], h.items[front[next]]) {
				next = i
			}
		}
		at := front[next]
		list = append(list, h.items[at])
		front = append(front[:next], front[next+1:]...)
		for child := 2*at + 1; child <= 2*at+2 && child < len(h.items); child++ {
			if fits(h.items[child]) {
				front = append(front, child)
			}
		}
	}
	return list
}

func (h *Heap[T]) swap(i, j int) {
	h.items[i], h.items[j] = h.items[j], h.items[i]
	*h.index(h.items[i]) = i + 1
	*h.index(h.items[j]) = j + 1
}

// up moves element i towards the root and reports whether it moved.
func (h *Heap[T]) up(i int) bool {
	moved := false
	for i > 0 {
		parent := (i - 1) / 2
		if !h.less(h.items[i], h.items[parent]) {
			break
		}
		h.swap(i, parent)
		i, moved = parent, true
	}
	return moved
}

func (h *Heap[T]) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(h.items) {
			return
		}
		if right := child + 1; right < len(h.items) && h.less(h.items[right], h.items[child]) {
			child = right
		}
		if !h.less(h.items[child], h.items[i]) {
			return
		}
		h.swap(i, child)
		i = child
	}
}

// Check reports whether every element is where it belongs, for tests.
func (h *Heap[T]) Check() bool {
	for i, x := range h.items {
		if *h.index(x) != i+1 || i > 0 && h.less(x, h.items[(i-1)/2]) {
			return false
		}
	}
	return true
}
