package schema

import (
	"errors"
	"os"
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
