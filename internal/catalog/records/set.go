package records

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/loragate/loragate/internal/lora"
)

// Set is all entries. Whoever has it owns it and the entries in it.
type Set struct {
	base        string
	entries     map[string]*Entry      // by name
	lost        map[string]*Entry      // the API's own whose names belong to others since a restart, by name
	strays      map[string]lora.Record // files of the directory that cannot have their name, by path
	quarantined map[string]string      // reasons, by digest
	kept        map[key]*Entry         // what was kept over a restart; nil once the start is over
	reused      int                    // of that, what was as before and is not got again
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
		entries: make(map[string]*Entry), lost: make(map[string]*Entry), strays: make(map[string]lora.Record), kept: make(map[key]*Entry),
	}
}

// Restore takes in what was kept of an entry over a restart. It has its place when its
// origin says that it goes on: see Configure, Follow and Opened.
func (s *Set) Restore(e *Entry, isLoaded func(string) bool) {
	s.kept[key{e.Origin, e.Name}] = e
	if e.Active == nil {
		return
	}
	if reason, bad := s.quarantined[e.Active.Digest]; bad {
		s.withdraw(e, e.Active.Digest, reason, isLoaded, e.Updated)
	}
}

// Kept returns what was kept of an entry over a restart, nil for none; for reading only.
func (s *Set) Kept(origin lora.Origin, name string) *Entry { return s.kept[key{origin, name}] }

// Reused returns how many entries were as before at the start.
func (s *Set) Reused() int { return s.reused }

// Opened ends the start, once the configuration and the directory have taken what is theirs:
// the API's own entries wait for their names, and gone are those of which nobody speaks any
// more.
func (s *Set) Opened() (gone []*Entry) {
	for k, e := range s.kept {
		if k.origin == lora.FromAPI {
			s.lost[k.name] = e
		} else if now := s.entries[k.name]; now == nil || now.Origin != k.origin {
			gone = append(gone, e)
		}
	}
	s.kept = nil
	return gone
}

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

// Get returns a copy of the record of a name.
func (s *Set) Get(name string) (lora.Record, bool) {
	if e := s.entries[name]; e != nil {
		return e.Copy(), true
	}
	if e := s.lost[name]; e != nil {
		return s.withoutName(e), true
	}
	return lora.Record{}, false
}

// List returns copies of all records, by name.
func (s *Set) List() []lora.Record {
	var list []lora.Record
	for _, e := range s.entries {
		list = append(list, e.Copy())
	}
	for _, e := range s.lost {
		list = append(list, s.withoutName(e))
	}
	list = slices.AppendSeq(list, maps.Values(s.strays))
	slices.SortFunc(list, func(a, b lora.Record) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Source, b.Source))
	})
	return list
}

// withoutName is the record of one whose names belong to others.
func (s *Set) withoutName(e *Entry) lora.Record {
	r := e.Copy()
	r.State, r.Active, r.Staged = lora.Rejected, nil, nil
	if err := s.Clash(&e.Spec, nil); err != nil {
		r.Reason = err.Error()
	}
	return r
}

// Compose returns what a composition is made of, nil if that cannot be served, and sets its
// state, which follows from those of its adapters.
func (s *Set) Compose(e *Entry) []lora.Part {
	var parts []lora.Part
	for _, share := range e.Shares {
		a := s.Owner(share.Adapter)
		if a == nil || a.Kind != lora.KindAdapter || a.Active == nil {
			e.State, e.Reason = lora.Rejected, "it needs the adapter "+share.Adapter+", "+missing(a)
			return nil
		}
		part := lora.Part{Version: a.Active, Scale: share.Scale}
		if part.Scale == 0 {
			part.Scale = cmp.Or(a.Scale, 1)
		}
		parts = append(parts, part)
	}
	e.State, e.Reason = lora.Ready, ""
	return parts
}

func missing(a *Entry) string {
	switch {
	case a == nil:
		return "which does not exist"
	case a.Kind != lora.KindAdapter:
		return "which is a composition itself"
	default:
		return "which is " + string(a.State)
	}
}

// TakeOver makes a staged version the one that answers if its file is loaded, and reports
// whether it does.
func (e *Entry) TakeOver(loaded func(path string) bool) bool {
	if e.Staged == nil || !loaded(e.Staged.Path) {
		return false
	}
	e.Active, e.Staged = e.Staged, nil
	e.Settle()
	return true
}
