package schema

import (
	"encoding/json"
	"math/big"
	"regexp"
	"strconv"
	"unicode/utf8"

	"github.com/loragate/loragate/internal/rawjson"
)

// acceptsRaw reports whether a value satisfies a schema.
func (h *holder) acceptsRaw(n *node, value []byte) (bool, error) { return h.accepts(n, decode(value)) }

// look counts what is looked at of values.
func (h *holder) look(more int) error {
	if h.looks += more; h.looks > maxLooks {
		return &Unheld{Why: "has too many values and alternatives to be compared"}
	}
	return nil
}

// accepts is acceptsRaw for a value that has been decoded.
func (h *holder) accepts(n *node, v any) (bool, error) {
	if err := h.look(1); err != nil {
		return false, err
	}
	if h.depth++; h.depth > maxDepth {
		return false, &Unheld{Why: "is nested too deep, through references"}
	}
	defer func() { h.depth-- }()
	if n.keys == nil {
		return !n.false, nil
	}
	for _, check := range []func(*node, any) (bool, error){
		h.acceptsGeneral, h.acceptsParts, h.acceptsValue,
	} {
		if ok, err := check(n, v); !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

// acceptsGeneral looks at the keywords for values of every type.
func (h *holder) acceptsGeneral(n *node, v any) (bool, error) {
	if raw := n.get("type"); raw != nil {
		types := rawjson.Elements(raw)
		if raw[0] != '[' {
			types = [][]byte{raw}
		}
		fits := false
		for _, one := range types {
			fits = fits || is(v, rawjson.Text(one))
		}
		if !fits {
			return false, nil
		}
	}
	if raw := n.get("const"); raw != nil && !same(v, decode(raw)) {
		return false, nil
	}
	if raw := n.get("enum"); raw != nil {
		words := rawjson.Elements(raw)
		if err := h.look(len(words)); err != nil {
			return false, err
		}
		fits := false
		for _, one := range words {
			fits = fits || same(v, decode(one))
		}
		return fits, nil
	}
	return true, nil
}

// is reports whether a value is of a type.
func is(v any, kind string) bool {
	switch v := v.(type) {
	case nil:
		return kind == "null"
	case bool:
		return kind == "boolean"
	case string:
		return kind == "string"
	case []any:
		return kind == "array"
	case map[string]any:
		return kind == "object"
	case json.Number:
		r := rational([]byte(v))
		return kind == "number" || kind == "integer" && r != nil && r.IsInt()
	}
	return false
}

// acceptsParts looks at the keywords that have whole schemas.
func (h *holder) acceptsParts(n *node, v any) (bool, error) {
	if _, key := n.reference(); key != "" {
		target, _, err := h.target(n, key)
		if err != nil {
			return false, err
		}
		if ok, err := h.accepts(target, v); !ok || err != nil {
			return false, err
		}
	}
	for _, key := range []string{"allOf", "anyOf", "oneOf"} {
		raw := n.get(key)
		if raw == nil {
			continue
		}
		parts := rawjson.Elements(raw)
		fits := 0
		for i, part := range parts {
			ok, err := h.accepts(h.node(part, n.at.in(key, strconv.Itoa(i))), v)
			if err != nil {
				return false, err
			}
			if ok {
				fits++
			}
		}
		if key == "allOf" && fits < len(parts) || key == "anyOf" && fits == 0 || key == "oneOf" && fits != 1 {
			return false, nil
		}
	}
	if raw := n.get("not"); raw != nil {
		if ok, err := h.accepts(h.node(raw, n.at.in("not")), v); ok || err != nil {
			return false, err
		}
	}
	raw := n.get("if")
	if raw == nil {
		return true, nil
	}
	holds, err := h.accepts(h.node(raw, n.at.in("if")), v)
	branch := "else"
	if holds {
		branch = "then"
	}
	if raw = n.get(branch); raw == nil || err != nil {
		return err == nil, err
	}
	return h.accepts(h.node(raw, n.at.in(branch)), v)
}

// acceptsValue looks at the keywords for values of one type.
func (h *holder) acceptsValue(n *node, v any) (bool, error) {
	switch v := v.(type) {
	case string:
		return h.acceptsText(n, v)
	case json.Number:
		return h.acceptsNumber(n, v)
	case []any, map[string]any:
		// A list of arrays and objects is as it was meant, unless more is said of them.
		kind := "array"
		if is(v, "object") {
			kind = "object"
		}
		for _, key := range kinds[kind] {
			if n.get(key) != nil {
				return h.acceptsInside(n, v)
			}
		}
	}
	return true, nil
}

func (h *holder) acceptsText(n *node, v string) (bool, error) {
	least, most, err := h.length([]*node{n}, "minLength", "maxLength")
	if impossible(err) {
		return false, nil
	}
	if size := utf8.RuneCountInString(v); err != nil || size < least || size > most {
		return false, err
	}
	if raw := n.get("format"); raw != nil && !ofFormat(rawjson.Text(raw), v) {
		return false, nil
	}
	if raw := n.get("pattern"); raw != nil {
		pattern, err := regexp.Compile(inGo(rawjson.Text(raw)))
		if err != nil {
			return false, n.refuse("pattern", "cannot be read: %v", err)
		}
		return pattern.MatchString(v), nil
	}
	return true, nil
}

func (h *holder) acceptsNumber(n *node, v json.Number) (bool, error) {
	in, steps, err := h.bounds([]*node{n})
	r := rational([]byte(v))
	if err != nil || r == nil {
		return err == nil && in.least == nil && in.most == nil && steps == nil, err
	}
	if in.least != nil && (r.Cmp(in.least) < 0 || in.overLeast && r.Cmp(in.least) == 0) ||
		in.most != nil && (r.Cmp(in.most) > 0 || in.overMost && r.Cmp(in.most) == 0) {
		return false, nil
	}
	for _, step := range steps {
		if !new(big.Rat).Quo(r, step).IsInt() {
			return false, nil
		}
	}
	return true, nil
}

// acceptsInside looks at the elements of an array, or the properties of an object.
func (h *holder) acceptsInside(n *node, v any) (bool, error) {
	switch v := v.(type) {
	case []any:
		least, most, err := h.length([]*node{n}, "minItems", "maxItems")
		if impossible(err) {
			return false, nil
		}
		if err != nil || len(v) < least || len(v) > most {
			return false, err
		}
		if n.get("contains") != nil || n.get("uniqueItems") != nil {
			return false, n.refuse("enum", "of arrays cannot be held beside contains and uniqueItems: list those that fit")
		}
		r := h.row([]*node{n})
		for i, one := range v {
			says := r.rest
			if i < len(r.first) {
				says = r.first[i]
			}
			if ok, err := h.acceptsAll(says, one); !ok || err != nil {
				return false, err
			}
		}
	case map[string]any:
		for _, key := range []string{"dependentRequired", "dependentSchemas", "dependencies", "unevaluatedProperties"} {
			if n.get(key) != nil {
				return false, n.refuse("enum", "of objects cannot be held beside %s: list those that fit", key)
			}
		}
		return h.acceptsProperties(n, v)
	}
	return true, nil
}

func (h *holder) acceptsProperties(n *node, v map[string]any) (bool, error) {
	least, most, err := h.length([]*node{n}, "minProperties", "maxProperties")
	if impossible(err) {
		return false, nil
	}
	if err != nil || len(v) < least || len(v) > most {
		return false, err
	}
	f, err := h.fields([]*node{n})
	if err != nil {
		return false, err
	}
	for _, p := range f.list {
		if _, there := v[p.key]; p.required && !there {
			return false, nil
		}
	}
	for key, one := range v {
		p := f.by[key]
		says := f.extra
		if p != nil {
			says = p.says
		} else if f.shut {
			return false, nil
		}
		if ok, err := h.acceptsAll(says, one); !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

func (h *holder) acceptsAll(says []*node, v any) (bool, error) {
	for _, n := range says {
		if ok, err := h.accepts(n, v); !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}
