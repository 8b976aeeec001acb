package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// edited loads the file that sets everything, with pairs of old and new text
// replaced in it.
func edited(t *testing.T, pairs ...string) *Config {
	t.Helper()
	data, err := os.ReadFile("testdata/good/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("there is no %s to edit", pairs[i])
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	text = strings.NewReplacer("./../", abs(t, "testdata")+"/", "../", abs(t, "testdata")+"/").Replace(text)
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func strs(changes []Change) []string {
	var all []string
	for _, c := range changes {
		all = append(all, c.String())
	}
	return all
}

// diffs are edits of the file that sets everything, as pairs of old and new text,
// and the differences that they make; DIR stands for the folder of the fixtures.
var diffs = []struct {
	name  string
	pairs []string
	want  []string
}{
	{"nothing", nil, nil},
	{"order", []string{
		"[{adapter: coding, scale: -100}, {adapter: made-by-api}]",
		"[{adapter: made-by-api}, {adapter: coding, scale: -100}]",
		"    - {name: writing, path: ../adapter.gguf, pin: true}\n", "",
		"  list:\n", "  list:\n    - {name: writing, path: ../adapter.gguf, pin: true}\n",
	}, nil},
	{"default written out", []string{"{name: one,", "{name: one, weight: 1.0, aliases: [],"}, nil},
	{"entries", []string{
		"scale: -0.5", "scale: 0.5", "[gpt-4o-mini, \"4o\"]", "[gpt-4o]",
		"name: local, source: ../nowhere", "name: local, path: ../nowhere", "name: writing", "name: prose",
		"preload: true", "preload: false",
	}, []string{
		`adapters.list[coding].aliases: ["gpt-4o-mini", "4o"] -> ["gpt-4o"]`,
		`adapters.list[coding].scale: -0.5 -> 0.5`,
		`adapters.list[hub].preload: true -> false`,
		`adapters.list[local].path: "" -> "DIR/nowhere"`,
		`adapters.list[local].source: "DIR/nowhere" -> ""`,
		`adapters.list[prose]: added: "DIR/adapter.gguf"`,
		`adapters.list[writing]: removed: "DIR/adapter.gguf"`,
	}},
	{"compositions", []string{
		"{adapter: coding, scale: -100}", "{adapter: coding, scale: 0.25}", "{adapter: made-by-api}", "{adapter: writing}",
		"name: one", "name: half", "weight: 0.1", "weight: 10",
	}, []string{
		`compositions[both].parts[coding].scale: -100 -> 0.25`,
		`compositions[both].parts[made-by-api]: removed: scale 1`,
		`compositions[both].parts[writing]: added: scale 1`,
		`compositions[both].weight: 0.1 -> 10`,
		`compositions[half]: added: hub@0.5`,
		`compositions[one]: removed: hub@0.5`,
	}},
	{"values", []string{
		"body: 1GB", "body: 1536KiB", "read: 1h", "read: 90s", "level: warn", "level: debug", "spare: 1", "spare: 0",
		"adhoc: false", "adhoc: true", "adapter_memory: 6GiB", "adapter_memory: 0",
		`[-ngl, "99", --no-warmup]`, "[]", "dir: ../state/", `dir: ""`,
	}, []string{
		`catalog.adhoc: false -> true`,
		`limits.body: 1000000000 -> 1536KiB`,
		`limits.read: 1h0m0s -> 1m30s`,
		`log.level: warn -> debug`,
		`state.dir: "DIR/state" -> ""`,
		`workers.adapter_memory: 6GiB -> 0`,
		`workers.args: ["-ngl", "99", "--no-warmup"] -> []`,
		`workers.spare: 1 -> 0`,
	}},
	{"secrets", []string{
		"0123456789abcdeF", "fedcba9876543210", "token: hf_x", `token: ""`,
		"sign=x", "sign=y",
	}, []string{
		`adapters.list[web].source: "https://***@example.com/a.gguf?***" -> "https://***@example.com/a.gguf?***"`,
		`admin.token: *** -> ***`,
		`sources.huggingface.token: *** -> ""`,
	}},
}

func TestDiff(t *testing.T) {
	for _, tt := range diffs {
		t.Run(tt.name, func(t *testing.T) {
			got := strings.Join(strs(edited(t).Diff(edited(t, tt.pairs...))), "\n")
			want := strings.ReplaceAll(strings.Join(tt.want, "\n"), "DIR", abs(t, "testdata"))
			if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// TestDiffOfEveryKey changes the keys one at a time: no one can be forgotten.
func TestDiffOfEveryKey(t *testing.T) {
	live := map[string]bool{"adapters.list": true, "compositions": true, "catalog.adhoc": true, "catalog.max_tokens": true, "tenants": true,
		"rules": true, "log.level": true}
	base, adapter := abs(t, "testdata/base.gguf"), abs(t, "testdata/adapter.gguf")
	values := overrides(base, adapter)
	c, err := load(minimal, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range leaves() {
		next, err := load(minimal, []string{l.variable + "=" + values[l.key].text})
		if err != nil {
			t.Fatal(err)
		}
		if l.key == "model.path" { // there is but one base among the fixtures
			next.Model.Path += "x"
		}
		changes := c.Diff(next)
		if len(changes) == 0 {
			t.Errorf("%s: no difference", l.key)
		}
		for _, change := range changes {
			if change.Key != l.key && !strings.HasPrefix(change.Key, l.key+"[") {
				t.Errorf("%s: got %s", l.key, change)
			}
		}
		if err := c.Live(next); live[l.key] != (err == nil) || err != nil && !strings.Contains(err.Error(), l.key+": ") &&
			!strings.Contains(err.Error(), l.key+"[") {
			t.Errorf("%s: got %v", l.key, err)
		}
	}
}

func TestLive(t *testing.T) {
	c := edited(t)
	next := edited(t, "scale: -0.5", "scale: 1", "level: warn", "level: info", "count: 64", "count: 63", "token: hf_x",
		"token: hf_y")
	const want = `a restart is needed to change sources.huggingface.token: *** -> ***; workers.count: 64 -> 63`
	if err := c.Live(next); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if err := c.Live(c); err != nil {
		t.Errorf("got %v for no change", err)
	}
}

// TestSecretsAreKnown guards against a secret that somebody adds as a common key.
func TestSecretsAreKnown(t *testing.T) {
	known := 0
	for _, l := range leaves() {
		if secrets[l.key] {
			known++
		} else if strings.Contains(strings.ReplaceAll(l.key, "max_tokens", ""), "token") || strings.Contains(l.key, "secret") ||
			strings.Contains(l.key, "password") {
			t.Errorf("%s is not among the secrets", l.key)
		}
	}
	if known != len(secrets) {
		t.Errorf("%v has a key that there is not", secrets)
	}
}

func TestRedact(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "",
		"/models/a@b?c#d":              "/models/a@b?c#d",
		"hf://owner/repo/a.gguf@v1":    "hf://owner/repo/a.gguf@v1",
		"s3://bucket/a@b.gguf":         "s3://bucket/a@b.gguf",
		"https://h/a.gguf":             "https://h/a.gguf",
		"https://h/a.gguf?":            "https://h/a.gguf?",
		"https://h/a.gguf?s=1#x":       "https://h/a.gguf?***",
		"https://h/a.gguf#x?y":         "https://h/a.gguf#***",
		"https://u:p@h/a":              "https://***@h/a",
		"HTTPS://u:p/q@h/a":            "HTTPS://***@h/a",
		"[{source: https://h/a?s=1\n}": "[{source: https://h/a?***",
	} {
		if got := redact(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
