package convert

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// pattern gives the modules whose name it matches a value of their own.
type pattern struct {
	key     string
	matches *regexp.Regexp
	value   float64
}

// pick returns the first match's value, as PEFT's get_pattern_key finds it.
func pick(patterns []pattern, module string, otherwise float64) float64 {
	for _, p := range patterns {
		if p.matches.MatchString(module) {
			return p.value
		}
	}
	return otherwise
}

// Bounds on patterns, far above an entry for each module of a large model.
const (
	maxPatterns = 4096
	maxPattern  = 256     // bytes of one of many
	maxTargets  = 4096    // bytes of the one that names all modules
	maxRepeats  = 100     // how often a part of a pattern may be repeated by a count
	maxWork     = 1 << 20 // bytes of all patterns of a key, each times its repeats
)

// readPatterns reads an object of regular expressions in its own order, which
// decides which one applies.
func readPatterns(keys map[string]json.RawMessage, name string) ([]pattern, error) {
	text := keys[name]
	if !isSet(text) {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(text))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil, malformed("%s: %s is %s, wanted an object", configFile, name, shorten(text))
	}
	var patterns []pattern
	left := maxWork
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, malformed("%s: %s: %v", configFile, name, err)
		}
		p := pattern{key: fmt.Sprint(token)}
		var value *float64
		if err := d.Decode(&value); err != nil {
			return nil, malformed("%s: %s: %q: %v", configFile, name, clip(p.key), err)
		}
		if value == nil {
			return nil, malformed("%s: %s: %q is null, wanted a number", configFile, name, clip(p.key))
		}
		p.value = *value
		if p.matches, err = compile(`(.*\.)?(`, p.key, `)`, maxPattern, &left); err != nil {
			return nil, unsupported("pattern", "%s: %s: %q is not a pattern that is supported: %v", configFile, name,
				clip(p.key), err)
		}
		// A repeated key keeps its place and takes the last value, as in Python.
		if i := slices.IndexFunc(patterns, func(o pattern) bool { return o.key == p.key }); i >= 0 {
			patterns[i] = p
		} else if len(patterns) == maxPatterns {
			return nil, malformed("%s: %s has more than %d entries", configFile, name, maxPatterns)
		} else {
			patterns = append(patterns, p)
		}
	}
	return patterns, nil
}

// compile reads a pattern of Python, between two others, so that it matches whole names of
// modules. It takes from left the work that the pattern is.
func compile(before, key, after string, longest int, left *int) (*regexp.Regexp, error) {
	if len(key) > longest {
		return nil, fmt.Errorf("it has %d bytes, more than %d", len(key), longest)
	}
	t := translation{key: key, repeats: 1}
	if err := t.run(); err != nil {
		return nil, err
	}
	if *left -= len(key) * t.repeats; *left < 0 {
		return nil, errors.New("all of them together are too large")
	}
	return regexp.Compile("^(?:" + before + t.out.String() + after + "$)") // a key may close the bracket before it
}

// translation makes a pattern of Go's out of one of Python's that means the same, or says
// what in it has no counterpart. Names of modules are ASCII without line breaks, so that
// some differences do not show.
type translation struct {
	key     string
	at      int
	out     strings.Builder
	repeats int // the product of all counts
}

// counted is a repetition by a count: {2}, {2,}, {,3} or {2,3}. What else begins with a
// brace stands for itself.
var counted = regexp.MustCompile(`^\{(\d*)(,?)(\d*)\}`)

// extension is what may follow a bracket: a group without a number, one with a name, and
// one with flags that both know. Others are looking ahead or back, conditions, comments.
var extension = regexp.MustCompile(`^\(\?(:|P<\w+>|[ims]+:)`)

func (t *translation) run() error {
	for t.at < len(t.key) {
		rest := t.key[t.at:]
		switch {
		case rest[0] == '\\':
			if err := t.escape(); err != nil {
				return err
			}
		case rest[0] == '[':
			if err := t.class(); err != nil {
				return err
			}
		case strings.HasPrefix(rest, "(?"):
			group := extension.FindString(rest)
			if group == "" {
				return fmt.Errorf("it contains %s, which Go's expressions do not have", rest[:min(len(rest), 4)])
			}
			t.copy(len(group))
		case rest[0] == '{':
			if err := t.count(); err != nil {
				return err
			}
		default:
			t.copy(1)
		}
	}
	return nil
}

// copy takes n bytes as they are.
func (t *translation) copy(n int) {
	t.out.WriteString(t.key[t.at : t.at+n])
	t.at += n
}

// escape takes a backslash and what follows.
func (t *translation) escape() error {
	if t.at+1 == len(t.key) {
		return errors.New("it ends in a backslash")
	}
	switch c := t.key[t.at+1]; {
	case c == 'Z':
		t.out.WriteString(`\z`)
		t.at += 2
	case strings.IndexByte("123456789", c) >= 0:
		return fmt.Errorf(`it contains \%c, which refers to a group before`, c)
	case strings.IndexByte("pPQECz", c) >= 0: // Go's own
		return fmt.Errorf(`it contains \%c`, c)
	default:
		t.copy(2)
	}
	return nil
}

// class takes all up to the closing bracket.
func (t *translation) class() error {
	begin := t.at
	t.copy(1)
	if strings.HasPrefix(t.key[t.at:], "^") {
		t.copy(1)
	}
	for first := true; t.at < len(t.key); first = false {
		rest := t.key[t.at:]
		switch {
		case rest[0] == ']' && !first:
			t.copy(1)
			return nil
		case strings.HasPrefix(rest, "[:"):
			return errors.New("it contains [: of a class")
		case rest[0] == '\\':
			if err := t.escape(); err != nil {
				return err
			}
		case rest[0] == '[': // both take it for itself
			t.out.WriteByte('\\')
			t.copy(1)
		default:
			t.copy(1)
		}
	}
	return fmt.Errorf("it has no ] for the [ at its byte %d", begin+1)
}

// count takes a repetition, or a brace that is none.
func (t *translation) count() error {
	parts := counted.FindStringSubmatch(t.key[t.at:])
	if parts == nil || parts[0] == "{}" {
		t.out.WriteByte('\\')
		t.copy(1)
		return nil
	}
	least, most := 0, 0
	for i, n := range []*int{&least, &most} {
		if digits := parts[1+2*i]; len(digits) > 3 {
			*n = maxRepeats + 1
		} else if digits != "" {
			*n, _ = strconv.Atoi(digits)
		}
	}
	if t.repeats *= max(1, least, most); t.repeats > maxRepeats {
		return fmt.Errorf("with %s it repeats a part of it more than %d times", parts[0], maxRepeats)
	}
	fmt.Fprintf(&t.out, "{%d%s%s}", least, parts[2], parts[3])
	t.at += len(parts[0])
	return nil
}
