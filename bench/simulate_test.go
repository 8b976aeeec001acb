package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// simulate runs the command line in this process.
func simulate(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := run(t.Context(), append([]string{"simulate"}, args...), &out, &out)
	return out.String(), err
}

// TestSimulateFit: what fit prints of a calibration is a model that a scenario runs
// on; of the one in the tree it is the scenarios' own.
func TestSimulateFit(t *testing.T) {
	model, err := simulate(t, "fit", "sim/h200.json")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "model.json")
	if err := os.WriteFile(file, []byte(model), 0o600); err != nil {
		t.Fatal(err)
	}
	with, err := simulate(t, "--scenario", "mixed", "--model", file, "--print")
	if err != nil {
		t.Fatal(err)
	}
	without, err := simulate(t, "--scenario", "mixed", "--print")
	if err != nil || with != without {
		t.Errorf("%v; with its own model the scenario is\n%s\nnot\n%s", err, with, without)
	}
	if out, err := simulate(t, "fit", file); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a model was taken for a calibration: %s", out)
	}
}
