package records

import (
	"errors"
	"reflect"
	"time"

	"github.com/loragate/loragate/internal/lora"
)

// Plan is what becomes of one entry of the list.
type Plan struct {
	entry *Entry // that goes on, or begins
	Next  Entry  // as this
	Get   bool   // its source is new or changed
}

// Configure plans to put a list in the place of the one before: gone are those that have no
// place in it, and those that are as they were have no plan. Or it says all that is wrong
// with the list. known has the prints of sources that would bring nothing but what was kept of
// their entries over a restart. Nothing changes before Adopt.
func (s *Set) Configure(list []lora.Spec, known map[string]string, now time.Time) (
	plans []Plan, gone []*Entry, err error,
) {
	if err := errors.Join(checkList(list), s.clashes(list)); err != nil {
		return nil, nil, err
	}
	kinds := make(map[string]lora.Kind, len(list))
	for _, spec := range list {
		kinds[spec.Name] = spec.Kind()
		if p, changed := s.plan(spec, known[spec.Name], now); changed {
			plans = append(plans, p)
		}
	}
	for name, e := range s.entries {
		if e.Origin == lora.FromConfig && e.Kind != kinds[name] {
			gone = append(gone, e)
		}
	}
	return plans, gone, nil
}

// checkList reports what makes no sense in the list by itself.
func checkList(list []lora.Spec) error {
	var problems []error
	taken := make(map[string]string) // by name, whose it is
	for _, spec := range list {
		problems = append(problems, spec.Validate())
		for _, name := range spec.Names() {
			if other, twice := taken[name]; twice {
				problems = append(problems, lora.Errorf(lora.Conflict, "the name %q is taken twice: by %q and by %q",
					name, other, spec.Name))
			}
			taken[name] = spec.Name
		}
	}
	return errors.Join(problems...)
}

// clashes reports names of the list that belong to others.
func (s *Set) clashes(list []lora.Spec) error {
	var problems []error
	for _, spec := range list {
		for _, name := range spec.Names() {
			problems = append(problems, s.taken(name, func(e *Entry) bool { return e.Origin != lora.FromConfig }))
		}
	}
	return errors.Join(problems...)
}

// plan returns what becomes of an entry, unless it is as it was.
func (s *Set) plan(spec lora.Spec, known string, now time.Time) (p Plan, changed bool) {
	kind := spec.Kind()
	e := s.entries[spec.Name]
	kept := s.Kept(lora.FromConfig, spec.Name)
	fresh := e == nil || e.Kind != kind
	if fresh {
		if e = kept; e == nil || e.Kind != kind {
			e = &Entry{Record: lora.Record{Origin: lora.FromConfig, Kind: kind, State: lora.Downloading}}
		}
	} else if reflect.DeepEqual(e.Spec, spec) {
		return Plan{}, false
	}
	p = Plan{entry: e, Next: *e}
	p.Get = kind == lora.KindAdapter && (fresh || e.Source != spec.Source || e.Digest != spec.Digest)
	if p.Get && e == kept && e.Digest == spec.Digest && known != "" {
		p.Get, p.Next.Taken = false, known
		s.reused++
	}
	p.Next.Become(spec)
	p.Next.Updated = now
	return p, true
}

// Adopt puts a plan in force, and returns the version that is to be got, nil for none.
func (s *Set) Adopt(p Plan) *Pending {
	*p.entry = p.Next
	s.entries[p.entry.Name] = p.entry
	if p.Get {
		return p.entry.Begin(p.entry.Spec)
	}
	if p.entry.Pending != nil {
		p.entry.Pending.spec = p.entry.Spec // the one that it began with is out of date
	}
	return nil
}

// Recheck has those entries of the list wait for a version whose sources have other prints,
// which are by name, than when they were taken in. One that did not have its print before
// may not be complete, and waits. A source that is gone changes nothing.
func (s *Set) Recheck(prints, before map[string]string) (begun []*Pending, waiting bool) {
	for name, print := range prints {
		e := s.entries[name]
		if e == nil || e.Origin != lora.FromConfig || e.Pending != nil || e.Retry || print == "" || print == e.Taken {
			continue
		}
		if before[name] != print {
			waiting = true
			continue
		}
		begun = append(begun, e.Begin(e.Spec))
	}
	return begun, waiting
}
