package grammar

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/loragate/loragate/internal/rawjson"
)

const (
	// maxVisits is of the schemas that llama-server goes through to make a grammar,
	// those behind references and one for each of several types included.
	maxVisits = 10_000
	// maxNested is how deep it goes then, through references, too.
	maxNested = 512
	// maxReferences is of different ones: each is given a copy of what it refers to.
	maxReferences = 256
	// maxOptional is of properties of one object that need not be there: llama-server
	// writes each with all that may follow it. 400 take it 0.4 s, 800 eight times that.
	maxOptional = 256
	// maxText is of the grammar that comes of a schema, in bytes.
	maxText = 1 << 20
	// maxCopied is of what llama-server copies of the schema on its way, in bytes.
	maxCopied = 32 << 20
)

// CheckSchema returns why llama-server should not get the JSON schema, or nil. It makes
// of it what llama-server does, a grammar, as far as the two differ in nothing that
// costs: limits of numbers are only compared here, and names of further properties may be those of
// known ones. The schema must be valid JSON; the error reads on from its name.
func CheckSchema(schema []byte) error {
	if Depth(schema) > MaxDepth {
		return errTooDeep
	}
	c := converter{
		root: schema, rules: map[string]string{"space": spaceRule},
		resolved: map[string]string{}, references: map[string]bool{},
	}
	name, err := c.visit(schema)
	if err != nil {
		return err
	}
	var text strings.Builder
	fmt.Fprintf(&text, "root ::= %s\n", name)
	for name, rule := range c.rules {
		fmt.Fprintf(&text, "%s ::= %s\n", name, rule)
	}
	p := parser{text: text.String(), names: map[string]int{}}
	if err := p.parse(); err != nil {
		return err
	}
	return check(p.rules, p.names["root"])
}

// Depth is how deep brackets and braces nest in valid JSON; those in strings are text.
func Depth(text []byte) (deepest int) {
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
			deepest = max(deepest, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	return deepest
}

// spaceRule and primitives are llama-server's own rules.
const spaceRule = `| " " | "\n"{1,2} [ \t]{0,20}`

var primitives = map[string]string{
	"boolean":       `("true" | "false")`,
	"decimal-part":  `[0-9]{1,16}`,
	"integral-part": `[0] | [1-9] [0-9]{0,15}`,
	"number":        `("-"? integral-part) ("." decimal-part)? ([eE] [-+]? integral-part)?`,
	"integer":       `("-"? integral-part)`,
	"value":         `object | array | string | number | boolean | null`,
	"object":        `"{" space ( string ":" space value ("," space string ":" space value)* )? space "}"`,
	"array":         `"[" space ( value ("," space value)* )? space "]"`,
	"char":          `[^"\\\x7F\x00-\x1F] | [\\] (["\\bfnrt] | "u" [0-9a-fA-F]{4})`,
	"string":        `"\"" char* "\""`,
	"null":          `"null"`,
}

// converter makes the rules of one schema.
type converter struct {
	root       []byte
	rules      map[string]string
	resolved   map[string]string // by reference: the name of its rule
	references map[string]bool   // those met
	visits     int
	depth      int
	text       int // bytes of the rules
	copied     int // bytes that llama-server copies on its way
}

// add makes a rule with a name of its own. Names are short here: a schema's own could
// make the text long.
func (c *converter) add(rule string) (string, error) {
	name := "r" + strconv.Itoa(len(c.rules))
	c.rules[name] = rule
	if c.text += len(rule) + len(name); c.text > maxText {
		return "", errTooMuch
	}
	return name, nil
}

// primitive makes sure of llama-server's own rules.
func (c *converter) primitive(name string) (string, error) {
	if _, ok := c.rules[name]; !ok {
		for other, rule := range primitives {
			c.rules[other] = rule
		}
	}
	return name, nil
}

// visit returns the name of the rule for a schema. Which of its words counts is decided
// in llama-server's order.
func (c *converter) visit(schema []byte) (string, error) {
	if c.visits++; c.visits > maxVisits {
		return "", errTooMuch
	}
	if c.depth++; c.depth > maxNested {
		return "", errTooDeep
	}
	defer func() { c.depth-- }()
	s, ok := rawjson.Scan(schema)
	if !ok {
		return c.primitive("value") // llama-server refuses it
	}
	if to, given := s.Raw("$ref"); given {
		return c.reference(to)
	}
	for _, key := range []string{"oneOf", "anyOf"} {
		if alternatives, given := s.Raw(key); given {
			return c.union(members(alternatives))
		}
	}
	kind, _ := s.Raw("type")
	if types := rawjson.Elements(kind); types != nil {
		var copies [][]byte
		for _, one := range types {
			copies = append(copies, s.Apply(rawjson.Edit{Key: "type", Value: one}))
			if c.copied += len(schema); c.copied > maxCopied {
				return "", errTooMuch // llama-server copies it as well
			}
		}
		return c.union(copies)
	}
	return c.plain(s, rawjson.Text(kind))
}

// field is a key of an object, with its value.
type field struct {
	key   string
	value []byte
}

// fieldsOf returns an object's fields in one pass, each key once, in the place where it first
// stands and with the value that it has last, as llama-server reads them.
func fieldsOf(o rawjson.Object) (list []field) {
	at := map[string]int{}
	for key, value := range o.All() {
		if i, known := at[key]; known {
			list[i].value = value
			continue
		}
		at[key] = len(list)
		list = append(list, field{key, value})
	}
	return list
}

// members are the elements of an array, or the values of an object.
func members(raw []byte) [][]byte {
	if o, ok := rawjson.Scan(raw); ok {
		var list [][]byte
		for _, f := range fieldsOf(o) {
			list = append(list, f.value)
		}
		return list
	}
	return rawjson.Elements(raw)
}

// plain is visit for a schema of one type.
func (c *converter) plain(s rawjson.Object, kind string) (string, error) {
	has := func(keys ...string) bool {
		return slices.ContainsFunc(keys, func(key string) bool { _, given := s.Raw(key); return given })
	}
	may := func(other string) bool { return kind == "" || kind == other }
	switch {
	case has("const"):
		value, _ := s.Raw("const")
		return c.add(literal(value))
	case has("enum"):
		values, _ := s.Raw("enum")
		return c.words(members(values))
	case may("object") && has("properties", "additionalProperties"):
		return c.object(s)
	case (may("object") || kind == "string") && has("allOf"):
		return c.all(s)
	case may("array") && has("items", "prefixItems"):
		return c.array(s)
	case may("string") && has("pattern"):
		pattern, _ := s.Raw("pattern")
		return c.pattern(rawjson.Text(pattern))
	case kind == "string" && has("minLength", "maxLength"):
		return c.sized(s)
	case kind == "object":
		return c.primitive("object")
	case kind == "integer":
		if err := checkIntegers(s); err != nil {
			return "", err
		}
		return c.primitive(kind)
	case primitives[kind] != "":
		return c.primitive(kind)
	}
	return c.primitive("value")
}

// literal is a rule for a value as it stands.
func literal(value []byte) string {
	return `"` + strings.NewReplacer("\r", `\r`, "\n", `\n`, `"`, `\"`, `\`, `\\`).Replace(string(value)) + `"`
}

func (c *converter) words(values [][]byte) (string, error) {
	var list []string
	for _, v := range values {
		list = append(list, literal(v))
	}
	return c.add("(" + strings.Join(list, " | ") + ")")
}

func (c *converter) union(schemas [][]byte) (string, error) {
	var list []string
	for _, s := range schemas {
		name, err := c.visit(s)
		if err != nil {
			return "", err
		}
		list = append(list, name)
	}
	return c.add(strings.Join(list, " | "))
}

func (c *converter) array(s rawjson.Object) (string, error) {
	items, given := s.Raw("items")
	if !given {
		items, _ = s.Raw("prefixItems")
	}
	if items[0] == '[' {
		var list []string
		for _, item := range rawjson.Elements(items) {
			name, err := c.visit(item)
			if err != nil {
				return "", err
			}
			list = append(list, name)
		}
		return c.add(`"[" space ` + strings.Join(list, ` "," space `) + ` space "]"`)
	}
	item, err := c.visit(items)
	if err != nil {
		return "", err
	}
	least, most, err := counts(s, "minItems", "maxItems")
	if err != nil {
		return "", err
	}
	list := ""
	if most != 0 {
		fewer := most
		if most != noBound {
			fewer--
		}
		list = item + " (" + `"," space ` + item + ")" + braced(max(least-1, 0), fewer)
		if least == 0 {
			list = "(" + list + ")?"
		}
	}
	return c.add(`"[" space ` + list + ` space "]"`)
}
