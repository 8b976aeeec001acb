package residency

import (
	"slices"

	"github.com/loragate/loragate/internal/residency/stock"
)

// Set is a set of files that one or more workers have loaded. When all workers have
// loaded the same, which is the rule, there is one.
type Set struct {
	files   map[stock.File]bool
	list    []stock.File // the same, sorted
	workers int          // that have it, and count: see sets
}

func newSet(files []stock.File) *Set {
	set := &Set{files: make(map[stock.File]bool, len(files)), list: slices.Compact(slices.Sorted(slices.Values(files)))}
	for _, file := range files {
		set.files[file] = true
	}
	return set
}

// Files returns what is in the set, sorted; it must not be changed.
func (s *Set) Files() []stock.File { return s.list }

// Workers is how many workers have the set and count as having it.
func (s *Set) Workers() int { return s.workers }

// Has reports whether a file is in the set.
func (s *Set) Has(file stock.File) bool { return s.files[file] }

// Holds reports whether all of the files are in the set.
func (s *Set) Holds(files []stock.File) bool {
	for _, file := range files {
		if !s.files[file] {
			return false
		}
	}
	return true
}

// sets are those of all workers that count: what an operator drained does not.
type sets struct {
	all   []*Set
	homes map[stock.File][]*Set // by file that is in them
}

// join returns the set of a worker that has these files loaded: the one of others that
// have the same, if there is one.
func (ss *sets) join(files []stock.File) *Set {
	set := newSet(files)
	for _, other := range ss.all {
		if slices.Equal(other.list, set.list) {
			other.workers++
			return other
		}
	}
	set.workers = 1
	ss.all = append(ss.all, set)
	for _, file := range set.list {
		ss.homes[file] = append(ss.homes[file], set)
	}
	return set
}

// leave takes a worker out of its set.
func (ss *sets) leave(set *Set) {
	if set.workers--; set.workers > 0 {
		return
	}
	is := func(x *Set) bool { return x == set }
	ss.all = slices.DeleteFunc(ss.all, is)
	for _, file := range set.list {
		if ss.homes[file] = slices.DeleteFunc(ss.homes[file], is); len(ss.homes[file]) == 0 {
			delete(ss.homes, file)
		}
	}
}

// with returns the sets that may have all of the files: those that have the first.
func (ss *sets) with(files []stock.File) []*Set {
	if len(files) == 0 {
		return ss.all
	}
	return ss.homes[files[0]]
}

func (ss *sets) loaded(file stock.File) bool { return len(ss.homes[file]) > 0 }
