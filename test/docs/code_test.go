package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestCodeIsWhereItIsSaidToBe looks for the files, folders and functions that docs/code.md
// names: a function is one of the file that was named last, or of its folder's if that is a
// folder. That tests exist which are named is another test.
func TestCodeIsWhereItIsSaidToBe(t *testing.T) {
	root := filepath.Join("..", "..")
	page, err := os.ReadFile(filepath.Join(root, "docs", "code.md"))
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, line := range strings.Split(string(page), "\n") {
		var file, folder string
		for _, word := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(line, -1) {
			name := word[1]
			switch {
			case strings.HasPrefix(name, "internal/") || strings.HasSuffix(name, ".yaml"):
				file, folder = name, filepath.Dir(name)
				if _, err := os.Stat(filepath.Join(root, name)); err != nil {
					t.Errorf("%s is not there", name)
				}
				seen++
			case strings.HasSuffix(name, ".go") && !strings.Contains(name, "*"):
				if _, err := os.Stat(filepath.Join(root, file, name)); err != nil {
					t.Errorf("%s is not in %s", name, file)
				}
			case strings.HasPrefix(name, "Test"):
			case regexp.MustCompile(`^[a-z]\w*$|^[A-Z]\w*$`).MatchString(name) && folder != "":
				if !has(t, filepath.Join(root, file), name) {
					t.Errorf("%q is not in %s: %s", name, file, line)
				}
			}
		}
	}
	if seen < 30 {
		t.Errorf("%d places are named: is the page read as it is written?", seen)
	}
}

// has reports whether a file, or one of a folder, has the name.
func has(t *testing.T, path, name string) bool {
	t.Helper()
	files := []string{path}
	if filepath.Ext(path) == "" {
		var err error
		if files, err = filepath.Glob(filepath.Join(path, "*.go")); err != nil {
			t.Fatal(err)
		}
	}
	pattern := regexp.MustCompile(`\b` + regexp.QuoteMeta(name) + `\b`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if pattern.Match(text) {
			return true
		}
	}
	return false
}
