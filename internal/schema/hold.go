package schema

import (
	"slices"
	"strconv"
	"strings"

	"github.com/loragate/loragate/internal/rawjson"
)

// hold returns a schema for the values that satisfy all of some.
func (h *holder) hold(all []*node) ([]byte, error) {
	if h.visits++; h.visits > maxVisits {
		return nil, &Unheld{Why: "with its alternatives written out it consists of too many schemas"}
	}
	if h.depth++; h.depth > maxDepth {
		return nil, &Unheld{Why: "is nested too deep, through references"}
	}
	defer func() { h.depth-- }()
	if len(all) == 1 && all[0].keys != nil {
		if ref, key := all[0].reference(); ref != nil && all[0].only(key) {
			return h.refer(all[0], key)
		}
	}
	flat, through, err := h.flatten(all)
	if err != nil {
		return nil, err
	}
	if len(flat) > 1 {
		h.changed = true
	}
	if !through || len(flat) < 2 {
		return h.combine(flat)
	}
	return h.shared(flat, func() ([]byte, error) { return h.combine(flat) })
}

// shared has what is made of the same schemas be made once: they may contain themselves.
func (h *holder) shared(all []*node, hold func() ([]byte, error)) ([]byte, error) {
	var key strings.Builder
	for _, n := range all {
		key.Write(n.raw)
		key.WriteString(strings.Join(n.gone, ","))
		key.WriteByte(0)
	}
	name, known := h.defs[key.String()]
	if !known {
		name = "d" + strconv.Itoa(len(h.defs))
		h.defs[key.String()] = name
		if err := h.count(key.Len()); err != nil {
			return nil, err
		}
		text, err := hold()
		if impossible(err) { // what refers to it has been made
			return nil, &Unheld{At: all[0].at.String(), Why: err.Error()}
		}
		if err != nil {
			return nil, err
		}
		h.made = append(h.made, member{name, text})
	}
	return h.text(members{{"$ref", rawjson.String("#/$defs/" + name)}})
}

// flatten follows references and takes the parts of allOf for schemas of their own. through
// says that there were references.
func (h *holder) flatten(all []*node) (flat []*node, through bool, err error) {
	var met []string
	for work := slices.Clone(all); len(work) > 0; {
		n := work[0]
		work = work[1:]
		if h.visits++; h.visits > maxVisits {
			return nil, false, &Unheld{Why: "consists of too many schemas"}
		}
		if n.false {
			return nil, false, n.never("no value can be what it asks for")
		}
		if n.keys == nil {
			h.changed = true
			continue
		}
		if _, key := n.reference(); key != "" {
			target, name, err := h.target(n, key)
			if err != nil {
				return nil, false, err
			}
			if slices.Contains(met, name) {
				n = n.without(key)
			} else {
				met, through = append(met, name), true
				work = append([]*node{n.without(key), target}, work...)
				h.changed = true
				continue
			}
		}
		parts := n.get("allOf")
		if parts == nil {
			if !n.bare() {
				flat = append(flat, n)
			}
			continue
		}
		h.changed = true
		more := []*node{n.without("allOf")}
		for i, part := range rawjson.Elements(parts) {
			more = append(more, h.node(part, n.at.in("allOf", strconv.Itoa(i))))
		}
		work = append(more, work...)
	}
	return flat, through, nil
}

// bare reports whether nothing is asserted.
func (n *node) bare() bool { return n.only("") }

// combine is hold for schemas without references and allOf.
func (h *holder) combine(all []*node) ([]byte, error) {
	if len(all) == 0 {
		return anything, h.count(len(anything))
	}
	if values, given := h.listed(all); given {
		return h.words(all, values)
	}
	for i, n := range all {
		rewritten, err := h.unfold(all, n)
		if err != nil {
			return nil, err
		}
		if rewritten != nil {
			h.changed = true
			return h.hold(slices.Concat(all[:i], rewritten, all[i+1:]))
		}
	}
	for i, n := range all {
		for _, key := range []string{"oneOf", "anyOf"} {
			if n.get(key) == nil {
				continue
			}
			rest := slices.Clone(all)
			if rest[i] = n.without(key); rest[i].bare() {
				rest = slices.Delete(rest, i, i+1)
			}
			return h.union(n, key, rest)
		}
	}
	types, err := h.types(all)
	if err != nil {
		return nil, err
	}
	var made [][]byte
	for _, kind := range types {
		text, err := h.typed(all, kind)
		if impossible(err) && len(types) > 1 {
			h.changed = true
			continue
		}
		if err != nil {
			return nil, err
		}
		made = append(made, text)
	}
	return h.either(all[0], made)
}

// either is a schema for what one of some is for.
func (h *holder) either(n *node, made [][]byte) ([]byte, error) {
	switch len(made) {
	case 0:
		return nil, n.never("no value can be what it asks for")
	case 1:
		return made[0], nil
	}
	return h.text(members{{"anyOf", rawjson.List(made)}})
}

// types returns the types that values may have.
func (h *holder) types(all []*node) ([]string, error) {
	every := []string{"object", "array", "string", "number", "integer", "boolean", "null"}
	types, given := every, false
	for _, n := range all {
		raw := n.get("type")
		if raw == nil {
			continue
		}
		own := []string{rawjson.Text(raw)}
		if raw[0] == '[' {
			own = nil
			for _, one := range rawjson.Elements(raw) {
				own = append(own, rawjson.Text(one))
			}
		}
		for _, one := range own {
			if !slices.Contains(every, one) {
				return nil, n.refuse("type", "names %q, which is no type: it is object, array, string, number, integer, "+
					"boolean, null, or a list of these", one)
			}
		}
		given = true
		types = slices.DeleteFunc(slices.Clone(types), func(t string) bool {
			return !slices.Contains(own, t) && (t != "integer" || !slices.Contains(own, "number"))
		})
	}
	if slices.Contains(types, "number") {
		types = slices.DeleteFunc(slices.Clone(types), func(t string) bool { return t == "integer" })
	}
	if len(types) == 0 {
		return nil, all[0].never("no value has all of its types")
	}
	if given {
		return h.order(all, types), nil
	}
	// Of what is said of one type only, values of others are free. Who says it means that type.
	var meant []string
	for _, kind := range kindOrder {
		for _, n := range all {
			if slices.ContainsFunc(kinds[kind], func(key string) bool { return n.get(key) != nil }) {
				meant = append(meant, kind)
				break
			}
		}
	}
	h.changed = true
	return meant, nil
}

// order puts types in the order in which the schema has them, for models see the first ones
// as likely as the last.
func (h *holder) order(all []*node, types []string) []string {
	if len(all) > 1 || all[0].get("type")[0] != '[' {
		return types
	}
	var list []string
	for _, one := range rawjson.Elements(all[0].get("type")) {
		if t := rawjson.Text(one); slices.Contains(types, t) && !slices.Contains(list, t) {
			list = append(list, t)
		}
	}
	return list
}

// typed is combine for values of one type.
func (h *holder) typed(all []*node, kind string) ([]byte, error) {
	switch kind {
	case "object":
		return h.object(all)
	case "array":
		return h.array(all)
	case "string":
		return h.string(all)
	case "number", "integer":
		return h.number(all, kind == "integer")
	}
	return h.text(members{{"type", rawjson.String(kind)}})
}
