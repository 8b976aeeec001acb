package config

import (
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/loragate/loragate/internal/lora"
)

// Change is a difference between two configurations.
type Change struct {
	// Key is what differs. Entries of lists go by their names instead of their
	// places, as in adapters.list[coding].scale.
	Key string
	// Old and New are the values for people to read: text is quoted, secrets are
	// masked. Old is "" for an entry that was added, New for one that was removed;
	// the other says then where the entry is from, or what it is made of.
	Old, New string
}

// String returns the change as "KEY: OLD -> NEW", "KEY: added: NEW" or
// "KEY: removed: OLD".
func (c Change) String() string {
	switch {
	case c.Old == "":
		return c.Key + ": added: " + c.New
	case c.New == "":
		return c.Key + ": removed: " + c.Old
	}
	return c.Key + ": " + c.Old + " -> " + c.New
}

// Diff returns what is different in next, sorted by key. The order of entries
// that have names makes no difference, nor do File and Warnings.
func (c *Config) Diff(next *Config) []Change {
	var changes []Change
	compare(&changes, "", reflect.ValueOf(*c), reflect.ValueOf(*next))
	slices.SortFunc(changes, func(a, b Change) int { return strings.Compare(a.Key, b.Key) })
	return changes
}

// liveKeys can be changed while the gateway runs.
var liveKeys = []string{"adapters.list", "compositions", "catalog.adhoc", "catalog.max_tokens", "tenants", "rules", "log.level"}

// Live returns nil if a running gateway can change over to next. Otherwise the
// error names all changes that need a restart.
func (c *Config) Live(next *Config) error {
	var others []string
	for _, change := range c.Diff(next) {
		if !slices.ContainsFunc(liveKeys, func(key string) bool {
			return change.Key == key || strings.HasPrefix(change.Key, key+"[")
		}) {
			others = append(others, change.String())
		}
	}
	if len(others) == 0 {
		return nil
	}
	return errors.New("a restart is needed to change " + strings.Join(others, "; "))
}

// compare appends the changes from old to next, which are the values of key.
func compare(changes *[]Change, key string, old, next reflect.Value) {
	switch kind := old.Kind(); {
	case kind == reflect.Struct:
		for _, f := range fields(old.Type()) {
			compare(changes, join(key, f.name), old.FieldByIndex(f.index), next.FieldByIndex(f.index))
		}
	case kind == reflect.Slice && old.Type().Elem().Kind() == reflect.Struct:
		compareEntries(changes, key, old, next)
	case kind == reflect.Slice && old.Len() == 0 && next.Len() == 0: // no list is an empty one
	case !reflect.DeepEqual(old.Interface(), next.Interface()):
		*changes = append(*changes, Change{Key: key, Old: show(key, old), New: show(key, next)})
	}
}

func compareEntries(changes *[]Change, key string, old, next reflect.Value) {
	before, after := entries(old), entries(next)
	for name, entry := range after {
		if _, ok := before[name]; !ok {
			*changes = append(*changes, Change{Key: key + "[" + name + "]", New: gist(entry)})
		}
	}
	for name, entry := range before {
		at := key + "[" + name + "]"
		if other, ok := after[name]; ok {
			compare(changes, at, entry, other)
		} else {
			*changes = append(*changes, Change{Key: at, Old: gist(entry)})
		}
	}
}

// entries returns the entries of a list by name.
func entries(list reflect.Value) map[string]reflect.Value {
	all := map[string]reflect.Value{}
	for i := range list.Len() {
		switch entry := list.Index(i); e := entry.Interface().(type) {
		case Adapter:
			all[e.Name] = entry
		case Composition:
			all[e.Name] = entry
		case lora.Share:
			all[e.Adapter] = entry
		case Tenant:
			all[e.Name] = entry
		case Rule:
			all[e.Match] = entry
		case Embedder:
			all[e.Name] = entry
		}
	}
	return all
}

// gist returns what an entry of a list is about.
func gist(entry reflect.Value) string {
	switch e := entry.Interface().(type) {
	case Adapter:
		return quote(redact(e.Path + e.Source)) // one of them is ""
	case Composition:
		var parts []string
		for _, part := range e.Parts {
			parts = append(parts, part.Adapter+"@"+number(part.Scale))
		}
		return strings.Join(parts, "+")
	case lora.Share:
		return "scale " + number(e.Scale)
	case Rule:
		return quote(e.Model)
	case Embedder:
		return quote(e.Path)
	case Tenant:
		return fmt.Sprintf("%d keys", len(e.Keys))
	}
	return entry.Type().Name()
}

// show returns a value for people to read; it is never "".
func show(key string, v reflect.Value) string {
	switch value := v.Interface().(type) {
	case string:
		if secrets[key] && value != "" {
			return masked
		}
		return quote(redact(value))
	case []string:
		quoted := make([]string, len(value))
		for i, s := range value {
			quoted[i] = quote(redact(s))
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	case time.Duration:
		return value.String()
	case slog.Level:
		return strings.ToLower(value.String())
	case int64:
		return size(value)
	case float64:
		return number(value)
	}
	return fmt.Sprint(v.Interface())
}

func number(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

// size writes bytes as the file does, exactly.
func size(n int64) string {
	text := strconv.FormatInt(n, 10)
	for _, u := range units {
		if strings.HasSuffix(u.suffix, "iB") && n != 0 && n%u.bytes == 0 {
			text = strconv.FormatInt(n/u.bytes, 10) + u.suffix // the last that fits is the largest
		}
	}
	return text
}
