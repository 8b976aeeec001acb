package records

import (
	"iter"
	"maps"

	"github.com/loragate/loragate/internal/lora"
)

// Set is all entries. Whoever has it owns it and the entries in it.
type Set struct {
	base        string
	entries     map[string]*Entry // by name
	lost        map[string]*Entry // the API's own whose names belong to others since a restart, by name
	strays      map[string]stray  // files of the directory that are not served, by path
	quarantined map[string]string // reasons, by digest
	kept        map[key]*Entry    // what was kept over a restart; nil once the start is over
	reused      int               // of that, what was as before and is not got again
}

// stray is a file of the directory that is not served.
type stray struct {
	lora.Record
	name bool // for its name alone, which may become free
}

type key struct {
	origin lora.Origin
	name   string
}

// New returns a set without entries. base is a name that none of them has; quarantined has
// the reasons of quarantined bytes, by digest.
func New(base string, quarantined map[string]string) *Set {
	return &Set{
		base: base, quarantined: quarantined,
		entries: make(map[string]*Entry), lost: make(map[string]*Entry),
		strays: make(map[string]stray), kept: make(map[key]*Entry),
	}
}

// Kept returns what was kept of an entry over a restart, nil for none; for reading only.
func (s *Set) Kept(origin lora.Origin, name string) *Entry { return s.kept[key{origin, name}] }

// Entry returns the entry of a name, or nil.
func (s *Set) Entry(name string) *Entry { return s.entries[name] }

// Own returns the API's entry that a name means, even if it waits for its names, or nil.
func (s *Set) Own(name string) *Entry {
	if e := s.lost[name]; e != nil {
		return e
	}
	return s.entries[name]
}

// Lost returns the entries that wait for their names.
func (s *Set) Lost() iter.Seq[*Entry] { return maps.Values(s.lost) }

// Named returns all entries that have their names.
func (s *Set) Named() iter.Seq[*Entry] { return maps.Values(s.entries) }

// all are the entries, those without their names included.
func (s *Set) all() iter.Seq[*Entry] {
	return func(yield func(*Entry) bool) {
		for _, set := range []map[string]*Entry{s.entries, s.lost} {
			for _, e := range set {
				if !yield(e) {
					return
				}
			}
		}
	}
}

// Put gives an entry its name.
func (s *Set) Put(e *Entry) {
	delete(s.lost, e.Name)
	s.entries[e.Name] = e
}

// Drop takes an entry out.
func (s *Set) Drop(e *Entry) {
	for _, set := range []map[string]*Entry{s.entries, s.lost} {
		if set[e.Name] == e {
			delete(set, e.Name)
		}
	}
}

// Digests returns those of all versions.
func (s *Set) Digests() map[string]bool {
	all := make(map[string]bool)
	for e := range s.all() {
		for _, v := range e.Versions {
			all[v.Digest] = true
		}
	}
	return all
}
