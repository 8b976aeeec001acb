package schema

import (
	"errors"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// TestHold tells of each schema whether llama-server's grammar holds it as it is, in other
// words, or not at all.
func TestHold(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/schemas.txt")
	if err != nil {
		t.Fatal(err)
	}
	for n, line := range strings.Split(string(text), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		what, rest, _ := strings.Cut(line, " | ")
		schema, at, _ := strings.Cut(rest, " |")
		held, err := Hold([]byte(schema))
		var refused *Unheld
		switch {
		case errors.As(err, &refused):
			if !strings.HasPrefix(what, "refused") || refused.Path() != strings.TrimSpace(at) {
				t.Errorf("line %d is to be %s, and is refused at %q: %v\n%s", n+1, what, refused.Path(), err, schema)
			}
		case err != nil:
			t.Errorf("line %d: %v", n+1, err)
		case string(held) == schema && what != "held", string(held) != schema && what != "rewritten":
			t.Errorf("line %d is to be %s\n%s\nbecomes\n%s", n+1, what, schema, held)
		}
	}
}

// TestUnsaid: what is no schema, and yet says nothing to llama-server, says nothing.
func TestUnsaid(t *testing.T) {
	for _, schema := range []string{
		`{"type":null}`, `{"type":""}`, `{"type":["string",null]}`, `{"type":null,"enum":["a"]}`,
		`{"type":"object","properties":{"a":{"type":null}},"required":["a"]}`, `{"type":"integer","multipleOf":null}`,
	} {
		if held, err := Hold([]byte(schema)); err != nil || string(held) != schema {
			t.Errorf("%s becomes %s: %v", schema, held, err)
		}
	}
}

// TestKeywordsAreDocumented looks for each keyword that asserts something in the table of the
// docs, and for what says that it must be there in the schemas that are tried.
func TestKeywordsAreDocumented(t *testing.T) {
	t.Parallel()
	docs, err := os.ReadFile("../../docs/compatibility.md")
	if err != nil {
		t.Fatal(err)
	}
	tried, err := os.ReadFile("testdata/schemas.txt")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(docs), "## Structured output")
	table, _, _ = strings.Cut(table, "\n## ")
	for key := range asserting {
		if !strings.Contains(table, "`"+key+"`") {
			t.Errorf("docs/compatibility.md has no %s", key)
		}
		if key != "$recursiveRef" && key != "$dynamicRef" && key != "maxContains" && !strings.Contains(string(tried), `"`+key+`"`) {
			t.Errorf("testdata/schemas.txt has no %s", key)
		}
	}
}

// TestHoldIsBounded holds schemas that become large in other words, or take long: not in many times
// their size, and with so much of memory on the way that it cannot take long.
func TestHoldIsBounded(t *testing.T) {
	many := func(n int, format string) string {
		var all []string
		for i := range n {
			all = append(all, strings.ReplaceAll(format, "#", strconv.Itoa(i)))
		}
		return strings.Join(all, ",")
	}
	nested := func(n int, before, inside, after string) string {
		return strings.Repeat(before, n) + inside + strings.Repeat(after, n)
	}
	for name, schema := range map[string]string{
		"alternatives of alternatives": `{"allOf":[` + many(12, `{"anyOf":[{"required":["a#"]},{"required":["b#"]}]}`) + `]}`,
		"one of many":                  `{"oneOf":[` + many(3000, `{"const":#}`) + `]}`,
		"one of many objects":          `{"oneOf":[` + many(900, `{"properties":{"a":{"const":#}},"required":["a"]}`) + `]}`,
		"words":                        `{"type":"string","enum":[` + many(6000, `"w#"`) + `]}`,
		"words twice":                  `{"allOf":[{"enum":[` + many(4000, `"w#"`) + `]},{"enum":[` + many(4000, `"w#"`) + `]}]}`,
		"words and alternatives":       `{"enum":[` + many(3000, `#`) + `],"anyOf":[` + many(3000, `{"const":#}`) + `]}`,
		"conditions":                   `{"type":"object","allOf":[` + many(300, `{"if":{"required":["a#"]},"then":{"required":["b#"]}}`) + `]}`,
		"dependencies":                 `{"type":"object","dependentRequired":{` + many(900, `"a#":["b#"]`) + `}}`,
		"references that double":       `{"$defs":{` + many(30, `"d#":{"allOf":[{"$ref":"#/$defs/d#"}]}`) + `},"allOf":[{"$ref":"#/$defs/d0"},{"$ref":"#/$defs/d1"}]}`,
		"not of not":                   nested(200, `{"not":`, `{}`, `}`),
		"properties and siblings":      `{"properties":{` + many(1500, `"a#":{}`) + `},"anyOf":[` + many(900, `{"required":["a#"]}`) + `]}`,
		"an expression":                `{"type":"string","pattern":"^` + strings.Repeat(`(a|b)?`, 5000) + `$","maxLength":9}`,
		"an expression in another":     `{"type":"string","pattern":"^` + strings.Repeat(`(`, 900) + `a` + strings.Repeat(`){0,2}`, 900) + `$","maxLength":9}`,
		"classes":                      `{"type":"string","pattern":"^[` + strings.Repeat(`\\pL`, 9000) + `]$"}`,
		"patterns":                     `{"type":"object","properties":{` + many(1000, `"a#":{}`) + `},"patternProperties":{` + many(1000, `"a#$":{}`) + `}}`,
		"sets":                         `{"type":"array","uniqueItems":true,"items":{"enum":[1,2,3,4,5,6,7,8]}}`,
		"tuples":                       `{"type":"array","uniqueItems":true,"prefixItems":[` + many(250, `{"const":#}`) + `]}`,
		"large numbers":                `{"type":"number","minimum":1e999999,"multipleOf":1e-999999}`,
		"long numbers":                 `{"type":"number","minimum":` + strings.Repeat("9", 60000) + `}`,
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		held, err := Hold([]byte(schema))
		runtime.ReadMemStats(&after)
		if len(held) > maxText || after.TotalAlloc-before.TotalAlloc > 1<<30 {
			t.Errorf("%s takes %d MiB, and becomes %d bytes: %v", name,
				(after.TotalAlloc-before.TotalAlloc)>>20, len(held), err)
		}
	}
}
