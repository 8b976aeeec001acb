package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRunWritesTheFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	var out bytes.Buffer
	if err := run([]string{"-dir", dir, "-adapters", "2", "-rank", "4"}, &out); err != nil {
		t.Fatal(err)
	}
	contents := map[string]bool{}
	for _, name := range []string{"base.gguf", "adapter-00.gguf", "adapter-01.gguf"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		contents[string(data)] = true
		if !strings.Contains(out.String(), name) {
			t.Errorf("no progress of %s in %q", name, out.String())
		}
	}
	if len(contents) != 3 {
		t.Errorf("%d distinct files, want 3", len(contents))
	}
}

func TestBadCommandLines(t *testing.T) {
	for _, args := range [][]string{
		{"-shape", "huge"}, {"-modules", "none"}, {"-rank", "x"}, {"more"},
		{"-dir", t.TempDir(), "-adapters", "1", "-rank", "-1"},
	} {
		if err := run(args, io.Discard); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}
}
