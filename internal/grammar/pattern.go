package grammar

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// quantifier is one in braces of a regular expression.
var quantifier = regexp.MustCompile(`^\{ *(\d*) *(,? *)(\d*) *\}`)

// pattern makes the rule of a regular expression. One that llama-server cannot put into
// a grammar it takes for any string; what of it is no syntax here it does not read.
func (c *converter) pattern(pattern string) (string, error) {
	if len(pattern) < 2 || pattern[0] != '^' || pattern[len(pattern)-1] != '$' {
		return c.primitive("string")
	}
	rule, err := gbnf(pattern[1 : len(pattern)-1])
	if err != nil {
		return "", err
	}
	return c.add(`"\"" (` + rule + `) "\""`)
}

// gbnf writes a regular expression as alternatives of a grammar, the way llama-server
// does: symbols stand for themselves, everything else becomes a string. An expression
// that is none is written as far as it goes, for llama-server refuses it.
func gbnf(pattern string) (string, error) {
	var out strings.Builder
	depth := 0
	begun := false // there is something that can be repeated
	for i := 0; i < len(pattern); {
		rest := pattern[i:]
		size := 1
		repeatable := true
		switch c := rest[0]; {
		case strings.HasPrefix(rest, "(?:"):
			size = 3
			fallthrough
		case c == '(':
			if depth++; depth > MaxDepth {
				return "", fmt.Errorf("has a pattern that is nested deeper than %d", MaxDepth)
			}
			out.WriteString(" (")
			repeatable = false
		case c == ')':
			if depth--; depth < 0 {
				return closed(&out, 0), nil
			}
			out.WriteString(")")
		case c == '[':
			size = classSize(rest)
			out.WriteString(" " + className(rest[:size]))
		case c == '.':
			out.WriteString(` [^\x0A\x0D]`)
		case c == '|':
			out.WriteString(" |")
			repeatable = false
		case c == '*' || c == '+' || c == '?' || quantifier.MatchString(rest):
			var text string
			var err error
			if size, text, err = quantity(rest); err != nil {
				return "", err
			}
			if !begun {
				return closed(&out, depth), nil
			}
			out.WriteString(text)
		case c == '\\' && len(rest) > 1:
			size = 2
			out.WriteString(" " + escaped(rest[1]))
		default:
			out.WriteString(" " + literal([]byte(rest[:1])))
		}
		begun = repeatable
		i += size
	}
	return closed(&out, depth), nil
}

// closed ends an expression that leaves parentheses open.
func closed(out *strings.Builder, depth int) string {
	return out.String() + strings.Repeat(")", max(depth, 0))
}

// quantity returns the size of a quantifier and what it is in a grammar.
func quantity(rest string) (size int, text string, err error) {
	if rest[0] != '{' {
		return 1, rest[:1], nil
	}
	m := quantifier.FindStringSubmatch(rest)
	least, _ := strconv.Atoi(m[1])
	most := least
	if strings.Contains(m[2], ",") {
		most = noBound
		if m[3] != "" {
			most, err = strconv.Atoi(m[3])
		}
	}
	if err != nil || len(m[1]) > 9 {
		return 0, "", fmt.Errorf("has a pattern that repeats something more than %d times", maxRepeat)
	}
	if err := checkCounts(least, most); err != nil {
		return 0, "", fmt.Errorf("has a pattern that %w", err)
	}
	return len(m[0]), braced(least, most), nil
}

// classSize is the length of a character class in brackets.
func classSize(text string) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case ']':
			return i + 1
		}
	}
	return len(text)
}

// hexEscape is a character that is written as its number, in the way of grammars.
var hexEscape = regexp.MustCompile(`^\\(?:x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8})`)

// className writes a class so that it is one in a grammar: escapes that stand for many
// characters become letters of theirs. A hyphen beside an escape is itself: with those
// letters it could make a range that the expression does not have.
func className(class string) string {
	inside := strings.TrimSuffix(strings.TrimPrefix(class, "["), "]")
	if inside == "" || inside == "^" {
		return `""`
	}
	var out strings.Builder
	escape := false // the character before was one
	for i := 0; i < len(inside); i++ {
		rest := inside[i:]
		switch {
		case rest[0] == '\\' && hexEscape.MatchString(rest):
			size := len(hexEscape.FindString(rest))
			out.WriteString(rest[:size])
			i += size - 1
			continue
		case rest[0] == '\\' && len(rest) > 1:
			i++
			out.WriteString(escapedIn(rest[1]))
		case rest[0] == '-' && (escape || len(rest) > 2 && rest[1] == '\\'):
			out.WriteString(`\x2D`)
		default:
			out.WriteByte(rest[0])
		}
		escape = rest[0] == '\\'
	}
	return "[" + out.String() + "]"
}

// many are what escapes for several characters stand for, in a class.
var many = map[byte]string{'d': "0-9", 'w': "a-zA-Z0-9_", 's': ` \t\r\n`, 'D': "a-z", 'W': " -/", 'S': "!-~"}

func escapedIn(c byte) string {
	if text, ok := many[c]; ok {
		return text
	}
	if c == '\\' || c == ']' || c == '[' || c == '"' || c == 'n' || c == 'r' || c == 't' {
		return `\` + string(c)
	}
	if c < 0x80 {
		return fmt.Sprintf(`\x%02X`, c)
	}
	return string([]byte{c})
}

// escaped writes an escape outside of a class.
func escaped(c byte) string { return "[" + escapedIn(c) + "]" }
