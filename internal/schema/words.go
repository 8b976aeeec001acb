package schema

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/loragate/loragate/internal/rawjson"
)

// listed returns the values that all schemas allow, if they list them, or if there are two at
// most and what else is said of them is not said in a grammar.
func (h *holder) listed(all []*node) (values [][]byte, given bool) {
	for _, n := range all {
		own := rawjson.Elements(n.get("enum"))
		if raw := n.get("const"); raw != nil {
			own = [][]byte{raw}
		} else if n.get("enum") == nil {
			continue
		}
		if !given {
			values, given = own, true
			continue
		}
		values = slices.DeleteFunc(slices.Clone(values), func(v []byte) bool {
			return !slices.ContainsFunc(own, func(w []byte) bool { return equal(v, w) })
		})
	}
	if given {
		return values, true
	}
	if !slices.ContainsFunc(all, func(n *node) bool { return n.get("not") != nil }) {
		return nil, false
	}
	types, err := h.types(all)
	if err != nil || len(types) == 0 {
		return nil, false
	}
	for _, kind := range types {
		switch kind {
		case "boolean":
			values = append(values, []byte("true"), []byte("false"))
		case "null":
			values = append(values, []byte("null"))
		default:
			return nil, false
		}
	}
	return values, true
}

// words is a schema for those of some values that satisfy all schemas.
func (h *holder) words(all []*node, values [][]byte) ([]byte, error) {
	var fit [][]byte
	for _, value := range values {
		fits := true
		for _, n := range all {
			ok, err := h.acceptsRaw(n, value)
			if err != nil {
				return nil, err
			}
			fits = fits && ok
		}
		if fits {
			fit = append(fit, value)
		}
	}
	if len(fit) == 0 {
		return nil, all[0].never("none of its values is what else it asks for")
	}
	n := all[0]
	alternatives := n.get("anyOf") != nil || n.get("oneOf") != nil
	if len(all) > 1 || len(fit) < len(values) || alternatives || n.get("const") != nil && n.get("enum") != nil {
		h.changed = true
	}
	if len(fit) == 1 && n.get("const") != nil {
		return h.text(members{{"const", fit[0]}})
	}
	return h.text(members{{"enum", rawjson.List(fit)}})
}

// valuesOf returns the values of a schema that was made here, if it lists them.
func valuesOf(made []byte) ([][]byte, bool) {
	o, _ := rawjson.Scan(made)
	if raw, ok := o.Raw("enum"); ok {
		return rawjson.Elements(raw), true
	}
	if raw, ok := o.Raw("const"); ok {
		return [][]byte{raw}, true
	}
	switch kind, _ := o.Raw("type"); string(kind) {
	case `"boolean"`:
		return [][]byte{[]byte("true"), []byte("false")}, true
	case `"null"`:
		return [][]byte{[]byte("null")}, true
	}
	return nil, false
}

// equal reports whether two texts are the same JSON value.
func equal(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	return same(decode(a), decode(b))
}

// decode reads JSON, with its numbers as they stand there.
func decode(raw []byte) (v any) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	_ = d.Decode(&v) // it is valid
	return v
}

// same compares values as JSON Schema does: 1 and 1.0 are one number.
func same(a, b any) bool {
	switch a := a.(type) {
	case json.Number:
		b, ok := b.(json.Number)
		if !ok {
			return false
		}
		x, y := rational([]byte(a)), rational([]byte(b))
		return a == b || x != nil && y != nil && x.Cmp(y) == 0
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, same)
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for key, v := range a {
			if w, there := b[key]; !there || !same(v, w) {
				return false
			}
		}
		return true
	}
	return a == b
}
