package ingest

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/lora"
)

// TestNothingIsPassedOverInSilence of what may be meant to be an adapter.
func TestNothingIsPassedOverInSilence(t *testing.T) {
	r := newRig(t)
	for files, want := range map[string]string{
		"adapter.safetensors":               "make a folder here with them, as adapter_model.safetensors",
		"W.Safetensors":                     "make a folder here with them",
		"adapter_model.safetensors":         "a PEFT adapter is a folder: make one here",
		"adapter_config.json":               "a PEFT adapter is a folder: make one here",
		"adapter_model.bin":                 "a PEFT adapter is a folder: make one here",
		"pytorch_lora_weights.bin":          "it may be a pickle",
		"a.gguf.part":                       "it is still being written, or was left so",
		"a.gguf.crdownload":                 "it is still being written",
		"b.GGUF.TMP":                        "it is still being written",
		"c.gguf~":                           "it is still being written",
		"d.tar.zst":                         "pack the adapter as .zip, .tar or .tar.gz",
		"d.rar":                             "pack the adapter as .zip, .tar or .tar.gz",
		"d.gguf.gz":                         "pack the adapter as .zip, .tar or .tar.gz",
		"d.gguf.001":                        "put the parts together",
		"config.json":                       "none of .gguf, .zip",
		"weights/adapter_model.safetensors": "the folder has adapter_model.safetensors but no adapter_config.json",
		"lone/adapter.safetensors lone/README.md":                   "the folder has adapter.safetensors but no adapter_config.json",
		"pickled/adapter_model.bin":                                 "the folder has adapter_model.bin but no adapter_config.json",
		"mlx/adapters.safetensors mlx/0000100_adapters.safetensors": "the folder is of MLX",
		"whole/config.json whole/model-00001-of-00002.safetensors":  "the folder is a whole model",
		"nested/x.GGUF": "move its x.GGUF to adapters.dir itself",
		"out/checkpoint-500/adapter_config.json out/checkpoint-1000/adapter_config.json out/runs/log": "there is one in its " +
			"checkpoint-1000 and in 1 more: move that into adapters.dir, or link it there, as by ln -s out/checkpoint-1000 NAME",
		"one/best/adapter_config.json": "there is one in its best: move",
		"notes/a.csv":                  "the folder is none of an adapter",
	} {
		name := ""
		for file := range strings.FieldsSeq(files) {
			path := filepath.Join(r.opts.Dir, file)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
				t.Fatal(err)
			}
			name, _, _ = strings.Cut(file, "/")
		}
		r.until(name+" is listed", func() bool {
			rec, there := r.Get(name)
			return there && rec.State == lora.Rejected && strings.Contains(rec.Reason, want)
		})
		r.unknown(name)
	}
	r.untilLogged("adapter rejected")
	if err := r.Remove("d.rar"); refusal(err) != lora.Conflict {
		t.Errorf("removing a stray file over the API: %v", err)
	}
	listed := len(r.List())
	for _, name := range []string{".hidden.safetensors", ".gitattributes", "README.md", "readme", "LICENSE", "a.gguf.sha256"} {
		r.drop(name, "")
	}
	if err := os.Mkdir(filepath.Join(r.opts.Dir, "lost+found"), 0o700); err != nil {
		t.Fatal(err)
	}
	r.drop("Last.GGUF", "served")
	r.until("the last", func() bool { return r.answers("Last") == digest("served") })
	if len(r.List()) != listed+1 {
		t.Errorf("listed are %+v", r.List())
	}
	// What is mended is no longer rejected.
	r.drop("weights/adapter_config.json", "{}")
	r.until("it has all", func() bool { rec, _ := r.Get("weights"); return rec.Active != nil })
	if err := os.Rename(filepath.Join(r.opts.Dir, "a.gguf.part"), filepath.Join(r.opts.Dir, "a.gguf")); err != nil {
		t.Fatal(err)
	}
	r.until("it is whole", func() bool { _, part := r.Get("a.gguf.part"); return !part && r.answers("a") == digest("") })
}

// TestStraysAreSettled before they are listed, and are listed at a start.
func TestStraysAreSettled(t *testing.T) {
	r, f := lookedAtRig(t)
	if err := os.Mkdir(filepath.Join(f.path, "new"), 0o700); err != nil {
		t.Fatal(err)
	}
	if again := f.read(nil); !again || len(r.List()) != 0 {
		t.Errorf("again %t, %+v", again, r.List())
	}
	if again := f.read(nil); again || len(r.List()) != 1 {
		t.Errorf("again %t, %+v", again, r.List())
	}
	if again := f.read(nil); again || len(r.List()) != 1 {
		t.Errorf("a known one: again %t, %+v", again, r.List())
	}
	r.end()
	r.opts.Dir = f.path
	r.open()
	if list := r.List(); len(list) != 1 || !strings.Contains(list[0].Reason, "the folder is empty") {
		t.Errorf("%+v", list)
	}
}

func TestCheckpointsAreSortedByNumber(t *testing.T) {
	runs := []string{"checkpoint-9", "checkpoint-10", "checkpoint-1"}
	if got := inFolders("x", runs); !strings.Contains(got, "checkpoint-10 and in 2 more") || !slices.IsSorted(runs[:1]) {
		t.Error(got)
	}
}
