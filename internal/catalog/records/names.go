package records

import (
	"maps"
	"slices"

	"github.com/loragate/loragate/internal/lora"
)

// Owner returns the entry that a name or an alias belongs to, or nil.
func (s *Set) Owner(name string) *Entry {
	if e, ok := s.entries[name]; ok {
		return e
	}
	for _, e := range s.entries {
		if slices.Contains(e.Aliases, name) {
			return e
		}
	}
	return nil
}

// holder returns the entry that a name belongs to, or will when the version that it waits
// for is there, or nil.
func (s *Set) holder(name string) *Entry {
	if e := s.Owner(name); e != nil {
		return e
	}
	for _, e := range s.entries {
		if e.Pending != nil && slices.Contains(e.Pending.spec.Aliases, name) {
			return e
		}
	}
	return nil
}

// aliases returns all of them, those that entries will have included.
func (s *Set) aliases() map[string]bool {
	all := make(map[string]bool)
	for _, e := range s.entries {
		for _, alias := range e.Aliases {
			all[alias] = true
		}
		if e.Pending == nil {
			continue
		}
		for _, alias := range e.Pending.spec.Aliases {
			all[alias] = true
		}
	}
	return all
}

// Clash returns why a spec's names cannot be its own, or nil. The entry that it replaces
// does not count.
func (s *Set) Clash(spec *lora.Spec, replaced *Entry) error {
	seen := map[string]bool{}
	for _, name := range spec.Names() {
		if seen[name] {
			return lora.Errorf(lora.Invalid, "%s: the name %q is there twice", spec.Name, name)
		}
		seen[name] = true
		if err := s.taken(name, func(e *Entry) bool { return e != replaced }); err != nil {
			return err
		}
	}
	return nil
}

// taken returns why a name is not to be had, or nil: it is the base's, or that of an entry
// that counts.
func (s *Set) taken(name string, counts func(*Entry) bool) error {
	if name == s.base {
		return lora.Errorf(lora.Conflict, "the name %q is taken by the base model", name)
	}
	if e := s.holder(name); e != nil && counts(e) {
		return lora.Errorf(lora.Conflict, "the name %q is taken by %s", name, e.describe())
	}
	return nil
}

// MayPut returns the API's entry that a spec replaces, nil for none, or why it cannot be
// put.
func (s *Set) MayPut(spec *lora.Spec) (*Entry, error) {
	e := s.entries[spec.Name]
	if e != nil {
		if err := e.Foreign(); err != nil {
			return nil, err
		}
	} else {
		e = s.lost[spec.Name]
	}
	if err := s.Clash(spec, e); err != nil {
		return nil, err
	}
	if err := s.reserved(spec, e); err != nil {
		return nil, err
	}
	if e != nil && e.Kind != spec.Kind() {
		words := map[lora.Kind]string{lora.KindAdapter: "an adapter", lora.KindComposition: "a composition"}
		return nil, lora.Errorf(lora.Conflict, "%s is %s: remove it first", spec.Name, words[e.Kind])
	}
	return e, nil
}

// reserved returns why the API must not give a spec its names, or nil: those of its own
// entries that wait for their names would never have them back. The entry that the spec
// replaces does not count.
func (s *Set) reserved(spec *lora.Spec, replaced *Entry) error {
	for _, name := range spec.Names() {
		for _, e := range s.lost {
			if e != replaced && (e.Name == name || slices.Contains(e.Aliases, name)) {
				return lora.Errorf(lora.Conflict, "the name %q is kept for %q, which waits for its names to be free", name, e.Name)
			}
		}
	}
	return nil
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

// Freed reports whether a file of the directory could have its name now.
func (s *Set) Freed() bool {
	for _, r := range s.strays {
		if filePattern.MatchString(r.Name) && s.Clash(&lora.Spec{Name: r.Name}, nil) == nil {
			return true
		}
	}
	return false
}
