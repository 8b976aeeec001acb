package rawjson

import (
	"bytes"
	"slices"
	"strconv"
)

// Builder writes a JSON object, of members that are JSON already. Its zero value is ready.
type Builder struct{ text []byte }

// Member adds a member. The key is written as it is: it must need no escapes.
func (b *Builder) Member(key string, value []byte) {
	separator := byte(',')
	if len(b.text) == 0 {
		separator = '{'
	}
	b.text = slices.Grow(b.text, len(key)+len(value)+4)
	b.text = append(append(append(append(b.text, separator, '"'), key...), '"', ':'), value...)
}

// Copy adds a member of another object, if that has it.
func (b *Builder) Copy(from Object, key string) {
	if raw, ok := from.Raw(key); ok {
		b.Member(key, raw)
	}
}

// End returns the object.
func (b *Builder) End() []byte {
	if len(b.text) == 0 {
		return []byte("{}")
	}
	return append(b.text, '}')
}

// List returns an array of elements that are JSON already.
func List(elements [][]byte) []byte {
	return slices.Concat([]byte{'['}, bytes.Join(elements, []byte{','}), []byte{']'})
}

// Inside returns what stands between the quotes of a JSON string, escapes and all; nil for
// anything else.
func Inside(raw []byte) []byte {
	if len(raw) < 2 || raw[0] != '"' {
		return nil
	}
	return raw[1 : len(raw)-1]
}

// Quoted returns the JSON string that has text between its quotes, as Inside returns it.
func Quoted(text []byte) []byte { return slices.Concat([]byte{'"'}, text, []byte{'"'}) }

// Int returns n as JSON.
func Int(n int) []byte { return strconv.AppendInt(nil, int64(n), 10) }

// Count reads a whole number; -1 is none.
func Count(raw []byte) int {
	n, err := strconv.Atoi(string(raw))
	if err != nil {
		return -1
	}
	return n
}
