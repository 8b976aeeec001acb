package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/loragate/loragate/internal/rawjson"
)

// listed returns the values that all schemas allow, if they list them, or if there are two at
// most and what else is said of them is not said in a grammar.
func (h *holder) listed(all []*node) (values [][]byte, given bool) {
	for _, n := range all {
		own := rawjson.Elements(n.get("enum"))
		if raw := n.get("const"); raw != nil {
			is := canonical(decode(raw))
			if other := func(v []byte) bool { return canonical(decode(v)) != is }; n.get("enum") != nil {
				own = slices.DeleteFunc(own, other) // what stands beside it counts as well
			} else {
				own = [][]byte{raw}
			}
		} else if n.get("enum") == nil {
			continue
		}
		if !given {
			values, given = own, true
			continue
		}
		known := map[string]bool{}
		for _, w := range own {
			known[canonical(decode(w))] = true
		}
		values = slices.DeleteFunc(slices.Clone(values), func(v []byte) bool { return !known[canonical(decode(v))] })
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
			ok, err := h.acceptsRaw(n.without("enum", "const"), value) // which all values are of
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

// decode reads JSON, with its numbers as they stand there.
func decode(raw []byte) (v any) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	_ = d.Decode(&v) // it is valid
	return v
}

// same compares values as JSON Schema does: 1 and 1.0 are one number.
func same(a, b any) bool { return canonical(a) == canonical(b) }

// canonical writes a value in the one way that equal ones have in common.
func canonical(v any) string {
	switch v := v.(type) {
	case json.Number:
		if r := rational([]byte(v)); r != nil {
			return r.String()
		}
		return string(v)
	case []any:
		var all strings.Builder
		for _, one := range v {
			all.WriteString(canonical(one) + ",")
		}
		return "[" + all.String() + "]"
	case map[string]any:
		var all strings.Builder
		for _, key := range slices.Sorted(maps.Keys(v)) {
			fmt.Fprintf(&all, "%q:%s,", key, canonical(v[key]))
		}
		return "{" + all.String() + "}"
	case string:
		return strconv.Quote(v)
	}
	return fmt.Sprint(v)
}
