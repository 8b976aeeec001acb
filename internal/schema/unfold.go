package schema

import (
	"slices"
	"strconv"
	"strings"

	"github.com/loragate/loragate/internal/rawjson"
)

// unfold writes keywords of which grammars know nothing in words that they know: conditions
// become alternatives. nil is that there are none.
func (h *holder) unfold(all []*node, n *node) ([]*node, error) {
	switch {
	case n.get("if") != nil || n.get("then") != nil || n.get("else") != nil:
		return h.unfoldIf(n)
	case n.get("not") != nil:
		less := n.without("not")
		if of := h.node(n.get("not"), n.at.in("not")); of.only("const") || of.only("enum") {
			return h.except(all, less, of)
		}
		raw, ok := h.negation(n.get("not"), 0)
		if !ok {
			return nil, n.refuse("not", "cannot be held of that: a grammar says what there is, as with enum, not what there "+
				"is not")
		}
		return h.beside(less, raw, n.at.in("not"))
	case n.get("dependentRequired") != nil:
		return h.depend(n, "dependentRequired")
	case n.get("dependentSchemas") != nil:
		return h.depend(n, "dependentSchemas")
	case n.get("dependencies") != nil:
		return h.depend(n, "dependencies")
	}
	return nil, nil
}

// except takes values away from what schemas allow. Of texts, arrays and objects a grammar
// cannot take one away.
func (h *holder) except(all []*node, less, of *node) ([]*node, error) {
	values := rawjson.Elements(of.get("enum"))
	if raw := of.get("const"); raw != nil {
		values = [][]byte{raw}
	}
	types, err := h.types(all)
	if err != nil {
		return nil, err
	}
	if len(types) == 0 {
		types = everyType
	}
	var must [][]byte
	for _, value := range values {
		kind := "number"
		for _, k := range everyType {
			if is(decode(value), k) {
				kind = k
			}
		}
		if !slices.Contains(types, kind) && (kind != "number" || !slices.Contains(types, "integer")) {
			continue
		}
		ways := [][]byte{object("type", others(rawjson.String(kind)))}
		bound := func(kind, key string) {
			ways = append(ways, members{{"type", rawjson.String(kind)}, {key, value}}.object())
		}
		switch {
		case kind == "number":
			bound(kind, "exclusiveMaximum")
			bound(kind, "exclusiveMinimum")
		case string(value) == `""`:
			ways = append(ways, []byte(`{"type":"string","minLength":1}`))
		case kind == "boolean":
			ways = append(ways, object("const", []byte(strconv.FormatBool(string(value) == "false"))))
		case kind != "null":
			return nil, less.refuse("not", "cannot be held of %.80s: a grammar says what there is, as with enum, not what there "+
				"is not", value)
		}
		must = append(must, object("anyOf", rawjson.List(ways)))
	}
	if len(must) == 0 {
		return []*node{less}, nil
	}
	return h.beside(less, object("allOf", rawjson.List(must)), less.at.in("not"))
}

// beside returns a schema and another one that must hold, too.
func (h *holder) beside(n *node, raw []byte, at *place) ([]*node, error) {
	if err := h.count(len(raw)); err != nil {
		return nil, err
	}
	at.sealed = true
	return []*node{n, h.node(raw, at)}, nil
}

func object(key string, value []byte) []byte { return members{{key, value}}.object() }

func list(all ...[]byte) []byte { return rawjson.List(all) }

// unfoldIf makes alternatives of a condition: it holds, and what follows from that, or it does
// not.
func (h *holder) unfoldIf(n *node) ([]*node, error) {
	less := n.without("if", "then", "else")
	condition, then, otherwise := n.get("if"), n.get("then"), n.get("else")
	if condition == nil || then == nil && otherwise == nil {
		return []*node{less}, nil
	}
	orTrue := func(raw []byte) []byte {
		if raw == nil {
			return []byte("true")
		}
		return raw
	}
	raw := object("anyOf", list(
		object("allOf", list(condition, orTrue(then))),
		object("allOf", list(object("not", condition), orTrue(otherwise)))))
	return h.beside(less, raw, n.at.in("if"))
}

// depend makes alternatives of what must hold if a property is there: it is not, or that holds.
func (h *holder) depend(n *node, key string) ([]*node, error) {
	o, _ := rawjson.Scan(n.get(key))
	var all [][]byte
	for name, raw := range o.All() {
		must := raw
		if raw[0] == '[' {
			must = object("required", raw)
		}
		quoted := rawjson.String(name)
		all = append(all, object("anyOf", list(
			object("properties", object(name, []byte("false"))),
			object("allOf", list(object("required", list(quoted)), must)))))
	}
	return h.beside(n.without(key), object("allOf", rawjson.List(all)), n.at.in(key))
}

// types that there are, less integer, which are numbers.
var everyType = []string{"object", "array", "string", "number", "boolean", "null"}

// negation returns a schema for what does not satisfy another one, or for some of it. Not
// all can be said.
func (h *holder) negation(raw []byte, deep int) ([]byte, bool) {
	switch string(raw) {
	case "true", "{}":
		return []byte("false"), true
	case "false":
		return []byte("true"), true
	}
	n := h.node(raw, nil)
	if deep++; deep > 16 || n.keys == nil {
		return nil, false
	}
	if _, key := n.reference(); key != "" {
		target, _, err := h.target(n, key)
		if err != nil || !n.only(key) {
			return nil, false
		}
		return h.negation(target.raw, deep)
	}
	var ways [][]byte
	for key, value := range n.keys {
		if !asserts(key) {
			continue
		}
		more, ok := h.negated(n, key, value, deep)
		if !ok {
			return nil, false
		}
		ways = append(ways, more...)
	}
	slices.SortFunc(ways, func(a, b []byte) int { return strings.Compare(string(a), string(b)) }) // a map has no order
	return object("anyOf", rawjson.List(ways)), true
}

// opposites are the keywords that say the contrary of others of a number.
var opposites = map[string]string{
	"minimum": "exclusiveMaximum", "exclusiveMinimum": "maximum", "maximum": "exclusiveMinimum",
	"exclusiveMaximum": "minimum",
}

// lengths are those of a length, with its type.
var lengths = map[string][3]string{
	"minLength": {"maxLength", "string", "-1"}, "maxLength": {"minLength", "string", "+1"},
	"minItems": {"maxItems", "array", "-1"}, "maxItems": {"minItems", "array", "+1"},
	"minProperties": {"maxProperties", "object", "-1"}, "maxProperties": {"minProperties", "object", "+1"},
}

// negated returns the ways not to satisfy one keyword.
func (h *holder) negated(n *node, key string, value []byte, deep int) ([][]byte, bool) {
	typed := func(kind, key string, value []byte) []byte {
		return members{{"type", rawjson.String(kind)}, {key, value}}.object()
	}
	if other, is := opposites[key]; is {
		return [][]byte{typed("number", other, value)}, true
	}
	if other, is := lengths[key]; is {
		size, by := rawjson.Count(value), 1
		if other[2] == "-1" {
			by = -1
		}
		if size < 0 {
			return nil, false
		}
		if size+by < 0 {
			return [][]byte{[]byte("false")}, true
		}
		return [][]byte{typed(other[1], other[0], []byte(strconv.Itoa(size+by)))}, true
	}
	switch key {
	case "type":
		return [][]byte{object("type", others(value))}, true
	case "enum", "const":
		return [][]byte{object("not", object(key, value))}, true // holds where values are listed
	case "not":
		return [][]byte{value}, true
	case "required":
		var ways [][]byte
		for _, name := range rawjson.Elements(value) {
			ways = append(ways, typed("object", "properties", object(rawjson.Text(name), []byte("false"))))
		}
		return ways, true
	case "properties":
		return h.negatedProperties(value, deep)
	case "anyOf", "allOf":
		var all [][]byte
		for _, part := range rawjson.Elements(value) {
			not, ok := h.negation(part, deep)
			if !ok {
				return nil, false
			}
			all = append(all, not)
		}
		if key == "allOf" {
			return all, true
		}
		return [][]byte{object("allOf", rawjson.List(all))}, true
	}
	return nil, false
}

func (h *holder) negatedProperties(value []byte, deep int) (ways [][]byte, ok bool) {
	o, _ := rawjson.Scan(value)
	for name, says := range o.All() {
		not, ok := h.negation(says, deep)
		if !ok {
			return nil, false
		}
		ways = append(ways, members{
			{"type", []byte(`"object"`)}, {"required", list(rawjson.String(name))}, {"properties", object(name, not)},
		}.object())
	}
	return ways, true
}

// others is the list of the types that are not among some.
func others(types []byte) []byte {
	gone := rawjson.Elements(types)
	if types[0] != '[' {
		gone = [][]byte{types}
	}
	var left [][]byte
	for _, kind := range everyType {
		if !slices.ContainsFunc(gone, func(g []byte) bool {
			return rawjson.Text(g) == kind || rawjson.Text(g) == "integer" && kind == "number"
		}) {
			left = append(left, rawjson.String(kind))
		}
	}
	return rawjson.List(left)
}
