package convert

import (
	"bufio"
	"bytes"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/gguf"
)

// The shape of the bases that the adapters of testdata were made for.
const (
	hidden, heads, headsKV, headSize, feedForward, layers, vocabulary = 16, 4, 2, 4, 24, 2, 40
)

// baseOf writes a base model of an architecture, with tensors of zeros.
func baseOf(t *testing.T, architecture string, without ...string) string {
	t.Helper()
	sizes := map[string][]uint64{"token_embd": {hidden, vocabulary}, "output": {hidden, vocabulary},
		"output_norm": {hidden}}
	for _, block := range []string{"blk.0.", "blk.1."} {
		for name, size := range map[string][]uint64{
			"attn_norm": {hidden}, "attn_q": {hidden, heads * headSize}, "attn_k": {hidden, headsKV * headSize},
			"attn_v":      {hidden, headsKV * headSize},
			"attn_output": {heads * headSize, hidden}, "ffn_gate": {hidden, feedForward}, "ffn_up": {hidden, feedForward},
			"ffn_down": {feedForward, hidden},
		} {
			sizes[block+name] = size
		}
	}
	var tensors []gguf.Tensor
	for name, shape := range sizes {
		if slices.Contains(without, name) {
			continue
		}
		bytes := int64(4)
		for _, n := range shape {
			bytes *= int64(n)
		}
		tensors = append(tensors, gguf.Tensor{Name: name + ".weight", Shape: shape, Bytes: bytes,
			Write: func(w io.Writer) error {
				_, err := w.Write(make([]byte, bytes))
				return err
			}})
	}
	metadata := []gguf.Entry{
		{Key: "general.architecture", Value: architecture},
		{Key: architecture + ".attention.head_count", Value: uint32(heads)},
		{Key: architecture + ".attention.head_count_kv", Value: uint32(headsKV)},
	}
	path := filepath.Join(t.TempDir(), architecture+".gguf")
	if err := replace(path, func(w *bufio.Writer) error { return gguf.Write(w, metadata, tensors) }); err != nil {
		t.Fatal(err)
	}
	return path
}

// fixtures are the adapters of testdata with their architectures.
var fixtures = map[string]string{
	"llama": "llama", "llama-rslora": "llama", "llama-patterns": "llama", "llama-embeddings": "llama", "mistral": "llama",
	"qwen2": "qwen2", "qwen3": "qwen3", "gemma": "gemma", "gemma2": "gemma2", "gemma3": "gemma3",
}

// TestLlamaCppsConverterAgrees compares with what llama.cpp's converter made.
func TestLlamaCppsConverterAgrees(t *testing.T) {
	for name, architecture := range fixtures {
		dir := filepath.Join("testdata", name)
		got := readGGUF(t, converted(t, dir, baseOf(t, architecture)))
		want := readGGUF(t, filepath.Join(dir, "want.gguf"))
		for _, key := range []string{"general.architecture", "general.type", "adapter.type", "adapter.lora.alpha",
			"general.quantization_version"} {
			value := want.keys[key]
			if name == "llama-rslora" && key == "adapter.lora.alpha" {
				value = float32(6 * math.Sqrt2) // which the converter gets wrong: it ignores use_rslora
			}
			if value == nil || got.keys[key] != value {
				t.Errorf("%s: %s is %v, want %v", name, key, got.keys[key], value)
			}
		}
		if name == "llama-patterns" {
			// The converter ignores the patterns: all but the scales must agree.
			unfold(t, got, want)
		}
		compare(t, name, got, want)
	}
}

// unfold checks that the scaled tensors are those of want times a factor, and
// takes the factor away.
func unfold(t *testing.T, got, want adapter) {
	t.Helper()
	for name, factor := range map[string]float64{
		"blk.0.ffn_up.weight.lora_b": 3.0 / 6, "blk.0.attn_v.weight.lora_b": 32.0 / 6, "blk.1.attn_v.weight.lora_b": 32.0 / 6,
	} {
		g, w := got.tensors[name].floats(t), want.tensors[name].floats(t)
		for i := range w {
			if g[i] != float64(float32(w[i]*factor)) {
				t.Errorf("%s: element %d is %v, want %v times %v", name, i, g[i], factor, w[i])
			}
		}
		got.tensors[name] = want.tensors[name]
	}
}

// delta returns what llama.cpp adds to a matrix, row by row.
func (a adapter) delta(t *testing.T, name string) []float64 {
	t.Helper()
	x, y := a.tensors[name+".lora_a"], a.tensors[name+".lora_b"]
	if x.shape[1] != y.shape[0] {
		t.Fatalf("%s: shapes %v and %v", name, x.shape, y.shape)
	}
	rank, in, out := int(x.shape[1]), int(x.shape[0]), int(y.shape[1])
	av, bv := x.floats(t), y.floats(t)
	d := make([]float64, in*out)
	for o := range out {
		for i := range in {
			for r := range rank {
				d[o*in+i] += bv[o*rank+r] * av[r*in+i] * float64(a.alpha) / float64(rank)
			}
		}
	}
	return d
}

// TestEffectIsPEFTs computes what PEFT adds to each matrix from its definition,
// for scales that llama.cpp's converter does not know.
func TestEffectIsPEFTs(t *testing.T) {
	scales := map[string]func(module string) float64{
		"llama-rslora": func(string) float64 { return 6 / math.Sqrt2 },
		"llama-patterns": func(module string) float64 {
			switch {
			case module == "model.layers.0.mlp.up_proj":
				return 3.0 / 2
			case strings.HasSuffix(module, "v_proj"):
				return 32.0 / 2
			case strings.HasSuffix(module, "down_proj"):
				return 6.0 / 4
			case module == "model.layers.1.self_attn.q_proj":
				return 6.0
			}
			return 6.0 / 2
		},
	}
	for name, scale := range scales {
		got := readGGUF(t, converted(t, filepath.Join("testdata", name), baseOf(t, "llama")))
		file, pairs := openPairs(t, name)
		for _, l := range pairs {
			target, _, _ := locate(l.module)
			a, b := decode(t, file, l.a), decode(t, file, l.b)
			in, out, rank := int(l.a.shape[1]), int(l.b.shape[0]), int(l.a.shape[0])
			d := got.delta(t, target+".weight")
			for o := range out {
				row := o
				if strings.HasSuffix(target, "attn_q") || strings.HasSuffix(target, "attn_k") {
					// Row p*2+i of the rows of a head's halves becomes row 2*i+p.
					p, i := o%headSize/(headSize/2), o%(headSize/2)
					row = o/headSize*headSize + 2*i + p
				}
				for i := range in {
					var want float64
					for r := range rank {
						want += b[o*rank+r] * a[r*in+i] * scale(l.module)
					}
					if diff := math.Abs(d[row*in+i] - want); diff > 1e-5 {
						t.Fatalf("%s: %s[%d,%d] changes by %v, want %v", name, l.module, o, i, d[row*in+i], want)
					}
				}
			}
		}
	}
}

// openPairs returns a fixture's weights.
func openPairs(t *testing.T, name string) (*bytes.Reader, []*lora) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", name, weightsFile))
	if err != nil {
		t.Fatal(err)
	}
	file := bytes.NewReader(content)
	tensors, err := readHeader(file, int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	pairs, err := pair(tensors)
	if err != nil || len(pairs) != 14 {
		t.Fatalf("%d pairs, %v", len(pairs), err)
	}
	return file, pairs
}

func decode(t *testing.T, r io.ReaderAt, s *stored) []float64 {
	t.Helper()
	data := make([]byte, s.bytes)
	if _, err := r.ReadAt(data, s.offset); err != nil {
		t.Fatal(err)
	}
	return values{kind: map[dtype]parserType{f32: parserF32, f16: parserF16}[s.kind], data: data}.floats(t)
}
