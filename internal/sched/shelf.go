package sched

import "slices"

// File names an adapter's file; it is opaque here.
type File string

// shelf is a set of files that one or more workers have loaded, and the line of
// flows that wait for one of these workers. When all workers have loaded the
// same, which is the rule, there is one.
type shelf struct {
	files   map[File]bool
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
	sh := &shelf{files: make(map[File]bool, len(files))}
	for _, file := range files {
		sh.files[file] = true
	}
	sh.line = heap[*spot]{
		less:  func(a, b *spot) bool { return a.flow.before(b.flow) },
		index: func(p *spot) *int { return &p.index },
	}
	return sh
}

// holds reports whether all of the files are loaded.
func (sh *shelf) holds(files []File) bool {
	for _, file := range files {
		if !sh.files[file] {
			return false
		}
	}
	return true
}

// holds reports whether the worker has loaded what the flow needs.
func (w *worker) holds(f *flow) bool {
	return slices.ContainsFunc(f.spots, func(p *spot) bool { return p.shelf == w.shelf })
}

// wanted reports whether a flow waits for a worker that has loaded what this one
// has.
func (w *worker) wanted() bool { return w.shelf.line.len() > 0 }

// shelve puts a worker that came up where its files are.
func (s *Scheduler) shelve(w *worker, files []File) {
	for _, sh := range s.shelves {
		if len(sh.files) == len(files) && sh.holds(files) {
			w.shelf = sh
			sh.workers++
			return
		}
	}
	w.shelf = newShelf(files)
	w.shelf.workers = 1
	s.shelves = append(s.shelves, w.shelf)
	s.relocate()
}

// unshelve takes a worker that went down from its shelf.
func (s *Scheduler) unshelve(w *worker) {
	if w.shelf.workers--; w.shelf.workers == 0 {
		s.shelves = slices.DeleteFunc(s.shelves, func(sh *shelf) bool { return sh == w.shelf })
		s.relocate()
	}
}

// relocate finds the lines of all flows anew. Shelves come and go with restarts
// of workers, so what it costs does not matter.
func (s *Scheduler) relocate() {
	for _, f := range s.flows {
		s.locate(f)
		s.refresh(f)
	}
}

// locate finds the shelves that have what the flow needs; the flow is in no line
// after that.
func (s *Scheduler) locate(f *flow) {
	for _, p := range f.spots {
		p.shelf.line.remove(p)
	}
	f.spots = f.spots[:0]
	for _, sh := range s.shelves {
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
