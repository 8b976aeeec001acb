package cli

import (
	"os"
	"path/filepath"
	"testing"
)

// TestPathsOfFlags are meant where the command runs; none is not the folder that it runs in, and a ~
// that the shell has left is the home's.
func TestPathsOfFlags(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"": "", "~": "~", "~/a.gguf": "~/a.gguf", "a.gguf": filepath.Join(here, "a.gguf"),
		"~a": filepath.Join(here, "~a"), "/a/../b": "/b",
	} {
		if got, err := fromHere(path); err != nil || got != want {
			t.Errorf("%q became %q, %v", path, got, err)
		}
	}
}
