package imports

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// bound is how much the files of a package may know of each other.
type bound struct {
	tied int // percent of the pairs of files of which one names something of the other's
	knot int // files at most that all depend on each other
}

// bounds are those of the large packages. They are only ever lowered: a package whose files
// all know each other has to be learnt whole before anything in it can be changed.
var bounds = map[string]bound{
	"internal/catalog":         {37, 2},
	"internal/catalog/ingest":  {35, 2},
	"internal/catalog/records": {71, 1},
	"internal/config":          {31, 13},
	"internal/fetch":           {33, 2},
	"internal/pool":            {37, 6},
	"internal/proxy":           {27, 1},
	"internal/proxy/bounds":    {20, 1},
	"internal/proxy/dialect":   {66, 1},
	"internal/proxy/relay":     {66, 1},
	"internal/proxy/tally":     {33, 1},
	"internal/proxy/whole":     {50, 1},
	"internal/residency":       {35, 2},
	"internal/sched":           {32, 7},
	"internal/store":           {30, 1},
}

// TestFilesKnowFew measures the large packages.
func TestFilesKnowFew(t *testing.T) {
	exports := exportData(t)
	for _, path := range slices.Sorted(maps.Keys(bounds)) {
		files, knows := acquaintance(t, path, exports)
		tied := map[[2]string]bool{}
		for a, others := range knows {
			for b := range others {
				tied[[2]string{min(a, b), max(a, b)}] = true
			}
		}
		pairs := len(files) * (len(files) - 1) / 2
		got := bound{100 * len(tied) / max(1, pairs), knot(files, knows)}
		t.Logf("%s: %d files, %d of %d pairs know each other (%d %%), the largest knot has %d", path, len(files),
			len(tied), pairs, got.tied, got.knot)
		if limit := bounds[path]; got.tied > limit.tied || got.knot > limit.knot {
			t.Errorf("%s: %+v, at most %+v", path, got, limit)
		}
	}
}

// exportData returns where the compiler has put what it knows of each package that the
// large ones import.
func exportData(t *testing.T) map[string]string {
	t.Helper()
	args := []string{"list", "-export", "-deps", "-json=ImportPath,Export"}
	for path := range bounds {
		args = append(args, "./"+path)
	}
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Stderr = filepath.Join("..", ".."), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct{ ImportPath, Export string }
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all[p.ImportPath] = p.Export
	}
}

// acquaintance returns the files of a package, and for each the others whose definitions,
// fields and methods it names.
func acquaintance(t *testing.T, path string, exports map[string]string) (names []string,
	knows map[string]map[string]bool) {
	t.Helper()
	fset := token.NewFileSet()
	list, err := filepath.Glob(filepath.Join("..", "..", path, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, name := range list {
		if strings.HasSuffix(name, "_test.go") || !strings.HasSuffix(name, "_linux.go") &&
			strings.HasSuffix(name, "_other.go") {
			continue
		}
		file, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		names, files = append(names, filepath.Base(name)), append(files, file)
	}
	lookup := func(path string) (io.ReadCloser, error) {
		if exports[path] == "" {
			return nil, fmt.Errorf("there is no export data of %s", path)
		}
		return os.Open(exports[path])
	}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	conf := types.Config{Importer: importer.ForCompiler(fset, "gc", lookup)}
	checked, err := conf.Check(module+path, fset, files, info)
	if err != nil {
		t.Fatal(err)
	}
	knows = map[string]map[string]bool{}
	for use, object := range info.Uses {
		if object.Pkg() != checked || !shared(object, checked) {
			continue
		}
		user, owner := filepath.Base(fset.Position(use.Pos()).Filename), filepath.Base(fset.Position(object.Pos()).Filename)
		if user != owner {
			if knows[user] == nil {
				knows[user] = map[string]bool{}
			}
			knows[user][owner] = true
		}
	}
	return names, knows
}

// shared reports whether an object can be named in other files: a definition of the package,
// a field or a method.
func shared(object types.Object, p *types.Package) bool {
	if object.Parent() == p.Scope() {
		return true
	}
	if v, ok := object.(*types.Var); ok {
		return v.IsField()
	}
	_, ok := object.(*types.Func)
	return ok
}

// knot returns how many files at most all depend on each other, directly or not.
func knot(files []string, knows map[string]map[string]bool) int {
	reach := map[string]map[string]bool{}
	for _, a := range files {
		seen := map[string]bool{}
		var walk func(string)
		walk = func(x string) {
			for b := range knows[x] {
				if !seen[b] {
					seen[b] = true
					walk(b)
				}
			}
		}
		walk(a)
		reach[a] = seen
	}
	largest := 0
	for _, a := range files {
		n := 1
		for _, b := range files {
			if a != b && reach[a][b] && reach[b][a] {
				n++
			}
		}
		largest = max(largest, n)
	}
	return largest
}
