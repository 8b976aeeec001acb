package config

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// reader turns YAML into plain maps, lists and scalars that have the shape of
// Config. It works on the parsed nodes, not on maps, since only these still tell
// how a value was written, where, and whether a key was given twice. What it
// reports it leaves out.
type reader struct {
	*problems
	source string
}

// parse returns the root of the only document in data, or nil after it has
// reported why there is none.
func (r *reader) parse(data []byte) *yaml.Node {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	err := decoder.Decode(&doc)
	switch {
	case errors.Is(err, io.EOF) || err == nil && isNull(doc.Content[0]):
		r.addSource(r.source, "is empty")
		return nil
	case err != nil:
		r.addSource(r.source, "%s", syntaxError(err))
		return nil
	}
	var second yaml.Node
	switch err := decoder.Decode(&second); {
	case err == nil:
		r.addSource(r.source, "line %d: a second YAML document begins here: only one is read", second.Line)
	case !errors.Is(err, io.EOF):
		r.addSource(r.source, "%s", syntaxError(err))
	default:
		return doc.Content[0]
	}
	return nil
}

var anchor = regexp.MustCompile(`(?s)unknown anchor '.*' referenced`)

// syntaxError returns a parser's error for a message. A secret that begins with *
// looks like an anchor's name to the parser, so that it must not be repeated.
func syntaxError(err error) string {
	return anchor.ReplaceAllString(strings.TrimPrefix(err.Error(), "yaml: "),
		"an anchor is referenced that there is not: put text that begins with * in quotes")
}

func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Tag == "!!null" && n.Style&yaml.TaggedStyle == 0
}

// read returns the value of n, which is to become a t, or nil if there is none
// to use.
func (r *reader) read(key string, n *yaml.Node, t reflect.Type) any {
	r.origins[key] = origin{source: r.source}
	if !secrets[key] {
		r.origins[key] = origin{source: r.source, text: text(n)}
	}
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		r.add(key, "YAML's anchors and aliases are not supported: write the value out")
	case n.Style&yaml.TaggedStyle != 0:
		r.add(key, "YAML's tags are not supported")
	case isNull(n):
		// A section whose keys are all commented out is as good as none; an entry
		// of a list is not a section.
		if t.Kind() != reflect.Struct || strings.HasSuffix(key, "]") {
			r.add(key, "has no value: give one, or leave the key out")
		}
	case t.Kind() == reflect.Struct:
		return r.readMap(key, n, t)
	case t.Kind() == reflect.Slice:
		return r.readList(key, n, t)
	default:
		return r.readScalar(key, n)
	}
	return nil
}

func (r *reader) readMap(prefix string, n *yaml.Node, t reflect.Type) any {
	if n.Kind != yaml.MappingNode {
		r.add(prefix, "must be a map of keys to values")
		return nil
	}
	known := fields(t)
	types := map[string]reflect.Type{}
	for _, f := range known {
		types[f.name] = f.typ
	}
	values, lines := map[string]any{}, map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		key := join(prefix, printable(name.Value))
		if name.Kind != yaml.ScalarNode || types[name.Value] == nil {
			r.origins[key] = origin{source: r.source}
			r.add(key, "unknown key%s", didYouMean(prefix, name.Value, known))
			continue
		}
		if line := lines[name.Value]; line > 0 {
			r.add(key, "given twice, on lines %d and %d", line, name.Line)
			continue
		}
		lines[name.Value] = name.Line
		if v := r.read(key, value, types[name.Value]); v != nil {
			values[name.Value] = v
		}
	}
	return values
}

// readList keeps the place of an entry that has no usable value, so that the
// others keep their numbers.
func (r *reader) readList(key string, n *yaml.Node, t reflect.Type) any {
	if n.Kind != yaml.SequenceNode {
		r.add(key, "must be a list")
		return nil
	}
	values := make([]any, len(n.Content))
	for i, entry := range n.Content {
		values[i] = r.read(index(key, i), entry, t.Elem())
	}
	return values
}

// plainInteger excludes what YAML reads as another number than people do: 010
// is 8.
var plainInteger = regexp.MustCompile(`^[-+]?(0|[1-9][0-9]*)$`)

func (r *reader) readScalar(key string, n *yaml.Node) any {
	if n.Kind != yaml.ScalarNode {
		r.add(key, "must be a single value")
		return nil
	}
	var value any
	switch err := n.Decode(&value); {
	case err != nil:
		r.add(key, "cannot read: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	case n.Tag == "!!int" && !plainInteger.MatchString(n.Value):
		r.add(key, "write it as a plain decimal number")
	default:
		return value
	}
	return nil
}

// text returns a value as messages show it, "" if that would not help.
func text(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a map"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.AliasNode:
		return "*" + printable(n.Value)
	case n.Tag == "!!str":
		return quote(redact(n.Value))
	}
	return printable(redact(n.Value))
}

// printable returns s as it is if it can stand unquoted in a message.
func printable(s string) string {
	if q := quote(s); q != `"`+s+`"` {
		return q
	}
	return s
}
