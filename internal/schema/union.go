package schema

import (
	"slices"
	"strconv"

	"github.com/loragate/loragate/internal/rawjson"
)

// union is a schema for what satisfies one of several, and what stands beside them.
func (h *holder) union(n *node, key string, rest []*node) ([]byte, error) {
	parts := rawjson.Elements(n.get(key))
	if len(parts) == 0 {
		return nil, n.refuse(key, "must be a list of schemas")
	}
	if len(rest) > 0 {
		h.changed = true
	}
	var made [][]byte
	var of []*node // what each was made of
	var why error
	for i, part := range parts {
		one := h.node(part, n.at.in(key, strconv.Itoa(i)))
		text, err := h.hold(append(slices.Clone(rest), one))
		if impossible(err) {
			h.changed = true
			why = err
			continue
		}
		if err != nil {
			return nil, err
		}
		made, of = append(made, text), append(of, one)
	}
	if key == "oneOf" {
		if err := h.exclusive(n, made, of); err != nil {
			return nil, err
		}
	}
	if len(made) == 0 && why != nil {
		return nil, why
	}
	return h.either(n, made)
}

// resolved follows references in what was made here.
func (h *holder) resolved(made []byte) rawjson.Object {
	for range maxDepth {
		o, _ := rawjson.Scan(made)
		ref, is := o.Raw("$ref")
		if !is {
			return o
		}
		made = nil
		for _, d := range h.made {
			if "#/$defs/"+d.key == rawjson.Text(ref) {
				made = d.value
			}
		}
	}
	return rawjson.Object{}
}

// exclusive refuses alternatives of which more than one may hold: a grammar takes them for
// anyOf.
func (h *holder) exclusive(n *node, made [][]byte, of []*node) error {
	if distinct(of) {
		return nil
	}
	if len(made) > maxExclusive {
		return n.refuse("oneOf", "has more than %d alternatives, which is as many as are compared: use anyOf", maxExclusive)
	}
	for i := range made {
		for j := range of {
			if i == j || h.apart(made[i], of[j], 0) {
				continue
			}
			return n.refuse("oneOf", "has alternatives, the numbers %d and %d of those that can be, that may hold at once, which "+
				"a grammar cannot keep from happening: use anyOf, or give each a required property with a const of its own",
				min(i, j), max(i, j))
		}
	}
	return nil
}

// distinct reports whether schemas only list values, and none is in two of them.
func distinct(of []*node) bool {
	met := map[string]bool{}
	for _, n := range of {
		if !n.only("const") && !n.only("enum") {
			return false
		}
		values := rawjson.Elements(n.get("enum"))
		if raw := n.get("const"); raw != nil {
			values = [][]byte{raw}
		}
		for _, value := range values {
			word := canonical(decode(value))
			if met[word] {
				return false
			}
			met[word] = true
		}
	}
	return true
}

// apart reports whether no value that is made of one schema satisfies another one, as far as
// that is plain.
func (h *holder) apart(made []byte, n *node, deep int) bool {
	if deep++; deep > 32 || n.keys == nil {
		return n.false
	}
	m := h.resolved(made)
	if some, given := m.Raw("anyOf"); given {
		return !slices.ContainsFunc(rawjson.Elements(some), func(one []byte) bool { return !h.apart(one, n, deep) })
	}
	if values, finite := valuesOf(m.Apply()); finite && len(values) <= maxListed {
		return !slices.ContainsFunc(values, func(v []byte) bool {
			fits, err := h.acceptsRaw(n, v)
			return fits || err != nil
		})
	}
	if h.partsApart(made, n, deep) {
		return true
	}
	kind := kindOf(m)
	if kind == "" {
		return false
	}
	if types := n.get("type"); types != nil &&
		slices.ContainsFunc(rawjson.Elements(others(types)), func(t []byte) bool { return rawjson.Text(t) == kind }) {
		return true
	}
	switch kind {
	case "object":
		return h.objectApart(m, n, deep)
	case "number":
		return beyond(m, n, "minimum", "maximum", "exclusiveMaximum") ||
			beyond(m, n, "maximum", "minimum", "exclusiveMinimum")
	case "string":
		return beyond(m, n, "minLength", "maxLength", "maxLength") ||
			beyond(m, n, "maxLength", "minLength", "minLength")
	case "array":
		return beyond(m, n, "minItems", "maxItems", "maxItems") || beyond(m, n, "maxItems", "minItems", "minItems")
	}
	return false
}

// partsApart is apart for a schema that consists of others, or lists its values.
func (h *holder) partsApart(made []byte, n *node, deep int) bool {
	if _, key := n.reference(); key != "" {
		if target, _, err := h.target(n, key); err == nil && h.apart(made, target, deep) {
			return true
		}
	}
	for _, key := range []string{"allOf", "anyOf", "oneOf"} {
		parts := rawjson.Elements(n.get(key))
		away := 0
		for i, part := range parts {
			if h.apart(made, h.node(part, n.at.in(key, strconv.Itoa(i))), deep) {
				away++
			}
		}
		if away > 0 && (key == "allOf" || away == len(parts)) {
			return true
		}
	}
	values, listed := h.listed([]*node{n})
	if !listed {
		return false
	}
	as := h.node(h.resolved(made).Apply(), nil)
	return !slices.ContainsFunc(values, func(v []byte) bool {
		fits, err := h.acceptsRaw(as, v)
		return fits || err != nil
	})
}

// kindOf is the type that a schema is for: whole numbers are numbers.
func kindOf(made rawjson.Object) string {
	raw, _ := made.Raw("type")
	if kind := rawjson.Text(raw); kind != "integer" {
		return kind
	}
	return "number"
}

// beyond reports whether what is made has one bound past the opposite one of a schema.
func beyond(made rawjson.Object, n *node, own, theirs, over string) bool {
	raw, given := made.Raw(own)
	p := rational(raw)
	if !given || p == nil {
		return false
	}
	for _, key := range []string{theirs, over} {
		q := rational(n.get(key))
		if q == nil {
			continue
		}
		away := p.Cmp(q)
		if own[:3] == "max" {
			away = -away
		}
		if away > 0 || away == 0 && key[0] == 'e' {
			return true
		}
	}
	return false
}

// objectApart is apart for objects. A grammar makes no properties that are not listed.
func (h *holder) objectApart(made rawjson.Object, n *node, deep int) bool {
	has, listed := made.Inner("properties")
	rest, given := made.Raw("additionalProperties")
	if closed := listed && (!given || string(rest) == "false"); closed {
		for _, name := range rawjson.Elements(n.get("required")) {
			if _, there := has.Raw(rawjson.Text(name)); !there {
				return true
			}
		}
	}
	theirs, _ := rawjson.Scan(n.get("properties"))
	required, _ := made.Raw("required")
	for _, name := range rawjson.Elements(required) {
		key := rawjson.Text(name)
		own, _ := has.Raw(key)
		says, said := theirs.Raw(key)
		if said && own != nil && h.apart(own, h.node(says, n.at.in("properties", key)), deep) {
			return true
		}
		if !said && string(n.get("additionalProperties")) == "false" && n.get("patternProperties") == nil {
			return true
		}
	}
	return false
}
