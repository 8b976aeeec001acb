package schema

import (
	"regexp"
	"slices"

	"github.com/loragate/loragate/internal/rawjson"
)

// property is one of an object, with what all schemas say of it.
type property struct {
	key      string
	says     []*node
	required bool
}

// fields gathers what schemas say of objects.
type fields struct {
	list    []*property
	by      map[string]*property
	extra   []*node // of properties without a name
	open    bool    // there may be some of those
	shut    bool    // there are none
	unnamed bool    // no schema says which there may be
}

func (f *fields) property(key string) *property {
	p := f.by[key]
	if p == nil {
		p = &property{key: key}
		f.by[key] = p
		f.list = append(f.list, p)
	}
	return p
}

// everyKey are patterns that every name fits.
var everyKey = []string{"", ".*", "^.*$", "^", "$", "^.*", ".*$"}

// fields reads the objects' keywords of all schemas.
func (h *holder) fields(all []*node) (*fields, error) {
	f := &fields{by: map[string]*property{}, unnamed: true}
	for _, n := range all {
		f.unnamed = f.unnamed && n.get("properties") == nil
		o, _ := rawjson.Scan(n.get("properties"))
		for key := range o.All() {
			f.property(key)
		}
	}
	for _, n := range all {
		for _, raw := range rawjson.Elements(n.get("required")) {
			key := rawjson.Text(raw)
			if f.by[key] == nil {
				h.changed = true
			}
			f.property(key).required = true
		}
	}
	for _, n := range all {
		if err := h.fill(f, n); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// fill adds what one schema says of each property.
func (h *holder) fill(f *fields, n *node) error {
	own := map[string][]byte{}
	o, _ := rawjson.Scan(n.get("properties"))
	for key, raw := range o.All() {
		own[key] = raw
	}
	type fitting struct {
		pattern *regexp.Regexp
		says    *node
	}
	var patterns []fitting
	more, moreAt := n.get("additionalProperties"), "additionalProperties"
	if more == nil && len(own) == 0 && n.get("patternProperties") == nil {
		if raw := n.get("unevaluatedProperties"); raw != nil {
			more, moreAt = raw, "unevaluatedProperties"
			h.changed = true
		}
	}
	listed, _ := rawjson.Scan(n.get("patternProperties"))
	for key, raw := range listed.All() {
		h.changed = true
		if slices.Contains(everyKey, key) {
			f.extra, f.open = append(f.extra, h.node(raw, n.at.in("patternProperties", key))), true
		} else if len(own) == 0 || more != nil && string(more) != "false" {
			return n.refuse("patternProperties", "can be held only of properties that are listed: a grammar cannot choose "+
				"names by a pattern; list them in properties, or use additionalProperties")
		}
		pattern, err := regexp.Compile(inGo(key))
		if err != nil {
			return n.refuse("patternProperties", "has an expression that cannot be read: %v", err)
		}
		patterns = append(patterns, fitting{pattern, h.node(raw, n.at.in("patternProperties", key))})
	}
	if more != nil {
		node := h.node(more, n.at.in(moreAt))
		f.shut = f.shut || node.false
		f.open = f.open || !node.false
		if node.keys != nil {
			f.extra = append(f.extra, node)
		}
	}
	for _, p := range f.list {
		raw, said := own[p.key]
		if said {
			p.says = append(p.says, h.node(raw, n.at.in("properties", p.key)))
		}
		if err := h.look(len(patterns)); err != nil {
			return err
		}
		for _, one := range patterns {
			if one.pattern.MatchString(p.key) {
				p.says, said = append(p.says, one.says), true
			}
		}
		if !said && more != nil {
			p.says = append(p.says, h.node(more, n.at.in(moreAt)))
		}
	}
	return h.names(f, n)
}

// names sees to it that names of properties are what one schema asks for.
func (h *holder) names(f *fields, n *node) error {
	raw := n.get("propertyNames")
	if raw == nil || string(raw) == "true" {
		return nil
	}
	h.changed = true
	of := h.node(raw, n.at.in("propertyNames"))
	if values, given := h.listed([]*node{of}); given && f.open && !f.shut {
		for _, value := range values {
			p := f.property(rawjson.Text(value))
			p.says = append(p.says, f.extra...)
		}
		f.shut = true
	}
	if f.open && !f.shut || len(f.list) == 0 {
		return n.refuse("propertyNames", "can be held only of properties that are listed, and as an enum")
	}
	for _, p := range f.list {
		fits, err := h.accepts(of, p.key)
		if err != nil {
			return err
		}
		if !fits {
			p.says = append(p.says, h.node([]byte("false"), of.at))
		}
	}
	return nil
}

// object is a schema for objects.
func (h *holder) object(all []*node) ([]byte, error) {
	f, err := h.fields(all)
	if err != nil {
		return nil, err
	}
	least, most, err := h.length(all, "minProperties", "maxProperties")
	if err != nil {
		return nil, err
	}
	m := &made{rest: []byte("false"), whole: !f.open && !f.shut && len(f.list) == 0}
	for _, p := range f.list {
		text, err := h.hold(p.says)
		switch {
		case impossible(err) && !p.required:
			h.changed = true
			continue
		case err != nil:
			return nil, err
		case p.required:
			m.required = append(m.required, p.key)
		}
		m.properties.add(p.key, text)
	}
	if f.unnamed && !f.shut { // of an object that only must have some properties, others are free
		f.open = true
	}
	if f.open && !f.shut {
		rest, err := h.hold(f.extra)
		switch {
		case impossible(err):
		case err != nil:
			return nil, err
		case string(rest) == string(anything):
			m.rest = []byte("true")
		default:
			m.rest = rest
		}
	}
	return h.counted(all, m, least, most)
}

// made is an object's schema as it is put together.
type made struct {
	properties members
	required   []string
	rest       []byte
	whole      bool // nothing is said of any property
}

func (m *made) text(h *holder) ([]byte, error) {
	text := members{{"type", []byte(`"object"`)}}
	if !m.whole {
		text.add("properties", m.properties.object())
	}
	if len(m.required) > 0 {
		var names [][]byte
		for _, name := range m.required {
			names = append(names, rawjson.String(name))
		}
		text.add("required", rawjson.List(names))
	}
	if !m.whole {
		text.add("additionalProperties", m.rest)
	}
	return h.text(text)
}

// optional are the names of properties that need not be there.
func (m *made) optional() (names []string) {
	for _, one := range m.properties {
		if !slices.Contains(m.required, one.key) {
			names = append(names, one.key)
		}
	}
	return names
}

// having is the schema for objects that have all of some optional properties, and, if others
// is false, no other optional ones.
func (m *made) having(names []string, others bool) *made {
	with := *m
	with.required = slices.Concat(m.required, names)
	if !others {
		with.properties = slices.DeleteFunc(slices.Clone(m.properties), func(one member) bool {
			return !slices.Contains(with.required, one.key)
		})
	}
	return &with
}

// lacking is the schema for objects without one property.
func (m *made) lacking(name string) *made {
	with := *m
	with.properties = slices.DeleteFunc(slices.Clone(m.properties), func(one member) bool { return one.key == name })
	return &with
}

// counted is a schema for objects of so many properties, of which a grammar does not know how
// many there are: where few sets of them are meant, each is an alternative.
func (h *holder) counted(all []*node, m *made, least, most int) ([]byte, error) {
	if most == 0 && m.whole {
		h.changed = true
		m = &made{rest: []byte("false")}
	}
	optional := m.optional()
	low, high := len(m.required), len(m.properties)
	if m.whole || string(m.rest) != "false" {
		high = noBound
	}
	switch {
	case least <= low && most >= high:
		return m.text(h)
	case least > high || most < low:
		return nil, all[0].never("no object has so many properties")
	}
	h.changed = true
	var ways []*made
	switch {
	case most == low && high != noBound:
		ways = []*made{m.having(nil, false)}
	case least == high:
		ways = []*made{m.having(optional, true)}
	case least == low+1 && most >= high && high != noBound:
		for _, name := range optional {
			ways = append(ways, m.having([]string{name}, true))
		}
	case most == high-1 && least <= low:
		for _, name := range optional {
			ways = append(ways, m.lacking(name))
		}
	case most == low+1 && high != noBound:
		for _, name := range optional {
			ways = append(ways, m.having([]string{name}, false))
		}
		if least <= low {
			ways = append(ways, m.having(nil, false))
		}
	}
	if len(ways) == 0 {
		return nil, refuseCount(all, least > low)
	}
	var texts [][]byte
	for _, way := range ways {
		text, err := way.text(h)
		if err != nil {
			return nil, err
		}
		texts = append(texts, text)
	}
	return h.either(all[0], texts)
}

// refuseCount is the error for a number of properties that cannot be held.
func refuseCount(all []*node, least bool) error {
	key := "maxProperties"
	if least {
		key = "minProperties"
	}
	for _, n := range all {
		if n.get(key) != nil {
			return n.refuse(key, "cannot be held: a grammar does not count properties; say with required which there must be, "+
				"and with additionalProperties: false that there are no others")
		}
	}
	return all[0].refuse(key, "cannot be held")
}
