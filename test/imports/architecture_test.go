package imports

import (
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// architecture is the page whose picture and table of packages are made here.
var architecture = filepath.Join("..", "..", "docs", "architecture.md")

const (
	generatedBegin = "<!-- packages: LORAGATE_UPDATE=1 go test ./test/imports writes what follows -->\n"
	generatedEnd   = "<!-- end of packages -->\n"
)

// pkg is a package of the program.
type pkg struct {
	path     string // within the module
	synopsis string
	imports  map[string]bool // others of the program
}

// TestArchitecture holds the picture and the table in docs/architecture.md to the code; with
// LORAGATE_UPDATE set it writes them.
func TestArchitecture(t *testing.T) {
	page, err := os.ReadFile(architecture)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begun := strings.Cut(string(page), generatedBegin)
	_, after, ended := strings.Cut(rest, generatedEnd)
	if !begun || !ended {
		t.Fatalf("%s has no place for the packages, between %q and %q", architecture, generatedBegin, generatedEnd)
	}
	packages := readPackages(t)
	want := before + generatedBegin + "\n" + picture(packages) + "\n" + table(packages) + "\n" + generatedEnd + after
	switch {
	case want == string(page):
	case os.Getenv("LORAGATE_UPDATE") == "":
		t.Errorf("%s does not show the packages as they are: LORAGATE_UPDATE=1 go test ./test/imports writes it",
			architecture)
	default:
		if err := os.WriteFile(architecture, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// readPackages returns what the binary is made of, and the packages for tests, by path.
func readPackages(t *testing.T) map[string]*pkg {
	t.Helper()
	all := map[string]*pkg{}
	for _, root := range []string{"cmd", "internal"} {
		err := filepath.WalkDir(filepath.Join("..", "..", root), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly|parser.ParseComments)
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(filepath.Join("..", ".."), filepath.Dir(path))
			if err == nil {
				note(all, filepath.ToSlash(rel), file)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range all {
		if p.synopsis == "" {
			t.Errorf("%s does not say what it is: its package comment has no first sentence", p.path)
		}
	}
	return all
}

// note adds what a file tells of its package.
func note(all map[string]*pkg, path string, file *ast.File) {
	p := all[path]
	if p == nil {
		p = &pkg{path: path, imports: map[string]bool{}}
		all[path] = p
	}
	if file.Doc != nil && p.synopsis == "" {
		p.synopsis = new(doc.Package).Synopsis(file.Doc.Text())
		for _, opening := range []string{"Package " + file.Name.Name + " ", "Command " + filepath.Base(path) + " "} {
			p.synopsis = strings.TrimPrefix(p.synopsis, opening)
		}
	}
	for _, spec := range file.Imports {
		if inside, ours := strings.CutPrefix(strings.Trim(spec.Path.Value, `"`), module); ours {
			p.imports[inside] = true
		}
	}
}

// table lists the packages, those that need most others first.
func table(all map[string]*pkg) string {
	var b strings.Builder
	b.WriteString("| package | what it does | it imports |\n| --- | --- | --- |\n")
	for _, p := range slices.SortedFunc(maps.Values(all), func(a, b *pkg) int {
		if d := height(all, b.path) - height(all, a.path); d != 0 {
			return d
		}
		return strings.Compare(a.path, b.path)
	}) {
		var names []string
		for _, path := range slices.Sorted(maps.Keys(p.imports)) {
			names = append(names, short(path))
		}
		what := strings.ReplaceAll(strings.TrimSuffix(p.synopsis, "."), "|", `\|`)
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", p.path, what, strings.Join(names, ", "))
	}
	return b.String()
}

// height is how many packages lie below one, in a row.
func height(all map[string]*pkg, path string) int {
	h := 0
	for below := range all[path].imports {
		if all[below] != nil {
			h = max(h, 1+height(all, below))
		}
	}
	return h
}

func short(path string) string { return strings.TrimPrefix(path, "internal/") }

// picture draws who imports whom, as Mermaid does: an arrow that follows from others is left
// out, and so are packages that nobody in the program imports, which are for tests.
func picture(all map[string]*pkg) string {
	var b strings.Builder
	b.WriteString("```mermaid\nflowchart TD\n")
	for _, path := range slices.Sorted(maps.Keys(all)) {
		for _, below := range slices.Sorted(maps.Keys(all[path].imports)) {
			if all[below] != nil && !indirect(all, path, below) {
				fmt.Fprintf(&b, "    %s --> %s\n", node(path), node(below))
			}
		}
	}
	b.WriteString("```\n")
	return b.String()
}

// node names a package in the picture, in which a slash has a meaning.
func node(path string) string { return strings.ReplaceAll(short(path), "/", "-") }

// indirect reports whether one package reaches another through a third.
func indirect(all map[string]*pkg, from, to string) bool {
	for through := range all[from].imports {
		if through != to && reaches(all, through, to) {
			return true
		}
	}
	return false
}

func reaches(all map[string]*pkg, from, to string) bool {
	if from == to {
		return true
	}
	p := all[from]
	if p == nil {
		return false
	}
	for below := range p.imports {
		if reaches(all, below, to) {
			return true
		}
	}
	return false
}
