package schema

import (
	"math"
	"regexp/syntax"
	"slices"

	"github.com/loragate/loragate/internal/rawjson"
)

// noBound is of a length that has none.
const noBound = math.MaxInt

// length reads the bounds of a length that all schemas allow.
func (h *holder) length(all []*node, leastKey, mostKey string) (least, most int, err error) {
	least, most = 0, noBound
	for _, n := range all {
		for _, key := range []string{leastKey, mostKey} {
			raw := n.get(key)
			if raw == nil {
				continue
			}
			r := rational(raw)
			if r == nil || !r.IsInt() || r.Sign() < 0 || !r.Num().IsInt64() {
				return 0, 0, n.refuse(key, "must be a whole number from 0 on")
			}
			if rawjson.Count(raw) < 0 {
				h.changed = true // llama-server takes 2.0 for none
			}
			if v := int(min(r.Num().Int64(), math.MaxInt32)); key == leastKey {
				least = max(least, v)
			} else {
				most = min(most, v)
			}
		}
	}
	if least > most {
		return 0, 0, all[0].never("no length is at least %d and at most %d", least, most)
	}
	return least, most, nil
}

// limits adds the bounds of a length.
func (m *members) limits(leastKey, mostKey string, least, most int) {
	if least > 0 {
		m.add(leastKey, rawjson.Int(least))
	}
	if most < noBound {
		m.add(mostKey, rawjson.Int(most))
	}
}

// grammatical are the formats of which llama-server has rules that are right.
var grammatical = []string{"uuid", "uuid1", "uuid2", "uuid3", "uuid4", "uuid5"}

// string is a schema for texts.
func (h *holder) string(all []*node) ([]byte, error) {
	least, most, err := h.length(all, "minLength", "maxLength")
	if err != nil {
		return nil, err
	}
	expression, by := "", all[0]
	format := ""
	for _, n := range all {
		if raw := n.get("pattern"); raw != nil {
			if next := rawjson.Text(raw); expression != "" && next != expression {
				return nil, n.refuse("pattern", "stands beside another one, and a grammar has no word for both: make one of "+
					"them")
			} else if expression = next; next == "" && string(raw) != `""` {
				return nil, n.refuse("pattern", "must be a string")
			}
			by = n
		}
		if raw := n.get("format"); raw != nil {
			next := rawjson.Text(raw)
			if _, known := formats[next]; !known && !slices.Contains(grammatical, next) {
				continue // says something to readers
			}
			if format != "" && next != format {
				return nil, n.refuse("format", "stands beside another one, and a grammar has no word for both")
			}
			format = next
			if expression == "" {
				by = n
			}
		}
	}
	m := members{{"type", []byte(`"string"`)}}
	switch {
	case expression != "":
		return h.pattern(by, "pattern", expression, least, most)
	case slices.Contains(grammatical, format):
		if least > 36 || most < 36 {
			return nil, by.never("no %s has such a length", format)
		}
		m.add("format", rawjson.String(format))
	case format != "":
		return h.pattern(by, "format", formats[format], least, most)
	default:
		if least > maxRepeat {
			return nil, by.refuse("minLength", "must be at most %d", maxRepeat)
		}
		m.limits("minLength", "maxLength", least, most)
	}
	return h.text(m)
}

// maxRepeat is the most that llama-server repeats something at least.
const maxRepeat = 2000

// pattern is a schema for texts that a regular expression describes.
func (h *holder) pattern(n *node, key, expression string, least, most int) ([]byte, error) {
	h.changed = true
	if len(expression) > maxPattern {
		return nil, n.refuse(key, "is longer than %d bytes", maxPattern)
	}
	tree, err := syntax.Parse(inGo(expression), syntax.Perl)
	if err != nil {
		return nil, n.refuse(key, "has what a grammar has no word for (%v): it may have characters, classes, groups, "+
			"alternatives and repetitions up to 1000", err)
	}
	p := &patterns{}
	tree = p.fit(p.anchored(tree), least, most)
	if tree == nil {
		return nil, n.refuse(key, "and the bounds of the length cannot be held together: write the length into the pattern, "+
			"as in ^[a-z]{2,8}$")
	}
	p.write(tree)
	if p.wrong != "" {
		return nil, n.refuse(key, "has %s, for which a grammar has no word", p.wrong)
	}
	return h.text(members{{"type", []byte(`"string"`)}, {"pattern", rawjson.String("^" + p.out.String() + "$")}})
}
