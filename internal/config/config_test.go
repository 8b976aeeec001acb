package config

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/lora"
)

const minimal = "testdata/good/minimal.yaml"

func abs(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestGoodFiles(t *testing.T) {
	base, adapter := abs(t, "testdata/base.gguf"), abs(t, "testdata/adapter.gguf")
	const digest = "abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789"
	onlyModel := defaults()
	onlyModel.Model = Model{Name: "demo", Path: base}
	tests := []struct {
		name string
		want Config
	}{
		{"minimal", onlyModel},
		{"sections_empty", onlyModel},
		{"full", Config{
			Listen: "[::1]:0",
			CORS:   CORS{Origins: []string{"https://*.example:8443", "http://localhost"}},
			Model:  Model{Name: "org/base:8b-q4_0.v1", Path: base},
			State:  State{Dir: abs(t, "testdata/state"), Versions: 100},
			Adapters: Adapters{Dir: abs(t, "testdata/adapters"), Settle: 10 * time.Millisecond, List: []Adapter{
				{Name: "coding", Path: adapter, Scale: -0.5,
					Settings: lora.Settings{Aliases: []string{"gpt-4o-mini", "4o"}, Weight: 2.5, MaxConcurrency: 3}},
				{Name: "Coding", Path: adapter, Scale: 2, Settings: lora.Settings{Weight: 1}},
				{Name: "writing", Path: adapter, Scale: 1, Settings: lora.Settings{Weight: 1}, Pin: true},
				{Name: "hub", Source: "hf://owner/repo/sub/file.gguf@v1", Digest: digest, Scale: 1,
					Settings: lora.Settings{Weight: 1}, Preload: true},
				{Name: "web", Source: "https://user:pass@example.com/a.gguf?sign=x", Scale: 1, Settings: lora.Settings{Weight: 1}},
				{Name: "local", Source: abs(t, "testdata/nowhere"), Scale: 1, Settings: lora.Settings{Weight: 1}},
			}},
			Compositions: []Composition{
				{Name: "both", Parts: []lora.Share{{Adapter: "coding", Scale: -100}, {Adapter: "made-by-api", Scale: 1}},
					Settings: lora.Settings{Aliases: []string{"duo"}, Weight: 0.1, MaxConcurrency: 1}},
				{Name: "one", Parts: []lora.Share{{Adapter: "hub", Scale: 0.5}}, Settings: lora.Settings{Weight: 1}},
			},
			Catalog: Catalog{VLLMEndpoints: true, DefaultModel: "coding"},
			Rules: []Rule{
				{Match: "gpt-*", Model: "coding@0.5", System: "Be brief.", Set: `{"temperature": 0.2}`,
					Default: `{"max_tokens": 512}`, Strip: []string{"logit_bias"}},
				{Match: "*"},
			},
			Tenants: []Tenant{
				{
					Name: "acme", Keys: []string{digest}, Models: []string{"both", "gpt-*"}, Adapter: "coding",
					RequestsPerMinute: 1, TokensPerMinute: 2, Concurrency: 3, MonthlyTokens: 4, Weight: 0.5, Priority: -2,
				},
				{Name: "other", Weight: 1},
			},
			Auth: Auth{Open: true, Hosts: []string{"llm.lan", "::1"}},
			Embedders: []Embedder{
				{Name: "embed", Path: base, Kind: Reranking, Slots: 256, Context: 64, Args: []string{"-ngl", "9"}},
				{Name: "embed2", Path: base, Kind: Embedding, Slots: 4, Context: 512},
			},
			Sources: Sources{
				MaxSize:     1,
				HuggingFace: HuggingFace{Endpoint: "http://localhost:1", Token: "hf_x"},
				S3:          S3{Endpoint: "minio:9000", Region: "eu-central-1", Insecure: true},
			},
			Workers: Workers{
				Command: "./bin/llama-server", Count: 64, Slots: 256, Context: 64,
				KV: "unified", MPS: "off", MemoryReserve: 2 << 30,
				Devices:      []string{"CUDA0", "CUDA1"},
				Args:         []string{"-ngl", "99", "--no-warmup"},
				StartTimeout: 90 * time.Second, MemoryLimit: 3 << 30, RuntimeDir: "/tmp",
				MaxLoaded: 2, AdapterMemory: 6 << 30, Spare: 1,
			},
			Scheduler: Scheduler{Queue: 1, MaxWait: 500 * time.Millisecond, Quantum: AutoDuration(10 * time.Millisecond),
				Aging: 3 * time.Second},
			Limits: Limits{Body: 1e9, Memory: 4e9, Text: 4 << 10, Grammar: 2048, Fields: 4096, Read: time.Hour,
				Write: time.Millisecond, RemoteMedia: true},
			Admin: Admin{Listen: "[::]:9", Token: "0123456789abcdeF"},
			Log:   Log{Level: slog.LevelWarn, Format: "json", Prompts: true},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join("testdata", "good", tt.name+".yaml")
			got, err := load(path, nil)
			if err != nil {
				t.Fatal(err)
			}
			tt.want.File = abs(t, path)
			if !reflect.DeepEqual(*got, tt.want) {
				t.Errorf("got\n%+v\nwant\n%+v", *got, tt.want)
			}
		})
	}
}

func TestUnreadableFile(t *testing.T) {
	large := filepath.Join(t.TempDir(), "large.yaml")
	if err := os.WriteFile(large, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"testdata/nowhere.yaml": "testdata/nowhere.yaml: cannot read: no such file or directory",
		"testdata":              "testdata: cannot read: is a directory",
		large:                   large + ": cannot read: larger than 1048576 bytes",
	} {
		if _, err := load(path, nil); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if _, err := Load("testdata/nowhere.yaml"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want %v", err, fs.ErrNotExist)
	}
}

// TestExample loads the configuration that the repository shows, and checks that
// it mentions every key.
func TestExample(t *testing.T) {
	const path = "../../config.yaml"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range leaves() {
		if name := l.key[strings.LastIndex(l.key, ".")+1:]; !strings.Contains(string(data), name+":") {
			t.Errorf("%s does not mention %s", path, l.key)
		}
	}
	c, err := load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Model.Name != "demo" || c.Workers.Count != 2 || c.Workers.Slots != 4 || c.Workers.Context != 1024 ||
		c.State.Dir != abs(t, "../../.state") {
		t.Errorf("got %+v", c)
	}
}

// TestExampleDefaults uncomments the example's keys and checks that the values
// it shows are the defaults.
func TestExampleDefaults(t *testing.T) {
	data, err := os.ReadFile("../../config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	// The commented lines of a key alone: two spaces, then "# key: ".
	var text []string
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "  # "); ok && !strings.HasPrefix(rest, " ") &&
			!strings.HasPrefix(rest, "Or ") && !strings.HasPrefix(rest, "list:") {
			line = "  " + rest
		}
		text = append(text, line)
	}
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(strings.Join(text, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	environ := []string{
		"GATEWAY_MODEL_PATH=" + abs(t, "testdata/base.gguf"),
		"GATEWAY_ADAPTERS_DIR=" + abs(t, "testdata/adapters"),
	}
	got, err := load(path, environ)
	if err != nil {
		t.Fatal(err)
	}
	want := defaults()
	want.File, want.Model, want.Adapters.Dir = got.File, got.Model, got.Adapters.Dir
	want.State.Dir = got.State.Dir
	want.Workers.Count, want.Workers.Slots, want.Workers.Context = 2, 4, 1024
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", *got, want)
	}
}

func TestResolveCommand(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	program := func(path string, mode os.FileMode) string {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Setenv("PATH", elsewhere)
	data := t.TempDir()
	t.Setenv("XDG_DATA_HOME", data)
	ofUser := program(filepath.Join(data, "loragate", "llama", "bin", "ofuser"), 0o700)
	program(filepath.Join(elsewhere, "ofuser"), 0o700)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	beside := filepath.Dir(self)
	local := program(filepath.Join(dir, ".llama", "bin", "both"), 0o700)
	program(filepath.Join(elsewhere, "both"), 0o700)
	onPath := program(filepath.Join(elsewhere, "onpath"), 0o700)
	inFolder := program(filepath.Join(dir, "sub", "server"), 0o700)
	program(filepath.Join(dir, ".llama", "bin", "plain"), 0o600)
	program(filepath.Join(elsewhere, "plain"), 0o700)

	const hint = ": run `gateway install-llama`, or set workers.command to the program's path"
	tests := []struct{ command, want, err string }{
		{"both", local, ""},
		{"onpath", onPath, ""},
		{"ofuser", ofUser, ""},
		{"sub/server", inFolder, ""},
		{"./sub/server", inFolder, ""},
		{inFolder, inFolder, ""},
		{"none", "", `workers.command: "none": neither in ` + strings.Join([]string{dir + "/.llama/bin", beside,
			beside + "/.llama/bin", filepath.Dir(beside) + "/.llama/bin", data + "/loragate/llama/bin"}, ", ") + ` nor on PATH` + hint},
		{"sub/none", "", `workers.command: "sub/none": cannot run ` + dir + `/sub/none: no such file or directory` + hint},
		{"plain", "", `workers.command: "plain": cannot run ` + dir + `/.llama/bin/plain: permission denied` + hint},
	}
	for _, tt := range tests {
		c := Config{File: filepath.Join(dir, "config.yaml"), Workers: Workers{Command: tt.command}}
		got, err := c.ResolveCommand()
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err {
			t.Errorf("%s: got %q, %v; want %q, %s", tt.command, got, err, tt.want, tt.err)
		}
	}
}

func TestToSize(t *testing.T) {
	tests := map[string]int64{
		"0": 0, "7": 7, "7B": 7, "1kB": 1e3, "1KB": 1e3, "2MB": 2e6, "1GB": 1e9, "1TB": 1e12,
		"512KiB": 512 << 10, "16MiB": 16 << 20, "16 MiB": 16 << 20, "3GiB": 3 << 30, "1TiB": 1 << 40,
	}
	for text, want := range tests {
		if got, err := toSize(text); err != nil || got != want {
			t.Errorf("%s: got %v, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "B", "KiB", "1K", "1mb", "1 ", "1e3", "0x1", "1MiBB", "9223372036854775808",
		"8388608TiB"} {
		if got, err := toSize(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}

func TestOwnedFlags(t *testing.T) {
	for flag := range ownedFlags {
		for _, arg := range []string{flag, flag + "=x"} {
			if got, why, ok := ownedFlag(arg); !ok || got != flag || why == "" {
				t.Errorf("%s is allowed", arg)
			}
		}
	}
	for _, arg := range []string{"-ngl", "99", "--flash-attn", "--metrics", "--threads=4", "", "-", "--", "model"} {
		if _, why, ok := ownedFlag(arg); ok {
			t.Errorf("%q is refused: %s", arg, why)
		}
	}
}

// TestVariablesAreUnique guards against two keys that would share a variable.
func TestVariablesAreUnique(t *testing.T) {
	var names []string
	for _, l := range leaves() {
		names = append(names, l.variable)
	}
	slices.Sort(names)
	if len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Errorf("not unique: %v", names)
	}
}
