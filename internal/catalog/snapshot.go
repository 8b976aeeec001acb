package catalog

import (
	"cmp"
	"slices"
	"strings"

	"github.com/loragate/loragate/internal/lora"
)

// snapshot is what Resolve, Models and Stock answer from. It is immutable.
type snapshot struct {
	byName      map[string]*Model
	quarantined map[string]*QuarantinedError
	states      map[string]State // of names that have a record and no model
	models      []*Model
	stock       []Stock
	staged      map[string]bool // files of staged versions
	adhoc       bool
}

// resolve returns the model of a name or an expression.
func (s *snapshot) resolve(name string) (*Model, error) {
	if m, ok := s.byName[name]; ok {
		return m, nil
	}
	if s.adhoc && isExpression(name) {
		return s.compose(name)
	}
	return s.named(name)
}

func (s *snapshot) named(name string) (*Model, error) {
	if m, ok := s.byName[name]; ok {
		return m, nil
	}
	if q, ok := s.quarantined[name]; ok {
		return nil, q
	}
	return nil, &UnknownError{Name: name, State: s.states[name]}
}

// build makes a snapshot of the records, and sets the states of compositions,
// which follow from those of their adapters.
func (st *records) build(base *Model, adhoc bool) *snapshot {
	s := &snapshot{
		byName:      map[string]*Model{base.Name: base},
		quarantined: make(map[string]*QuarantinedError), states: make(map[string]State),
		staged: make(map[string]bool), adhoc: adhoc,
	}
	for _, e := range st.entries {
		if e.kind == KindAdapter {
			s.add(e, e.model())
		}
	}
	for _, e := range st.entries {
		if e.kind == KindComposition {
			s.add(e, e.composed(st))
		}
	}
	for _, m := range s.byName {
		if m != base {
			s.models = append(s.models, m)
		}
	}
	slices.SortFunc(s.models, func(a, b *Model) int { return strings.Compare(a.Name, b.Name) })
	s.models = slices.Insert(s.models, 0, base)
	s.stock = st.stock()
	return s
}

// add puts a record's model in under all its names, or why it has none.
func (s *snapshot) add(e *entry, m *Model) {
	if e.staged != nil {
		s.staged[e.staged.Path] = true
	}
	names := append([]string{e.spec.Name}, e.spec.Aliases...)
	for i, name := range names {
		switch {
		case m == nil && e.state == Quarantined:
			s.quarantined[name] = &QuarantinedError{Name: e.spec.Name, Reason: e.reason}
		case m == nil:
			s.states[name] = e.state
		case i == 0:
			s.byName[name] = m
		default:
			alias := *m
			alias.Name, alias.Kind = name, KindAlias
			s.byName[name] = &alias
		}
	}
}

// model is what an adapter's record stands for, or nil.
func (e *entry) model() *Model {
	if e.active == nil {
		return nil
	}
	part := Part{Version: e.active, Scale: cmp.Or(e.spec.Scale, 1)}
	return e.finished([]Part{part}, []Part{part})
}

// composed is what a composition stands for, or nil; the record's state says why.
func (e *entry) composed(st *records) *Model {
	var parts []Part
	for _, share := range e.spec.Shares {
		a := st.owner(share.Adapter)
		if a == nil || a.kind != KindAdapter || a.active == nil {
			e.state, e.reason = Rejected, "it needs the adapter "+share.Adapter+", "+missing(a)
			return nil
		}
		part := Part{Version: a.active, Scale: share.Scale}
		if part.Scale == 0 {
			part.Scale = cmp.Or(a.spec.Scale, 1)
		}
		parts = append(parts, part)
	}
	e.state, e.reason = Ready, ""
	return e.finished(parts, nil)
}

func missing(a *entry) string {
	switch {
	case a == nil:
		return "which does not exist"
	case a.kind != KindAdapter:
		return "which is a composition itself"
	default:
		return "which is " + string(a.state)
	}
}

func (e *entry) finished(parts, single []Part) *Model {
	m := &Model{
		Name: e.spec.Name, Target: e.spec.Name, Kind: e.kind, Parts: sumParts(parts), single: single, sum: e.kind == KindComposition,
		Settings: e.spec.Settings, Created: e.updated,
	}
	m.Weight = m.WeightOrDefault()
	if e.active != nil {
		m.Created = e.active.Created
	}
	m.identity = identify(m.Parts)
	return m
}

// stock returns the files of active and staged versions, each once, by path.
func (st *records) stock() []Stock {
	byPath := make(map[string]*Stock)
	add := func(v *lora.Version, pin, preload bool) {
		if v == nil {
			return
		}
		s, ok := byPath[v.Path]
		if !ok {
			s = &Stock{Path: v.Path, Bytes: v.Bytes}
			byPath[v.Path] = s
		}
		s.Pin, s.Preload = s.Pin || pin, s.Preload || preload
	}
	for _, e := range st.entries {
		add(e.active, e.pin(), e.spec.Preload)
		add(e.staged, e.pin(), true)
		if e.kind != KindComposition {
			continue
		}
		for _, share := range e.spec.Shares { // pinning a sum pins what it is of
			if a := st.owner(share.Adapter); a != nil && e.state == Ready {
				add(a.active, e.pin(), e.spec.Preload)
			}
		}
	}
	list := make([]Stock, 0, len(byPath))
	for _, s := range byPath {
		list = append(list, *s)
	}
	slices.SortFunc(list, func(a, b Stock) int { return strings.Compare(a.Path, b.Path) })
	return list
}
