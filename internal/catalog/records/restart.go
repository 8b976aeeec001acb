package records

import (
	"maps"
	"slices"

	"github.com/loragate/loragate/internal/lora"
)

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

// Reclaim gives the API's own entries the names that are free now. It returns the versions
// that were being got when the gateway ended, and are so again.
func (s *Set) Reclaim() (begun []*Pending) {
	for _, name := range slices.Sorted(maps.Keys(s.lost)) {
		e := s.lost[name]
		if s.Clash(&e.Spec, nil) != nil {
			continue
		}
		s.Put(e)
		if e.Kind == lora.KindAdapter && len(e.Versions) == 0 && e.Unfinished {
			begun = append(begun, e.Begin(e.Spec))
		}
	}
	return begun
}
