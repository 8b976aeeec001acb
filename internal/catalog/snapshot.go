package catalog

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/loragate/loragate/internal/catalog/records"
	"github.com/loragate/loragate/internal/lora"
)

// snapshot is what Resolve, Models and Stock answer from. It is immutable.
type snapshot struct {
	byName      map[string]*Model
	quarantined map[string]*lora.Error // why a name has no model now
	models      []*Model
	stock       []Stock
	staged      map[string]bool // files of staged versions
	adhoc       bool
}

// Stock is one file that workers may be asked to load.
type Stock struct {
	Path    string
	Bytes   int64
	Pin     bool // on every worker
	Preload bool // on one worker at least, soon and always
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
	return nil, lora.Errorf(lora.NotFound, "there is no model %q", lora.Shorten(name))
}

// build makes a snapshot of the records, and sets the states of compositions,
// which follow from those of their adapters.
func build(set *records.Set, base *Model, adhoc bool) *snapshot {
	s := &snapshot{
		byName:      map[string]*Model{base.Name: base},
		quarantined: make(map[string]*lora.Error), staged: make(map[string]bool), adhoc: adhoc,
	}
	for e := range set.Named() {
		if e.Kind == lora.KindAdapter {
			s.add(e, modelOf(e, nil))
		}
	}
	for e := range set.Named() {
		if e.Kind == lora.KindComposition {
			s.add(e, modelOf(e, set.Compose(e)))
		}
	}
	for _, m := range s.byName {
		if m != base {
			s.models = append(s.models, m)
		}
	}
	slices.SortFunc(s.models, func(a, b *Model) int { return strings.Compare(a.Name, b.Name) })
	s.models = slices.Insert(s.models, 0, base)
	s.stock = stock(set)
	return s
}

// add puts a record's model in under all its names, or why it has none.
func (s *snapshot) add(e *records.Entry, m *Model) {
	if e.Staged != nil {
		s.staged[e.Staged.Path] = true
	}
	for i, name := range e.Names() {
		switch {
		case m == nil && e.State == lora.Quarantined:
			why := lora.Errorf(lora.InQuarantine, "the model %q is quarantined", e.Name)
			s.quarantined[name] = why.Because(errors.New(e.Reason))
		case m == nil:
		case i == 0:
			s.byName[name] = m
		default:
			alias := *m
			alias.Name, alias.Kind = name, lora.KindAlias
			s.byName[name] = &alias
		}
	}
}

// modelOf returns what a record stands for, nil if it cannot be served. parts are those of a
// composition.
func modelOf(e *records.Entry, parts []lora.Part) *Model {
	m := &Model{
		Name: e.Name, Target: e.Name, Kind: e.Kind, sum: e.Kind == lora.KindComposition,
		Settings: e.Settings, Created: e.Updated,
	}
	switch {
	case m.sum && e.State != lora.Ready, !m.sum && e.Active == nil:
		return nil
	case !m.sum:
		parts = []lora.Part{{Version: e.Active, Scale: cmp.Or(e.Scale, 1)}}
		m.single, m.Created = parts, e.Active.Created
	}
	m.Parts, m.Weight = sumParts(parts), m.WeightOrDefault()
	m.identity = identify(m.Parts)
	return m
}

// stock returns the files of active and staged versions, each once, by path.
func stock(set *records.Set) []Stock {
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
	for e := range set.Named() {
		add(e.Active, e.Pinning(), e.Preload)
		add(e.Staged, e.Pinning(), true)
		if e.Kind != lora.KindComposition {
			continue
		}
		for _, share := range e.Shares { // pinning a sum pins what it is of
			if a := set.Owner(share.Adapter); a != nil && e.State == lora.Ready {
				add(a.Active, e.Pinning(), e.Preload)
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
