package sched

// pick returns the slot for a request that continues nothing. The caller saw a free
// one.
func (w *worker) pick() *slot {
	if w.adjacent && w.inFlight > 0 { // where nothing runs, every slot begins a row
		return w.pickAdjacent()
	}
	return w.pickUnused()
}

// pickUnused returns a slot without use, else the one that was used least recently.
func (w *worker) pickUnused() *slot {
	tainted := (*slot)(nil)
	for i := range w.slots {
		sl := &w.slots[i]
		switch {
		case sl.busy || !sl.blank():
		case !sl.tainted:
			return sl
		case tainted == nil:
			tainted = sl
		}
	}
	if tainted != nil {
		return tainted
	}
	n, _, _ := w.unused.Oldest()
	return &w.slots[n]
}

// pickAdjacent returns the slot that leaves the busy ones in the fewest rows: each row
// is a pass over the model in every step, which costs more than to read a prompt again
// that somebody may not even come back for. Of several it is one without use, else the
// one that was used least recently.
func (w *worker) pickAdjacent() *slot {
	busy := func(i int) bool { return i >= 0 && i < len(w.slots) && w.slots[i].busy }
	worth := func(sl *slot) (n int) { // what speaks against it, the rows first
		for _, neighbour := range []int{sl.number - 1, sl.number + 1} {
			if !busy(neighbour) {
				n += 4
			}
		}
		switch {
		case !sl.blank():
			n += 2
		case sl.tainted:
			n++
		}
		return n
	}
	var best *slot
	for _, i := range w.unused.Idle() { // the least recently used one comes first
		if sl := &w.slots[i]; best == nil || worth(sl) < worth(best) {
			best = sl
		}
	}
	return best
}
