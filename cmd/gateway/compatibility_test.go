package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/llamatest"
)

// compatibility is the file with the table of what SDKs did.
var compatibility = filepath.Join(llamatest.Root(), "docs", "compatibility.md")

// features are the table's columns, with what the tests show of each.
var features = []string{"answers", "streams", "tools", "structured output", "leaving", "retries", "time-outs", "errors"}

// lacking are the features that an endpoint has nothing of, in any client.
var lacking = map[string][]string{
	"/v1/completions":           {"tools", "structured output"},
	"/v1/models":                {"streams", "tools", "structured output", "leaving", "retries", "time-outs"},
	"/v1/embeddings":            {"streams", "tools", "structured output", "leaving", "retries", "time-outs"},
	"/v1/messages/count_tokens": {"streams", "tools", "structured output", "leaving", "retries", "time-outs"},
}

// excuses say why an SDK cannot do something.
var excuses = map[string]string{"go-openai | /v1/chat/completions | retries": "it has none"}

// testName is "SDK | endpoint | feature: what"; what may be left out.
var testName = regexp.MustCompile(`^(.+) \| (.+) \| ([a-z -]+)(:.*)?$`)

// table returns the table of the tests that passed, by their names. Every cell has
// a pass or says why there can be none.
func table(t *testing.T, passed []string) string {
	t.Helper()
	done := map[string]bool{}
	var rows []string
	for _, name := range passed {
		m := testName.FindStringSubmatch(name)
		if m == nil || !slices.Contains(features, m[3]) {
			t.Fatalf("the test %q is not named SDK | endpoint | feature: what", name)
		}
		done[m[1]+" | "+m[2]+" | "+m[3]] = true
		if row := m[1] + " | " + m[2]; !slices.Contains(rows, row) {
			rows = append(rows, row)
		}
	}
	slices.Sort(rows)
	var out strings.Builder
	fmt.Fprintf(&out, "| SDK | endpoint | %s |\n|%s\n", strings.Join(features, " | "),
		strings.Repeat(" --- |", len(features)+2))
	for _, row := range rows {
		sdk, endpoint, _ := strings.Cut(row, " | ")
		fmt.Fprintf(&out, "| %s | `%s` |", sdk, endpoint)
		for _, feature := range features {
			cell := row + " | " + feature
			switch excuse := excuses[cell]; {
			case done[cell]:
				out.WriteString(" ✓ |")
			case slices.Contains(lacking[endpoint], feature):
				out.WriteString(" – |")
			case excuse != "":
				out.WriteString(" " + excuse + " |")
			default:
				t.Errorf("no test shows %s", cell)
			}
		}
		out.WriteString("\n")
	}
	return out.String()
}

// checkTable holds the table in the docs to the tests that passed.
func checkTable(t *testing.T, passed []string) {
	t.Helper()
	checkMade(t, "TestSDKs", table(t, passed))
}

// checkMade holds what the docs have from a test to what that has made; with LORAGATE_UPDATE
// set it writes it.
func checkMade(t *testing.T, by, made string) {
	t.Helper()
	begin, end := "<!-- made by "+by+" -->\n", "<!-- end -->\n"
	text, err := os.ReadFile(compatibility)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	old, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no place for what %s makes", compatibility, by)
	}
	switch {
	case old == made:
	case os.Getenv("LORAGATE_UPDATE") == "":
		t.Errorf("%s is not what the tests showed; LORAGATE_UPDATE=1 writes\n%s", compatibility, made)
	default:
		if err := os.WriteFile(compatibility, []byte(before+begin+made+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
