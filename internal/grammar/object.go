package grammar

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/loragate/loragate/internal/rawjson"
)

// property is one of an object.
type property struct {
	key      string
	schema   []byte
	required bool
}

func (c *converter) object(s rawjson.Object) (string, error) {
	raw, _ := s.Raw("required")
	required := map[string]bool{}
	for _, key := range rawjson.Elements(raw) {
		required[rawjson.Text(key)] = true
	}
	raw, _ = s.Raw("properties")
	var list []property
	if o, ok := rawjson.Scan(raw); ok {
		for _, f := range fieldsOf(o) {
			list = append(list, property{f.key, f.value, required[f.key]})
		}
	}
	more, _ := s.Raw("additionalProperties")
	return c.properties(list, more)
}

// all is an object of the properties of several schemas, or what all of them list. One
// that refers to itself is followed by llama-server without end.
func (c *converter) all(s rawjson.Object) (string, error) {
	raw, _ := s.Raw("allOf")
	var list []property
	var words [][]byte
	for _, part := range members(raw) {
		alternatives, optional := [][]byte{part}, false
		if o, ok := rawjson.Scan(part); ok {
			if some, given := o.Raw("anyOf"); given {
				alternatives, optional = members(some), true
			}
		}
		for _, one := range alternatives {
			o, err := c.follow(one)
			if err != nil {
				return "", err
			}
			if properties, given := o.Raw("properties"); given {
				list = append(list, propertiesOf(properties, !optional)...)
			} else if values, given := o.Raw("enum"); given {
				words = append(words, members(values)...)
			}
		}
	}
	if len(words) > 0 && len(list) == 0 {
		return c.words(words)
	}
	return c.properties(list, nil)
}

func propertiesOf(raw []byte, required bool) (list []property) {
	o, _ := rawjson.Scan(raw)
	for _, f := range fieldsOf(o) {
		list = append(list, property{f.key, f.value, required})
	}
	return list
}

// properties makes the rule of an object: what is required, and behind it anything of
// what is optional, in order.
func (c *converter) properties(list []property, more []byte) (string, error) {
	var required, optional []string
	for _, p := range list {
		value, err := c.visit(p.schema)
		if err != nil {
			return "", err
		}
		key, _ := json.Marshal(p.key)
		pair, err := c.add(literal(key) + ` space ":" space ` + value)
		if err != nil {
			return "", err
		}
		if p.required {
			required = append(required, pair)
		} else {
			optional = append(optional, pair)
		}
	}
	if len(optional) > maxOptional {
		return "", fmt.Errorf("has an object with %d properties that need not be there, more than %d", len(optional),
			maxOptional)
	}
	rest := ""
	if object := len(more) > 0 && more[0] == '{'; object || string(more) == "true" {
		pair, err := c.further(more, object)
		if err != nil {
			return "", err
		}
		rest = pair
	}
	return c.braces(required, optional, rest)
}

// further makes the rule of properties that have no name in the schema.
func (c *converter) further(schema []byte, object bool) (string, error) {
	value, err := c.primitive("value")
	if object {
		value, err = c.visit(schema)
	}
	if err != nil {
		return "", err
	}
	if _, err := c.primitive("string"); err != nil {
		return "", err
	}
	return c.add(`string ":" space ` + value)
}

// braces puts the pairs of an object together. rest may come any number of times.
func (c *converter) braces(required, optional []string, rest string) (string, error) {
	body := strings.Join(required, ` "," space `)
	var some []string // each optional one with all that may follow it
	follow := ""
	if rest != "" {
		some = append(some, rest+` ( "," space `+rest+` )*`)
		follow = `( "," space ` + rest + ` )*`
	}
	for _, pair := range slices.Backward(optional) {
		name := ""
		if follow != "" {
			var err error
			if name, err = c.add(follow); err != nil {
				return "", err
			}
		}
		some = append(some, pair+" "+name)
		follow = `( "," space ` + pair + " )? " + name
	}
	if len(some) > 0 {
		alternatives := strings.Join(some, " | ")
		if body != "" {
			alternatives = ` "," space ( ` + alternatives + " )"
		}
		body += " (" + alternatives + " )?"
	}
	return c.add(`"{" space ` + body + ` space "}"`)
}
