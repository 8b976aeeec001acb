// Package imports holds the test of which package may know of which.
package imports

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/loragate/loragate/"

// below says which packages of this project a package may import. Imports go
// down only; packages for tests may be imported by tests alone.
var below = map[string][]string{
	"internal/residency":       {"internal/lru", "internal/residency/stock"},
	"internal/residency/stock": {"internal/lru"},
	"internal/sched": {"internal/lru", "internal/residency", "internal/residency/stock",
		"internal/sched/cost", "internal/sched/heap", "internal/sched/task"},
	"internal/sched/cost":  {},
	"internal/sched/heap":  {},
	"internal/sched/task":  {"internal/residency/stock"},
	"internal/sched/world": {"internal/residency/stock", "internal/sched/heap", "internal/sched/task"},
	"internal/catalog":     {"internal/catalog/records", "internal/lora", "internal/state", "internal/store"},
	"internal/catalog/ingest": {"internal/catalog", "internal/catalog/records", "internal/lora", "internal/state",
		"internal/store"},
	"internal/catalog/records": {"internal/lora"},
	"internal/config":          {"internal/httpkit", "internal/lora", "internal/rawjson"},
	"internal/front":           {"internal/framing"},
	"internal/framing":         {},
	"internal/fulldisk":        {},
	"internal/grammar":         {"internal/rawjson"},
	"internal/logsink":         {},
	"internal/lru":             {},
	"internal/pool":            {"internal/backoff", "internal/sched", "internal/upstream", "internal/worker"},
	"internal/proxy": {"internal/auth", "internal/catalog", "internal/httpkit", "internal/lora",
		"internal/pool", "internal/proxy/anthropic", "internal/proxy/bounds", "internal/proxy/dialect",
		"internal/proxy/failure", "internal/proxy/fields", "internal/proxy/legacy", "internal/proxy/pieces",
		"internal/proxy/relay", "internal/proxy/sse", "internal/proxy/tally", "internal/proxy/tools",
		"internal/proxy/whole", "internal/rawjson"},
	"internal/proxy/anthropic": {"internal/httpkit", "internal/rawjson"},
	"internal/proxy/bounds": {"internal/grammar", "internal/httpkit", "internal/lru", "internal/rawjson",
		"internal/schema"},
	"internal/proxy/dialect": {"internal/httpkit", "internal/proxy/anthropic", "internal/proxy/failure",
		"internal/proxy/legacy", "internal/proxy/pieces", "internal/proxy/responses", "internal/proxy/sse",
		"internal/proxy/tally", "internal/proxy/tools", "internal/proxy/whole", "internal/rawjson"},
	"internal/proxy/fields":  {"internal/httpkit", "internal/rawjson"},
	"internal/proxy/legacy":  {"internal/httpkit", "internal/rawjson"},
	"internal/proxy/failure": {"internal/httpkit", "internal/pool", "internal/rawjson"},
	"internal/proxy/pieces":  {"internal/httpkit", "internal/proxy/tally", "internal/rawjson"},
	"internal/proxy/prefix":  {"internal/pool", "internal/rawjson"},
	"internal/proxy/relay": {"internal/httpkit", "internal/pool", "internal/proxy/dialect",
		"internal/proxy/failure", "internal/proxy/pieces", "internal/proxy/prefix",
		"internal/proxy/sse", "internal/proxy/stream", "internal/proxy/suspect", "internal/proxy/tally", "internal/proxy/whole",
		"internal/rawjson", "internal/upstream"},
	"internal/proxy/responses": {"internal/httpkit", "internal/rawjson"},
	"internal/proxy/sse":       {"internal/rawjson", "internal/upstream"},
	"internal/proxy/stream": {"internal/httpkit", "internal/pool", "internal/proxy/failure",
		"internal/proxy/pieces", "internal/proxy/sse"},
	"internal/proxy/suspect": {"internal/pool", "internal/rawjson"},
	"internal/proxy/tally":   {"internal/pool", "internal/rawjson"},
	"internal/proxy/tools":   {"internal/httpkit", "internal/rawjson"},
	"internal/proxy/whole": {"internal/httpkit", "internal/proxy/failure", "internal/proxy/sse",
		"internal/proxy/tally", "internal/rawjson", "internal/upstream"},
	"internal/rawjson":  {},
	"internal/upstream": {},
	"internal/worker":   {"internal/childenv", "internal/hostmem", "internal/upstream"},
	"internal/hostmem":  {},
	"internal/childenv": {},
	"internal/metrics":  {},
	"internal/mps":      {},
	"internal/adminapi": {"internal/lora"},
	"internal/admin": {"internal/adminapi", "internal/auth", "internal/httpkit", "internal/lora",
		"internal/metrics", "internal/state", "internal/usage"},
	"internal/adminclient": {"internal/adminapi", "internal/httpkit"},
	"internal/admincli":    {"internal/adminapi", "internal/terminal"},
	"internal/auth":        {"internal/httpkit"},
	"internal/usage":       {"internal/state"},
	"internal/schema":      {"internal/rawjson"},
	"internal/state":       {"internal/lora", "internal/store"},
	"internal/store":       {},
	"internal/backoff":     {},
	"internal/fetch": {"internal/backoff", "internal/fetch/archive", "internal/fetch/failure",
		"internal/httpkit", "internal/store"},
	"internal/fetch/archive": {"internal/fetch/failure", "internal/store"},
	"internal/fetch/failure": {"internal/lora", "internal/store"},
	"internal/lora":          {},
	"internal/httpkit":       {},
	"internal/gguf":          {},
	"internal/gpu":           {"internal/childenv"},
	"internal/convert":       {"internal/gguf"},
	"internal/terminal":      {},
	"internal/top":           {"internal/adminapi", "internal/terminal"},
	"internal/fakeworker":    {},
	"internal/llamatest":     {},
	"internal/randgguf":      {"internal/gguf"},
	"cmd/gateway":            {"internal/cli"},
	"deploy/llama-server":    {},
	"internal/cli": {"deploy/llama-server", "internal/adminapi", "internal/admincli", "internal/adminclient", "internal/config",
		"internal/gateway", "internal/mps", "internal/state", "internal/top"},
	"internal/gateway": {"internal/admin", "internal/auth", "internal/catalog", "internal/catalog/ingest",
		"internal/config", "internal/convert", "internal/fetch", "internal/front", "internal/gguf", "internal/gpu",
		"internal/hostmem", "internal/logsink", "internal/lora", "internal/metrics", "internal/mps", "internal/pool",
		"internal/proxy", "internal/proxy/bounds", "internal/proxy/failure", "internal/rawjson", "internal/state",
		"internal/store", "internal/usage", "internal/worker"},

	"bench": {"bench/conversation", "bench/load", "bench/mixed", "bench/mixed/calibrate",
		"bench/overhead", "bench/plot", "bench/report", "bench/sim", "internal/randgguf"},
	"bench/conversation":    {"bench/load", "bench/report"},
	"bench/load":            {},
	"bench/mixed":           {"bench/load", "bench/report"},
	"bench/mixed/calibrate": {"bench/load", "bench/report"},
	"bench/overhead":        {"bench/report"},
	"bench/plot":            {"bench/mixed", "bench/report"},
	"bench/randgguf":        {"internal/randgguf"},
	"bench/report":          {},
	"bench/sim": {"bench/load", "bench/mixed/calibrate", "bench/report", "internal/sched",
		"internal/sched/world"},
}

// only says which packages alone may import a library.
var only = map[string][]string{
	"github.com/spf13/viper":                 {"internal/config"},
	"github.com/labstack/echo/v4":            {"internal/admin", "internal/httpkit", "internal/proxy"},
	"github.com/hashicorp/golang-lru/v2":     {"internal/lru"},
	"github.com/spf13/cobra":                 {"internal/cli"},
	"github.com/prometheus":                  {"internal/metrics"},
	"github.com/openai/openai-go/v3":         {"(tests)"},
	"github.com/anthropics/anthropic-sdk-go": {"(tests)"},
	"github.com/sashabaranov/go-openai":      {"internal/proxy"},
	"github.com/go-viper/mapstructure/v2":    {"internal/config"},
	"go.yaml.in/yaml/v3":                     {"internal/config"},
	"modernc.org/sqlite":                     {"internal/state"},
	"github.com/minio/minio-go/v7":           {"internal/fetch"},
	"github.com/NVIDIA/go-nvml":              {"internal/gpu"},
}

func TestImportsGoDownOnly(t *testing.T) {
	root := filepath.Join("..", "..")
	seen := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() && (strings.HasPrefix(name, ".") && name != ".." || name == "node_modules" || name == "test") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		rel, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(rel)
		seen[pkg] = true
		check(t, pkg, path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range below {
		if !seen[pkg] {
			t.Errorf("%s is in the table and not in the tree", pkg)
		}
	}
}

func check(t *testing.T, pkg, path string) {
	t.Helper()
	allowed, known := below[pkg]
	if !known {
		t.Errorf("%s: say in the table what %s may import", path, pkg)
		return
	}
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file, err := parser.ParseFile(token.NewFileSet(), path, src, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range file.Imports {
		imported := strings.Trim(spec.Path.Value, `"`)
		if inside, ours := strings.CutPrefix(imported, module); ours && !slices.Contains(allowed, inside) {
			t.Errorf("%s imports %s, which %s may not", path, inside, pkg)
		}
		for library, owners := range only {
			if (imported == library || strings.HasPrefix(imported, library+"/")) && !slices.Contains(owners, pkg) {
				t.Errorf("%s imports %s, which only %s may", path, imported, strings.Join(owners, ", "))
			}
		}
	}
}
