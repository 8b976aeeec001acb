package sched

import "slices"

// File names an adapter's file; it is opaque here.
type File string

// shelf is a set of files that one or more workers have loaded, and the line of
// flows that wait for one of these workers. When all workers have loaded the
// same, which is the rule, there is one. What an operator drained is on none.
type shelf struct {
	files   map[File]bool
	list    []File // the same, sorted
	workers int
	line    heap[*spot] // first the flow whose turn it is
}

// spot is a flow's place in one line.
type spot struct {
	flow  *flow
	shelf *shelf
	index int // in the heap, one-based; 0 is not there
}

func newShelf(files []File) *shelf {
	sh := &shelf{files: fileSet(files), list: slices.Compact(slices.Sorted(slices.Values(files)))}
	sh.line = heap[*spot]{
		less:  func(a, b *spot) bool { return a.flow.before(b.flow) },
		index: func(p *spot) *int { return &p.index },
	}
	return sh
}

func fileSet(files []File) map[File]bool {
	set := make(map[File]bool, len(files))
	for _, file := range files {
		set[file] = true
	}
	return set
}

// holdsAll reports whether all of the files are in the set.
func holdsAll(set map[File]bool, files []File) bool {
	for _, file := range files {
		if !set[file] {
			return false
		}
	}
	return true
}

// holds reports whether all of the files are loaded.
func (sh *shelf) holds(files []File) bool { return holdsAll(sh.files, files) }

// holds reports whether the worker has loaded what the flow needs, and may be
// given it.
func (w *worker) holds(f *flow) bool {
	return slices.ContainsFunc(f.spots, func(p *spot) bool { return p.shelf == w.shelf })
}

// wanted reports whether a flow waits for a worker that has loaded what this one
// has.
func (w *worker) wanted() bool { return w.shelf.line.len() > 0 }

// shelve puts a worker where its files are; one that is drained has a shelf of
// its own, for which nobody waits.
func (s *Scheduler) shelve(w *worker, files []File) {
	sh := newShelf(files)
	w.shelf = sh
	if w.drained {
		return
	}
	for _, other := range s.shelves {
		if slices.Equal(other.list, sh.list) {
			w.shelf = other
			other.workers++
			return
		}
	}
	sh.workers = 1
	s.shelves = append(s.shelves, sh)
	for _, file := range sh.list {
		s.homes[file] = append(s.homes[file], sh)
	}
	for _, f := range s.flows {
		if sh.holds(f.files) {
			f.spots = append(f.spots, &spot{flow: f, shelf: sh})
			s.refresh(f)
		}
	}
}

// unshelve takes a worker from its shelf that went down or is drained. What it
// costs does not matter: that happens seldom.
func (s *Scheduler) unshelve(w *worker) {
	sh := w.shelf
	if sh.workers--; sh.workers > 0 {
		return
	}
	is := func(x *shelf) bool { return x == sh }
	s.shelves = slices.DeleteFunc(s.shelves, is)
	for _, file := range sh.list {
		if s.homes[file] = slices.DeleteFunc(s.homes[file], is); len(s.homes[file]) == 0 {
			delete(s.homes, file)
		}
	}
	for _, f := range s.flows {
		if i := slices.IndexFunc(f.spots, func(p *spot) bool { return p.shelf == sh }); i >= 0 {
			f.spots = slices.Delete(f.spots, i, i+1)
			s.refresh(f)
		}
	}
}

// locate finds the shelves that have what a new flow needs.
func (s *Scheduler) locate(f *flow) {
	candidates := s.shelves
	if len(f.files) > 0 {
		candidates = s.homes[f.files[0]]
	}
	for _, sh := range candidates {
		if sh.holds(f.files) {
			f.spots = append(f.spots, &spot{flow: f, shelf: sh})
		}
	}
}

// refresh keeps the lines true: in them are the flows that have requests which
// may run and no worker that takes them. Those whose files no worker has are
// missing.
func (s *Scheduler) refresh(f *flow) {
	waits := f.waiting > 0 && len(f.open) == 0 && !f.capped()
	f.place, f.leads = f.reckon()
	for _, p := range f.spots {
		if waits {
			p.shelf.line.fix(p)
		} else {
			p.shelf.line.remove(p)
		}
	}
	if waits && len(f.spots) == 0 {
		s.missing.fix(f)
	} else {
		s.missing.remove(f)
	}
}

// anyWaits reports whether a flow waits for a worker that is up.
func (s *Scheduler) anyWaits() bool {
	return slices.ContainsFunc(s.shelves, func(sh *shelf) bool { return sh.line.len() > 0 })
}
