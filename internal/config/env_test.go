package config

import (
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/lora"
)

// overrides has for every key a value other than its default, and what it
// becomes; base and adapter are the absolute paths of the fixtures.
func overrides(base, adapter string) map[string]struct {
	text string
	want any
} {
	list := "[{name: x, path: ../adapter.gguf, aliases: [y]}]"
	return map[string]struct {
		text string
		want any
	}{
		"listen":          {"localhost:1", "localhost:1"},
		"model.name":      {"7", "7"},
		"model.path":      {"../base.gguf", base},
		"adapters.dir":    {"..", strings.TrimSuffix(base, "/base.gguf")},
		"adapters.settle": {"1s", time.Second},
		"adapters.rescan": {"1m", time.Minute},
		"adapters.list": {list, []Adapter{{Name: "x", Path: adapter, Scale: 1,
			Settings: lora.Settings{Aliases: []string{"y"}, Weight: 1}}}},
		"state.dir":      {"/nowhere/state", "/nowhere/state"},
		"state.versions": {"1", 1},
		"compositions": {"[{name: z, parts: [{adapter: a}]}]",
			[]Composition{{Name: "z", Parts: []lora.Share{{Adapter: "a", Scale: 1}}, Settings: lora.Settings{Weight: 1}}}},
		"catalog.adhoc":          {"false", false},
		"catalog.vllm_endpoints": {"true", true},
		"tenants": {"[{name: acme, models: [a]}]",
			[]Tenant{{Name: "acme", Models: []string{"a"}, Weight: 1}}},
		"auth.hosts":    {`["a.lan"]`, []string{"a.lan"}},
		"limits.memory": {"5GiB", int64(5 << 30)},
		"auth.open":     {"true", true},
		"embedders": {"[{name: e, path: " + base + "}]",
			[]Embedder{{Name: "e", Path: base, Kind: "embedding", Slots: 4, Context: 512}}},
		"cors.origins":                 {`["*"]`, []string{"*"}},
		"limits.remote_media":          {"true", true},
		"log.prompts":                  {"true", true},
		"tls.cert":                     {"../base.gguf", base},
		"tls.key":                      {"../base.gguf", base},
		"tls.client_ca":                {"../base.gguf", base},
		"catalog.default_model":        {"demo", "demo"},
		"catalog.max_tokens":           {"512", 512},
		"rules":                        {"[{match: 'a*', model: b}]", []Rule{{Match: "a*", Model: "b"}}},
		"usage.retention":              {"720h", 720 * time.Hour},
		"sources.max_size":             {"2GiB", int64(2 << 30)},
		"sources.huggingface.endpoint": {"https://hub.example", "https://hub.example"},
		"sources.huggingface.token":    {"123", "123"},
		"sources.s3.endpoint":          {"[::1]:9000", "[::1]:9000"},
		"sources.s3.region":            {"us-east-1", "us-east-1"},
		"sources.s3.insecure":          {"true", true},
		"workers.max_loaded":           {"7", 7},
		"workers.adapter_memory":       {"1GiB", int64(1 << 30)},
		"workers.spare":                {"1", 1},
		"workers.reload_interval":      {"2s", 2 * time.Second},
		"admin.token":                  {"#0123456789:_abc", "#0123456789:_abc"},
		"workers.command":              {"a: b # c", "a: b # c"},
		"workers.count":                {"4", AutoInt(4)},
		"workers.slots":                {"5", AutoInt(5)},
		"workers.kv":                   {"split", "split"},
		"workers.mps":                  {"off", "off"},
		"workers.memory_reserve":       {"3GiB", int64(3 << 30)},
		"workers.context":              {"128", 128},
		"workers.devices":              {`["A"]`, []string{"A"}},
		"workers.args":                 {`["-ngl","99"]`, []string{"-ngl", "99"}},
		"workers.self_test":            {"false", false},
		"workers.start_timeout":        {"3s", 3 * time.Second},
		"workers.stop_timeout":         {"0", time.Duration(0)},
		"workers.hang_timeout":         {"1h", time.Hour},
		"workers.stall_timeout":        {"2s", 2 * time.Second},
		"workers.memory_limit":         {"3GiB", int64(3 << 30)},
		"workers.runtime_dir":          {"/tmp", "/tmp"},
		"scheduler.queue":              {"9", 9},
		"scheduler.max_wait":           {"5ms", 5 * time.Millisecond},
		"scheduler.quantum":            {"20ms", AutoDuration(20 * time.Millisecond)},
		"scheduler.scale_out_after":    {"1ms", AutoDuration(time.Millisecond)},
		"scheduler.aging":              {"1s", time.Second},
		"admin.listen":                 {"localhost:2", "localhost:2"},
		"limits.body":                  {"2048", int64(2048)},
		"limits.text":                  {"1KiB", int64(1024)},
		"limits.grammar":               {"4096", int64(4096)},
		"limits.fields":                {"8KiB", int64(8 << 10)},
		"limits.drain":                 {"1s", time.Second},
		"limits.linger":                {"3s", AutoDuration(3 * time.Second)},
		"limits.read":                  {"2s", 2 * time.Second},
		"limits.write":                 {"4s", 4 * time.Second},
		"limits.generation":            {"5s", 5 * time.Second},
		"limits.keepalive":             {"3s", 3 * time.Second},
		"log.level":                    {"error", slog.LevelError},
		"log.format":                   {"json", "json"},
	}
}

func TestEveryKeyFromEnvironment(t *testing.T) {
	base, adapter := abs(t, "testdata/base.gguf"), abs(t, "testdata/adapter.gguf")
	values := overrides(base, adapter)
	for _, l := range leaves() {
		value, ok := values[l.key]
		if !ok {
			t.Errorf("%s: the test has no value for this key", l.key)
			continue
		}
		// Over the defaults, and over a file that sets everything.
		for _, file := range []string{minimal, "testdata/good/full.yaml"} {
			c, err := load(file, []string{"PATH=x", l.variable + "=" + value.text})
			if err != nil {
				t.Errorf("%s over %s: %v", l.variable, file, err)
				continue
			}
			if len(c.Warnings) != 0 {
				t.Errorf("%s: %v", l.variable, c.Warnings)
			}
			if got := at(reflect.ValueOf(*c), l.key); !reflect.DeepEqual(got, value.want) {
				t.Errorf("%s over %s: got %#v, want %#v", l.variable, file, got, value.want)
			}
		}
	}
}

// at returns the value of a key.
func at(v reflect.Value, key string) any {
	for name := range strings.SplitSeq(key, ".") {
		for _, f := range fields(v.Type()) {
			if f.name == name {
				v = v.FieldByIndex(f.index)
				break
			}
		}
	}
	return v.Interface()
}

func TestEnvironmentMistakes(t *testing.T) {
	tests := []struct{ variable, want string }{
		{"GATEWAY_WORKERS_COUNT=four", `GATEWAY_WORKERS_COUNT: workers.count: "four": must be auto or a whole number`},
		{"GATEWAY_WORKERS_COUNT=0", `GATEWAY_WORKERS_COUNT: workers.count: "0": must be auto or from 1 to 64`},
		{"GATEWAY_WORKERS_COUNT=", `GATEWAY_WORKERS_COUNT: workers.count: "": is empty`},
		{"GATEWAY_WORKERS_COUNT=[1", `GATEWAY_WORKERS_COUNT: workers.count: "[1": line 1: did not find expected ',' or ']'`},
		{"GATEWAY_WORKERS_COUNT={a: 1}", `GATEWAY_WORKERS_COUNT: workers.count: a map: must be a single value`},
		{"GATEWAY_WORKERS_SELF_TEST=yes", `GATEWAY_WORKERS_SELF_TEST: workers.self_test: "yes": must be true or false`},
		{"GATEWAY_WORKERS_ARGS=-ngl", `GATEWAY_WORKERS_ARGS: workers.args: "-ngl": must be a list`},
		{"GATEWAY_WORKERS_ARGS=[-m, x]", `GATEWAY_WORKERS_ARGS: workers.args[0]: "-m": -m is not yours to set: set model.name and model.path instead`},
		{"GATEWAY_WORKERS_STOP_TIMEOUT=60", `GATEWAY_WORKERS_STOP_TIMEOUT: workers.stop_timeout: "60": needs a unit, as in 500ms, 60s or 2m`},
		{"GATEWAY_LISTEN=", `GATEWAY_LISTEN: listen: "": must be host:port, as in 127.0.0.1:8080`},
		{"GATEWAY_LIMITS_BODY=1e9", `GATEWAY_LIMITS_BODY: limits.body: "1e9": must be a size such as 512KiB, 16MiB or 1GB`},
		{"GATEWAY_LOG_LEVEL=4", `GATEWAY_LOG_LEVEL: log.level: "4": must be debug, info, warn or error`},
		{"GATEWAY_MODEL_PATH=x", `GATEWAY_MODEL_PATH: model.path: "x": cannot read testdata/good/x: no such file or directory`},
		{"GATEWAY_ADAPTERS_LIST=[{name: x, pth: y}]",
			`GATEWAY_ADAPTERS_LIST: adapters.list[0].pth: unknown key; did you mean adapters.list[0].path?` + "\n" +
				`GATEWAY_ADAPTERS_LIST: adapters.list[0].path: must be set, or source: the adapter's file, or where to get it from`},
	}
	for _, tt := range tests {
		if _, err := load("testdata/good/full.yaml", []string{tt.variable}); err == nil || err.Error() != tt.want {
			t.Errorf("%s: got\n%v\nwant\n%s", tt.variable, err, tt.want)
		}
	}
}

func TestUnknownVariables(t *testing.T) {
	c, err := load(minimal, []string{
		"GATEWAY_WORKER_COUNT=3", "GATEWAY_PORT_8080_TCP_ADDR=10.0.0.1", "gateway_listen=x", "OTHER=1", "GATEWAY_",
		"GATEWAY_ADMIN_URL=http://127.0.0.1:1", // of the commands that call a gateway
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"GATEWAY_PORT_8080_TCP_ADDR: ignored: no key has this variable",
		"GATEWAY_WORKER_COUNT: ignored: no key has this variable; did you mean GATEWAY_WORKERS_COUNT?",
	}
	if !reflect.DeepEqual(c.Warnings, want) {
		t.Errorf("got %q, want %q", c.Warnings, want)
	}
}

// TestLoadReadsEnvironment covers the one place where the process's environment
// comes in.
func TestLoadReadsEnvironment(t *testing.T) {
	t.Setenv("GATEWAY_WORKERS_COUNT", "7")
	c, err := Load(minimal)
	if err != nil || c.Workers.Count != 7 {
		t.Fatalf("got %+v, %v", c, err)
	}
}

func TestHuggingFaceToken(t *testing.T) {
	const own = "GATEWAY_SOURCES_HUGGINGFACE_TOKEN="
	tests := []struct {
		file    string
		environ []string
		want    string
	}{
		{minimal, nil, ""},
		{minimal, []string{"HF_TOKEN=hf_a\n", "HUGGING_FACE_HUB_TOKEN=hf_b"}, "hf_a"},
		{minimal, []string{"HUGGING_FACE_HUB_TOKEN=hf_b", "HF_TOKEN= "}, "hf_b"},
		{minimal, []string{"HF_TOKEN=hf_a", own + "hf_c"}, "hf_c"},
		{minimal, []string{"HF_TOKEN=hf_a", own}, "hf_a"},
		{"testdata/good/full.yaml", []string{"HF_TOKEN=hf_a"}, "hf_x"},
		{"testdata/good/full.yaml", []string{"HF_TOKEN=hf_a", own}, "hf_a"},
	}
	for _, tt := range tests {
		c, err := load(tt.file, tt.environ)
		if err != nil {
			t.Errorf("%q: %v", tt.environ, err)
		} else if got := c.Sources.HuggingFace.Token; got != tt.want {
			t.Errorf("%s and %q: got %q, want %q", tt.file, tt.environ, got, tt.want)
		}
	}
}

// TestSecretsInVariables checks that messages about secrets do not repeat them.
func TestSecretsInVariables(t *testing.T) {
	tests := []struct{ variable, want string }{
		{"GATEWAY_ADMIN_TOKEN=secret", `GATEWAY_ADMIN_TOKEN: admin.token: must have at least 16 characters`},
		{"GATEWAY_ADMIN_TOKEN=secret-secret-secret\n",
			`GATEWAY_ADMIN_TOKEN: admin.token: must be printable ASCII characters without spaces`},
		{"GATEWAY_SOURCES_HUGGINGFACE_TOKEN=sécret",
			`GATEWAY_SOURCES_HUGGINGFACE_TOKEN: sources.huggingface.token: must be printable ASCII characters without spaces`},
		{"HF_TOKEN=secret secret", `HF_TOKEN: sources.huggingface.token: must be printable ASCII characters without spaces`},
		{"GATEWAY_ADAPTERS_LIST=[{name: a, source: 'https://h/a?secret'}",
			`GATEWAY_ADAPTERS_LIST: adapters.list: "[{name: a, source: 'https://h/a?***": line 1: did not find expected ',' or ']'`},
	}
	for _, tt := range tests {
		if _, err := load(minimal, []string{tt.variable}); err == nil || err.Error() != tt.want {
			t.Errorf("%s: got\n%v\nwant\n%s", tt.variable, err, tt.want)
		}
	}
}

func TestAdminNeedsToken(t *testing.T) {
	for listen, needed := range map[string]bool{
		"": false, "127.0.0.1:1": false, "127.9.9.9:1": false, "[::1]:1": false, "localhost:1": false, "LocalHost:1": false,
		"[::ffff:127.0.0.1]:1": false,
		"0.0.0.0:1":            true, "[::]:1": true, "10.0.0.1:1": true, "localhost.example:1": true,
		"[::ffff:10.0.0.1]:1": true,
	} {
		_, err := load(minimal, []string{"GATEWAY_ADMIN_LISTEN=" + listen})
		if (err != nil) != needed {
			t.Errorf("%q: got %v", listen, err)
		}
		if _, err := load(minimal, []string{"GATEWAY_ADMIN_LISTEN=" + listen,
			"GATEWAY_ADMIN_TOKEN=0123456789abcdef"}); err != nil {
			t.Errorf("%q with a token: got %v", listen, err)
		}
	}
}
