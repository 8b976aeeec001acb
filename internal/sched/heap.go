package sched

// heap is a binary heap whose elements know where they are in it, so that one
// that changed is moved, or taken out, in logarithmic time.
type heap[T any] struct {
	items []T
	less  func(a, b T) bool
	index func(T) *int // the element's place, counted from 1; 0 is not in the heap
}

func (h *heap[T]) len() int { return len(h.items) }

func (h *heap[T]) first() (item T, ok bool) {
	if len(h.items) == 0 {
		return item, false
	}
	return h.items[0], true
}

// fix puts an element in, or where it belongs after a change.
func (h *heap[T]) fix(x T) {
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

// remove takes an element out, if it is in.
func (h *heap[T]) remove(x T) {
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

// count returns how many elements fit, at most limit. What does not fit must
// have no descendant that fits.
func (h *heap[T]) count(limit int, fits func(T) bool) int {
	return h.countFrom(0, limit, fits)
}

func (h *heap[T]) countFrom(i, limit int, fits func(T) bool) int {
	if i >= len(h.items) || limit <= 0 || !fits(h.items[i]) {
		return 0
	}
	n := 1
	n += h.countFrom(2*i+1, limit-n, fits)
	n += h.countFrom(2*i+2, limit-n, fits)
	return n
}

func (h *heap[T]) swap(i, j int) {
	h.items[i], h.items[j] = h.items[j], h.items[i]
	*h.index(h.items[i]) = i + 1
	*h.index(h.items[j]) = j + 1
}

// up moves element i towards the root and reports whether it moved.
func (h *heap[T]) up(i int) bool {
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

func (h *heap[T]) down(i int) {
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
