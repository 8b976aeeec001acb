package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/loragate/loragate/bench/load"
	"github.com/loragate/loragate/bench/mixed/calibrate"
	"github.com/loragate/loragate/bench/report"
)

// runQuick runs a benchmark from the repository's root against the real
// llama-server and returns its only table, as it is in the JSON file.
func runQuick(t *testing.T, name string, args ...string) *report.Table {
	t.Helper()
	t.Chdir("..")
	file := filepath.Join(t.TempDir(), "out.json")
	// With one thread, because waiting for a second one takes for ever on a busy
	// machine.
	args = append([]string{name, "-quick", "-json", file, "-args", "--threads 1"}, args...)
	var out, progress bytes.Buffer
	if err := run(t.Context(), args, &out, &progress); err != nil {
		t.Fatalf("%v\n%s", err, &progress)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var tables []*report.Table
	if err := json.Unmarshal(text, &tables); err != nil {
		t.Fatal(err)
	}
	if len(tables) != 1 || tables[0].Name != name || !strings.Contains(out.String(), tables[0].About) {
		t.Fatalf("%d tables, printed:\n%s", len(tables), &out)
	}
	return tables[0]
}

func TestMixed(t *testing.T) {
	table := runQuick(t, "mixed", "-check", "-near-tie", "0.5", "-traffic", "zipf", "-requests", "8", "-workers", "auto,2")
	if len(table.Rows) != 4 {
		t.Fatalf("%d rows", len(table.Rows))
	}
	for _, row := range table.Rows {
		v := row.Values
		if v["answers"] != 8 || v["errors"] != 0 || v["wrong"] != 0 || v["output"] <= 0 || v["ttft_p50"] <= 0 {
			t.Errorf("%s: %v", row.Labels, v)
		}
	}
}

func TestConversation(t *testing.T) {
	table := runQuick(t, "conversation")
	for _, row := range table.Rows {
		v := row.Values
		if v["errors"] != 0 || v["requests"] < 4 || v["ttft_p50"] <= 0 {
			t.Errorf("%s: %v", row.Labels, v)
		}
		if whole := v["computed_share"] == 1; strings.Contains(row.Labels[0], "no cache") && !whole {
			t.Errorf("%s computes only %v of its prompts", row.Labels, v["computed_share"])
		}
	}
}

func TestCalibrate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.json")
	table := runQuick(t, "calibrate", "-concurrency", "1,2", "-slots", "3", "-context", "512", "-calibration", file)
	for _, row := range table.Rows {
		for key, v := range row.Values {
			if v <= 0 {
				t.Errorf("%s: %s is %v", row.Labels, key, v)
			}
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var c calibrate.Calibration
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	// Three layouts with two batches beside two kinds of idle slots; in both
	// modes two batches of the base and one of two adapters.
	if len(c.Steps) != 3*2*2+2*3 {
		t.Errorf("%d steps", len(c.Steps))
	}
	if c.Version != calibrate.Version || c.Build == "" || c.Slots != 3 || len(c.FirstTokens) != 4 || len(c.Calls) != 4 ||
		len(c.Prefills) != 4 || len(c.Shares) != 2 || len(c.Skipped) != 1 {
		t.Errorf("%+v", c)
	}
}

func TestBadCommandLines(t *testing.T) {
	for want, args := range map[string][]string{
		"name a benchmark":      {},
		`no benchmark "miksed"`: {"miksed"},
		"what is":               {"mixed", "fast"},
		"-warm":                 {"mixed", "-warm", "hot"},
		"a number of 1 or more": {"mixed", "-workers", "auto,0"},
		"a number of 0 or more": {"calibrate", "-idle", "some"},
		"-contestants \"nginx\"": {"mixed", "-gateway", "main.go", "-base", "main.go", "-adapters", "main.go",
			"-llama-server", "main.go", "-contestants", "nginx"},
		"it is key=value": {"mixed", "-set", "scheduler.queue"},
		"absent":          {"calibrate", "-adapters", "absent/*.gguf"},
		"tiny, 3b, 8b":    {"calibrate", "-random", "7b"},
	} {
		err := run(t.Context(), args, &bytes.Buffer{}, &bytes.Buffer{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: the error is %v, not %q", args, err, want)
		}
	}
}

func TestPlot(t *testing.T) {
	dir := t.TempDir()
	results, picture := filepath.Join(dir, "r.json"), filepath.Join(dir, "p.svg")
	if err := run(t.Context(), []string{"plot", results, "-o", picture}, &bytes.Buffer{}, &bytes.Buffer{}); err == nil {
		t.Error("a file that is not there is drawn")
	}
	text := `[{"name":"mixed","labels":["traffic","clients","server"],"rows":[
		{"labels":["zipf","8","raw"],"values":{"output":250,"ttft_p99":9000}}]}]`
	if err := os.WriteFile(results, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"plot", results, "-o", picture}, {"plot", "-o", picture, "-title", "x", results}} {
		if err := run(t.Context(), args, &bytes.Buffer{}, &bytes.Buffer{}); err != nil {
			t.Errorf("%q: %v", args, err)
		}
		svg, err := os.ReadFile(picture)
		if err != nil || !strings.Contains(string(svg), "raw 250") {
			t.Errorf("%q: %v, %s", args, err, svg)
		}
	}
	if err := run(t.Context(), []string{"plot", results}, &bytes.Buffer{}, &bytes.Buffer{}); err == nil {
		t.Error("it is drawn to nowhere")
	}
}

func TestLengths(t *testing.T) {
	for text, want := range map[string]load.Lengths{"": {Min: 7, Max: 7}, "30": {Min: 30, Max: 30},
		"mix": {Min: 20, Max: 400}} {
		if got, err := lengths(text, 7); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	if _, err := lengths("long", 7); err == nil {
		t.Error("any word is a length")
	}
}

func TestResultsReplaceATableOfTheSameName(t *testing.T) {
	file := filepath.Join(t.TempDir(), "r.json")
	r := &results{file: file}
	for _, table := range []*report.Table{{Name: "a", About: "first"}, {Name: "b"}, {Name: "a", About: "second"}} {
		if err := r.save(table); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got []report.Table
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].About != "second" || got[1].Name != "b" {
		t.Errorf("%+v", got)
	}
}
