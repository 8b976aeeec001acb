package config

import (
	"reflect"
	"strings"
)

// envPrefix begins the names of our variables in the environment.
const envPrefix = "GATEWAY_"

// leaf is a key that holds a value, as opposed to a section.
type leaf struct {
	key      string // dotted
	variable string // what it is called in the environment
	typ      reflect.Type
	value    any // its default
}

// leaves lists all leaves in the order in which Config declares them, those
// inside of lists left out.
func leaves() []leaf {
	var all []leaf
	var walk func(prefix string, v reflect.Value)
	walk = func(prefix string, v reflect.Value) {
		for _, f := range fields(v.Type()) {
			key, value := join(prefix, f.name), v.FieldByIndex(f.index)
			if value.Kind() == reflect.Struct {
				walk(key, value)
				continue
			}
			variable := envPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
			all = append(all, leaf{key: key, variable: variable, typ: value.Type(), value: value.Interface()})
		}
	}
	walk("", reflect.ValueOf(defaults()))
	return all
}

// field is a field of a struct that the file can set.
type field struct {
	name  string
	index []int
	typ   reflect.Type
}

func fields(t reflect.Type) []field {
	var all []field
	for _, f := range reflect.VisibleFields(t) {
		if name := f.Tag.Get("mapstructure"); name != "-" && !f.Anonymous {
			all = append(all, field{name: name, index: f.Index, typ: f.Type})
		}
	}
	return all
}

// didYouMean returns the key that an unknown one, in the section prefix with
// fields known, was probably meant to be, as the end of a message.
func didYouMean(prefix, name string, known []field) string {
	name = strings.ToLower(strings.ReplaceAll(name, "-", "_"))
	names := make([]string, len(known))
	for i, f := range known {
		names[i] = f.name
	}
	if best := closest(name, names); best != "" {
		return "; did you mean " + join(prefix, best) + "?"
	}
	// The right word in the wrong section.
	var found []string
	for _, l := range leaves() {
		if l.key == join(prefix, name) {
			return ": nest keys in sections instead of joining them by dots"
		}
		if strings.HasSuffix(l.key, "."+name) || l.key == name {
			found = append(found, l.key)
		}
	}
	if len(found) == 1 {
		return "; did you mean " + found[0] + "?"
	}
	return ""
}

// closest returns the one of names that is at most two edits, and fewer in short
// ones, away from name, or "".
func closest(name string, names []string) string {
	if len(name) > 100 {
		return ""
	}
	best, least := "", min(2, len(name)/3)+1
	for _, n := range names {
		if d := distance(name, n); d < least {
			best, least = n, d
		}
	}
	return best
}

// distance is the number of bytes to insert, delete or replace, or of neighbours
// to exchange, that turns a into b.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d := min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, rows[i-2][j-2]+1)
			}
			rows[i][j] = d
		}
	}
	return rows[len(a)][len(b)]
}
