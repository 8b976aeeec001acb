// Package schema rewrites JSON schemas to what llama-server's grammars hold. llama-server makes
// a grammar of a schema and leaves out in silence what it does not know: an answer then breaks
// its schema, and nobody says so. What cannot be put into other words is refused by name.
//
// What comes out is never wider than what went in: every answer of it satisfies the schema. It
// may be narrower where a grammar has no words for the whole.
package schema

import (
	"fmt"
	"slices"
	"strings"

	"github.com/loragate/loragate/internal/rawjson"
)

// Bounds of what is made of a schema, which may be many times its size: alternatives are
// written out with what stands beside them.
const (
	maxVisits = 10_000
	maxDepth  = 256
	maxText   = 1 << 20
	// maxListed is of values that are listed where a grammar has no rule for them.
	maxListed = 256
	// maxPattern is of an expression, in bytes, and maxExclusive of alternatives that are compared
	// with one another.
	maxPattern   = 4096
	maxExclusive = 64
	// maxLooks is of values that are looked at, one microsecond or two each.
	maxLooks = 50_000
)

// Unheld says what of a schema cannot be held, and where.
type Unheld struct {
	At      string // the path of the schema that has the keyword, "" is the whole
	Keyword string
	Why     string

	never bool // no value at all satisfies it
}

func (e *Unheld) Error() string {
	if e.Keyword == "" {
		return e.Why
	}
	return fmt.Sprintf("the keyword %q %s", e.Keyword, e.Why)
}

// Path is where the keyword stands.
func (e *Unheld) Path() string {
	return strings.Trim(e.At+"."+e.Keyword, ".")
}

// Hold returns a schema that llama-server's grammar holds, and whose values all satisfy the
// one that is given, which must be valid JSON and not too deep to walk. A schema that needs no
// change is returned as it is. The error is an *Unheld.
func Hold(text []byte) ([]byte, error) {
	h := &holder{root: text, defs: map[string]string{}}
	if o, ok := rawjson.Scan(text); !ok && string(text) != "true" || ok && o.Empty() {
		return text, nil // llama-server has its own say on these
	}
	root := h.node(text, nil)
	h.collect(root)
	held, err := h.hold([]*node{root})
	switch {
	case err != nil:
		return nil, err
	case !h.changed:
		return text, nil
	case len(h.made) == 0:
		return held, nil
	}
	var defs members
	for _, d := range h.made {
		defs.add(d.key, d.value)
	}
	o, _ := rawjson.Scan(held)
	return o.Apply(rawjson.Edit{Key: "$defs", Value: defs.object()}), nil
}

// holder holds one schema.
type holder struct {
	root    []byte
	anchors map[string]*node
	id      string
	defs    map[string]string // names of what has been made, by what it is made of
	made    []member
	changed bool // what is made is not what was there, in other words
	visits  int
	looks   int
	depth   int
	size    int
}

// place is where a schema stands.
type place struct {
	up     *place
	key    string
	sealed bool // what is within was made of it here, and is nowhere else
}

func (p *place) in(keys ...string) *place {
	if p != nil && p.sealed {
		return p
	}
	for _, key := range keys {
		p = &place{up: p, key: key}
	}
	return p
}

func (p *place) String() string {
	var keys []string
	for ; p != nil; p = p.up {
		keys = append([]string{p.key}, keys...)
	}
	return strings.Join(keys, ".")
}

// node is one schema: an object with its keywords, or true or false.
type node struct {
	raw   []byte
	at    *place
	keys  map[string][]byte
	false bool
	gone  []string // keywords that have been dealt with
}

// node reads a schema. What is no schema accepts anything: llama-server refuses it.
func (h *holder) node(raw []byte, at *place) *node {
	n := &node{raw: raw, at: at, false: string(raw) == "false"}
	if o, ok := rawjson.Scan(raw); ok {
		n.keys = map[string][]byte{}
		for key, value := range o.All() {
			n.keys[key] = value
		}
		for key, value := range n.keys {
			if unsaid(key, value) {
				delete(n.keys, key)
			}
		}
	}
	return n
}

// unsaid reports whether a keyword says nothing, to llama-server as well: a type that is null or
// "", or may be, is any.
func unsaid(key string, value []byte) bool {
	none := func(raw []byte) bool { return string(raw) == "null" || string(raw) == `""` }
	switch key {
	case "multipleOf":
		return string(value) == "null"
	case "type":
		return none(value) || slices.ContainsFunc(rawjson.Elements(value), none)
	}
	return false
}

// get returns a keyword's value, nil if it is not there.
func (n *node) get(key string) []byte {
	for _, gone := range n.gone {
		if gone == key {
			return nil
		}
	}
	return n.keys[key]
}

// without returns the schema less some keywords.
func (n *node) without(keys ...string) *node {
	less := *n
	less.gone = append(append([]string{}, n.gone...), keys...)
	return &less
}

// only reports whether nothing but the keyword, and what asserts nothing, is there.
func (n *node) only(keyword string) bool {
	for key := range n.keys {
		if key != keyword && asserts(key) && n.get(key) != nil {
			return false
		}
	}
	return true
}

func (n *node) refuse(keyword, why string, args ...any) *Unheld {
	if n.at != nil && n.at.sealed && keyword != "" {
		return &Unheld{At: n.at.String(), Why: "the keyword cannot be held in other words, in which " + keyword + " " +
			fmt.Sprintf(why, args...)}
	}
	return &Unheld{At: n.at.String(), Keyword: keyword, Why: fmt.Sprintf(why, args...)}
}

// never is the error for what no value satisfies.
func (n *node) never(why string, args ...any) *Unheld {
	e := n.refuse("", why, args...)
	e.never = true
	return e
}

// impossible reports whether an error says that no value satisfies a schema.
func impossible(err error) bool {
	e, ok := err.(*Unheld)
	return ok && e.never
}

// kinds are the keywords that assert something of values of one type only.
var kinds = map[string][]string{
	"object": {
		"properties", "required", "additionalProperties", "patternProperties", "propertyNames", "minProperties",
		"maxProperties", "dependentRequired", "dependentSchemas", "dependencies", "unevaluatedProperties",
	},
	"array": {
		"items", "prefixItems", "additionalItems", "minItems", "maxItems", "uniqueItems", "contains", "minContains",
		"maxContains", "unevaluatedItems",
	},
	"string": {"minLength", "maxLength", "pattern", "format"},
	"number": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
}

// kindOrder is in which types are looked at.
var kindOrder = []string{"object", "array", "string", "number"}

// general are the other keywords that assert something.
var general = []string{
	"type", "enum", "const", "allOf", "anyOf", "oneOf", "not", "if", "then", "else", "$ref", "$dynamicRef",
	"$recursiveRef",
}

var asserting = func() map[string]bool {
	all := map[string]bool{}
	for _, keys := range kinds {
		for _, key := range keys {
			all[key] = true
		}
	}
	for _, key := range general {
		all[key] = true
	}
	return all
}()

func asserts(key string) bool { return asserting[key] }

// member is one of an object that is written.
type member struct {
	key   string
	value []byte
}

type members []member

func (m *members) add(key string, value []byte) { *m = append(*m, member{key, value}) }

func (m members) object() []byte {
	var out strings.Builder
	out.WriteByte('{')
	for i, one := range m {
		if i > 0 {
			out.WriteByte(',')
		}
		out.Write(rawjson.String(one.key))
		out.WriteByte(':')
		out.Write(one.value)
	}
	out.WriteByte('}')
	return []byte(out.String())
}

// anything is a schema that every value satisfies; {} is one for objects to llama-server.
var anything = []byte(`{"title":"any"}`)

// text returns what was made, and counts it.
func (h *holder) text(m members) ([]byte, error) {
	text := m.object()
	return text, h.count(len(text))
}

func (h *holder) count(more int) error {
	if h.size += more; h.size > maxText {
		return &Unheld{Why: fmt.Sprintf("with its alternatives written out it is longer than %d bytes", maxText)}
	}
	return nil
}
