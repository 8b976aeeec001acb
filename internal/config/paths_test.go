package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFilesThatMakeNoName: whoever serves one without a configuration is told which flag names it.
func TestFilesThatMakeNoName(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "base.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"日本.gguf", "---.gguf", ".gguf"} {
		path := filepath.Join(t.TempDir(), file)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		model := Flag{"--model", "model.path", path}
		if _, err := load("", nil, model); err == nil || !strings.Contains(err.Error(), "--name") {
			t.Errorf("%s: %v", file, err)
		}
		if _, err := load("", nil, model, Flag{"--name", "model.name", "a"}); err != nil {
			t.Errorf("%s with a name: %v", file, err)
		}
	}
}
