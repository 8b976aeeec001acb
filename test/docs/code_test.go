package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	quoted     = regexp.MustCompile("`([^`]+)`")
	source     = regexp.MustCompile(`^(internal|cmd|bench|test)/|\.yaml$`)
	identifier = regexp.MustCompile(`^[A-Za-z]\w*$`)
	word       = regexp.MustCompile(`\w+`)
)

// TestCodeIsWhereItIsSaidToBe looks for the files, folders and names that docs/code.md has.
// A name is declared in the file that is named last before it, or in one of the folder's if
// that is a folder. A file that is named without its folder is in that of the one before.
// That tests exist which are named is another test.
func TestCodeIsWhereItIsSaidToBe(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs", "code.md"))
	if err != nil {
		t.Fatal(err)
	}
	places, names := 0, 0
	for line := range strings.Lines(string(page)) {
		place := "" // within the repository
		for _, match := range quoted.FindAllStringSubmatch(line, -1) {
			name := match[1]
			switch {
			case source.MatchString(name):
				place = name
			case strings.HasSuffix(name, ".go") && !strings.Contains(name, "*"):
				place = filepath.Join(folder(place), name)
			case identifier.MatchString(name) && place != "" && !strings.HasPrefix(name, "Test"):
				if names++; !namesIn(t, filepath.Join(root, place))[name] {
					t.Errorf("%s does not declare %s: %s", place, name, line)
				}
				continue
			default:
				continue
			}
			places++
			if _, err := os.Stat(filepath.Join(root, place)); err != nil {
				t.Errorf("%s is not there: %s", place, line)
				place = ""
			}
		}
	}
	if places < 80 || names < 80 {
		t.Errorf("%d places and %d names: is the page read as it is written?", places, names)
	}
}

// folder is where a place is, or the place itself if it is a folder.
func folder(place string) string {
	if filepath.Ext(place) == "" {
		return place
	}
	return filepath.Dir(place)
}

// namesIn returns what a file of Go declares, or those of a folder: functions, methods,
// types, constants, variables, and fields of structs. Of any other file it returns all words.
func namesIn(t *testing.T, place string) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	files := []string{place}
	switch filepath.Ext(place) {
	case ".go":
	case "":
		var err error
		if files, err = filepath.Glob(filepath.Join(place, "*.go")); err != nil {
			t.Fatal(err)
		}
	default:
		text, err := os.ReadFile(place)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range word.FindAllString(string(text), -1) {
			names[name] = true
		}
		return names
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				names[d.Name.Name] = true
			case *ast.GenDecl:
				ast.Inspect(d, func(n ast.Node) bool { return note(names, n) })
			}
		}
	}
	return names
}

// note takes the names of one declaration, and reports whether there are more within it.
func note(names map[string]bool, n ast.Node) bool {
	switch n := n.(type) {
	case *ast.TypeSpec:
		names[n.Name.Name] = true
	case *ast.ValueSpec:
		for _, id := range n.Names {
			names[id.Name] = true
		}
		return false
	case *ast.StructType:
		for _, field := range n.Fields.List {
			for _, id := range field.Names {
				names[id.Name] = true
			}
			if len(field.Names) == 0 {
				names[embedded(field.Type)] = true
			}
		}
	case *ast.InterfaceType, *ast.FuncType:
		return false
	}
	return true
}

// embedded is the name of a field that has only a type.
func embedded(t ast.Expr) string {
	switch t := t.(type) {
	case *ast.Ident:
		return t.Name
	case *ast.StarExpr:
		return embedded(t.X)
	case *ast.SelectorExpr:
		return t.Sel.Name
	case *ast.IndexExpr:
		return embedded(t.X)
	}
	return ""
}
