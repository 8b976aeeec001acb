package gguf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	parser "github.com/gpustack/gguf-parser-go"

	"github.com/loragate/loragate/internal/llamatest"
)

// untied is the demo base with an output layer of its own.
func untied(t *testing.T) *file {
	f := dismantle(t, llamatest.Base())
	output := *f.tensor(embedding)
	output.name = outputHead
	f.tensors = append(f.tensors, output)
	return f
}

// experts is the demo base with two experts in each layer.
func experts(t *testing.T) *file {
	f := dismantle(t, llamatest.Base())
	f.set("llama.expert_count", uintType, u32(2))
	f.set("llama.expert_used_count", uintType, u32(1))
	for i := range f.tensors {
		layer, feedForward := strings.CutSuffix(f.tensors[i].name, ".ffn_gate.weight")
		if feedForward {
			f.add(layer+".ffn_gate_inp.weight", f32Type, 256, 2)
		}
		for _, name := range []string{".ffn_gate", ".ffn_up", ".ffn_down"} {
			if t := &f.tensors[i]; strings.HasSuffix(t.name, name+".weight") {
				t.name = strings.TrimSuffix(t.name, ".weight") + "_exps.weight"
				t.dims = append(t.dims, 2)
				t.data = append(t.data, t.data...)
			}
		}
	}
	return f
}

// TestOtherBases checks what the demo base cannot: adapters of embeddings and
// of experts.
func TestOtherBases(t *testing.T) {
	const expertsUp = "blk.2.ffn_up_exps.weight"
	for _, c := range []struct {
		name   string
		base   func(*testing.T) *file
		change func(*file)
		code   string // "" passes
		served bool   // by llama-server, which reads beyond the tensors if experts are missing
	}{
		{"embedding", untied, func(f *file) { f.addEmbedding(4096, 256, 8) }, "", true},
		{"embedding of two ranks", untied, func(f *file) {
			f.add(embedding+suffixA, f32Type, 8, 4096)
			f.add(embedding+suffixB, f32Type, 16, 256)
		}, BadRank, false},
		{"output", untied, func(f *file) { f.addPair(outputHead, 256, 8, 4096) }, "", true},
		{"embedding in blocks", untied, func(f *file) {
			f.add(embedding+suffixA, parser.GGMLTypeQ8_0, 32, 4096)
			f.add(embedding+suffixB, parser.GGMLTypeF16, 32, 256)
		}, "", true},
		{"all experts", experts, func(f *file) {
			f.add(expertsUp+suffixA, f32Type, 256, 8, 2)
			f.add(expertsUp+suffixB, f32Type, 8, 768, 2)
		}, "", true},
		{"one expert too few", experts, func(f *file) { f.addPair(expertsUp, 256, 8, 768) }, WrongShape, true},
		{"one expert too many", experts, func(f *file) {
			f.add(expertsUp+suffixA, f32Type, 256, 8, 3)
			f.add(expertsUp+suffixB, f32Type, 8, 768, 3)
		}, WrongShape, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			model := save(t, c.base(t).bytes())
			base, err := ReadBase(model)
			if err != nil {
				t.Fatal(err)
			}
			f := takeApart(t, "coding")
			f.tensors = nil
			c.change(f)
			path := save(t, f.bytes())
			_, err = base.Check(t.Context(), path)
			if r, _ := errors.AsType[*Rejection](err); (r == nil) != (c.code == "") || r != nil && r.Code != c.code {
				t.Errorf("Check says %v, wanted code %q", err, c.code)
			}
			compare(t, c.served, path, "--model", model)
		})
	}
}

// TestSplitBase wants the tensors of all parts of a split model.
func TestSplitBase(t *testing.T) {
	dir := t.TempDir()
	whole := dismantle(t, llamatest.Base())
	half := len(whole.tensors) / 2
	parts := [][]part{whole.tensors[:half], whole.tensors[half:]}
	for i, tensors := range parts {
		f := &file{magic: "GGUF", version: 3, alignment: Alignment, tensors: tensors}
		if i == 0 {
			f.keys = whole.keys
		}
		path := filepath.Join(dir, fmt.Sprintf("base-%05d-of-%05d.gguf", i+1, len(parts)))
		if err := os.WriteFile(path, f.bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	base, err := ReadBase(filepath.Join(dir, "base-00001-of-00002.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := base.Check(t.Context(), llamatest.Adapters()["coding"]); err != nil {
		t.Error(err)
	}
}
