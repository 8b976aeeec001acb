package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/llamatest"
)

// untrained makes a folder of PEFT as it is before the first step of a training, whose
// configuration names more than the weights have.
func untrained(t *testing.T, dir string) {
	t.Helper()
	trained := filepath.Join(llamatest.Root(), "examples", "finetune", "peft", "legal")
	config, err := os.ReadFile(filepath.Join(trained, "adapter_config.json"))
	if err != nil {
		t.Fatal(err)
	}
	weights, err := os.ReadFile(filepath.Join(trained, "adapter_model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	begin := 8 + binary.LittleEndian.Uint64(weights)
	var tensors map[string]struct {
		Offsets [2]uint64 `json:"data_offsets"`
	}
	if err := json.Unmarshal(weights[8:begin], &tensors); err != nil {
		t.Fatal(err)
	}
	for name, at := range tensors {
		if strings.HasSuffix(name, ".lora_B.weight") {
			clear(weights[begin+at.Offsets[0] : begin+at.Offsets[1]])
		}
	}
	more := strings.Replace(string(config), `"q_proj"`, `"q_proj", "gate_proj"`, 1)
	if err := errors.Join(os.Mkdir(dir, 0o700),
		os.WriteFile(filepath.Join(dir, "adapter_config.json"), []byte("\xef\xbb\xbf"+more), 0o600),
		os.WriteFile(filepath.Join(dir, "adapter_model.safetensors"), weights, 0o600)); err != nil {
		t.Fatal(err)
	}
}

// oddFolder makes a folder of adapters, few of which are what they seem.
func oddFolder(t *testing.T, dir string) {
	t.Helper()
	for name, content := range map[string][]byte{
		"Upper.GGUF": llamatest.VariantBytes(t, 1), "lone/adapter.safetensors": nil,
		"run/checkpoint-500/adapter_config.json": nil, "next.gguf.part": nil, "mlx/adapters.safetensors": nil,
		"mlx/adapter_config.json": []byte(`{"fine_tune_type": "lora", "num_layers": 16, "lora_parameters": {"rank": 8}}`),
	} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, content, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(llamatest.Base(), filepath.Join(dir, "base-model.gguf")); err != nil {
		t.Fatal(err)
	}
	untrained(t, filepath.Join(dir, "idle"))
}

const (
	idleNothing = "it changes nothing: in each of its 36 pairs lora_a or lora_b is all zeros"
	idleLacks   = "adapter_config.json names modules of which adapter_model.safetensors has no weights, 6 in all"
)

// oddSays is what commands say of oddFolder's.
var oddSays = map[string][]string{
	"adapters ls":                  {"Upper", "ready, warning", "adapter_config.json", "next.gguf.part"},
	"adapters show idle":           {"ready", "warning", idleNothing, idleLacks},
	"adapters show idle --json":    {`"warnings": [`, idleNothing, idleLacks},
	"adapters show Upper":          {"ready"},
	"adapters show Upper --json":   {`"warnings": []`},
	"adapters show lone":           {"rejected", "has adapter.safetensors but no adapter_config.json"},
	"adapters show run":            {"rejected", "ln -s run/checkpoint-500 NAME"},
	"adapters show mlx":            {"rejected", "it is of MLX"},
	"adapters show next.gguf.part": {"rejected", "still being written"},
	"adapters show base-model":     {"rejected", "a whole model, not a LoRA adapter; the base is named by model.path"},
}

// TestAdaptersThatAreNotWhatTheySeem are served with a warning, or listed with what to do,
// in the log, the API and the command line, also after a restart.
func TestAdaptersThatAreNotWhatTheySeem(t *testing.T) {
	long(t)
	root := t.TempDir()
	dir := filepath.Join(root, "adapters")
	oddFolder(t, dir)
	lines := strings.SplitAfter(fakeConfig(t, 1, "")+fmt.Sprintf("state: {dir: %s}\n", filepath.Join(root, "state")), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "adapters: ") {
			lines[i] = "adapters: {dir: " + dir + "}\n"
		}
	}
	for start := range 2 {
		g := serve(t, strings.Join(lines, ""))
		for args, want := range oddSays {
			out, _, err := g.operate(strings.Fields(args)...)
			for _, part := range want {
				if err != nil || !strings.Contains(out, part) {
					t.Errorf("start %d: %s: %v, %q does not say %q", start, args, err, out, part)
				}
			}
		}
		if start == 0 {
			if line := g.says("adapter may not do what it was trained for"); line["name"] != "idle" {
				t.Errorf("logged is %v", line)
			}
		}
		g.wait("the rejection of lone", func(line map[string]any) bool {
			return line["msg"] == "adapter rejected" && line["name"] == "lone"
		})
		next := llamatest.VariantBytes(t, 2+start)
		overwrite(t, filepath.Join(dir, "Upper.GGUF"), next)
		g.wait("the replacement", func(line map[string]any) bool {
			return line["msg"] == "adapter replaced" && line["digest"] == digestOfBytes(next)[:12]
		})
		if err := g.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if code := g.end(); code != 0 {
			t.Errorf("it ended with %d", code)
		}
	}
}

// overwrite gives a file other bytes, in place, of equal size and time.
func overwrite(t *testing.T, path string, content []byte) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(10 * time.Millisecond) // the kernel's clock of files has steps
	if err := errors.Join(os.WriteFile(path, content, 0o600), os.Chtimes(path, info.ModTime(), info.ModTime())); err != nil {
		t.Fatal(err)
	}
	if now, err := os.Stat(path); err != nil || now.Size() != info.Size() || !now.ModTime().Equal(info.ModTime()) {
		t.Fatalf("%v, was %v: %v", now, info, err)
	}
}
