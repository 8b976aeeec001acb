package records

import (
	"cmp"
	"slices"
	"strings"

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
				return lora.Errorf(lora.Conflict, "the name %q is kept for %q, which waits for its names to be free",
					name, e.Name)
			}
		}
	}
	return nil
}

// Get returns a copy of the record of a name.
func (s *Set) Get(name string) (lora.Record, bool) {
	if e := s.entries[name]; e != nil {
		return e.Copy(), true
	}
	if e := s.lost[name]; e != nil {
		return s.withoutName(e), true
	}
	return s.stray(name)
}

// stray returns the record of a file of the directory that is not served: of several, the
// first by path.
func (s *Set) stray(name string) (first lora.Record, found bool) {
	for _, r := range s.strays {
		if r.Name == name && (!found || r.Source < first.Source) {
			first, found = r.Record, true
		}
	}
	return first, found
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
	for _, r := range s.strays {
		list = append(list, r.Record)
	}
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
