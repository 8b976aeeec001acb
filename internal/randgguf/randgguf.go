// Package randgguf writes models and LoRA adapters of random weights, of any
// size, for benchmarks and tests of scale. What they answer has no meaning, but
// they cost what real ones cost, their answers are repeatable and different
// adapters answer differently.
//
// The output weights leave all tokens but the filler words of the vocabulary at
// a logit of 0, far below the likeliest ones. So an answer is a row of words,
// valid UTF-8, each one token, and goes on until the limit of tokens, with or
// without ignore_eos.
package randgguf

import (
	"fmt"
	"math"
	"strings"
)

// Shape is the size of a model. Counts are of elements, layers, heads or tokens.
type Shape struct {
	Name string
	// Window makes it a model of gemma3's architecture, most layers of which see
	// only so many tokens back: every sixth sees all. With 0 it is of llama's.
	Window            int
	Layers, Embedding int
	Heads, KVHeads    int // the head's size is Embedding/Heads
	FeedForward       int
	Context           int // trained length, in tokens
	Vocab             int
	RopeBase          float64
	Quant             Quant // of all weights but the norms
}

// Tiny is a model of about 4 MB that a CPU runs in no time.
var Tiny = Shape{
	Name: "tiny", Layers: 4, Embedding: 256, Heads: 8, KVHeads: 4, FeedForward: 768,
	Context: 4096, Vocab: 1024, RopeBase: 10000, Quant: Q8_0,
}

// ThreeB has the layers of Llama 3.2 3B, and weighs 1.7 GB. Its vocabulary is
// 32000 instead of 128256, because each request computes and sorts a logit for
// every token on top of what is measured; its output weights are its own, not
// the embedding's, so that the file is almost as large as a real one (1.9 GB).
var ThreeB = Shape{
	Name: "3b", Layers: 28, Embedding: 3072, Heads: 24, KVHeads: 8, FeedForward: 8192,
	Context: 131072, Vocab: 32000, RopeBase: 500000, Quant: Q4_0,
}

// EightB has the layers of Llama 3.1 8B, and weighs 4.1 GB. Of its vocabulary
// holds what ThreeB's comment says.
var EightB = Shape{
	Name: "8b", Layers: 32, Embedding: 4096, Heads: 32, KVHeads: 8, FeedForward: 14336,
	Context: 131072, Vocab: 32000, RopeBase: 500000, Quant: Q4_0,
}

// GemmaTiny is a model of about 4 MB with a sliding window, so that llama-server
// makes context checkpoints: five layers see 64 tokens, one sees all.
var GemmaTiny = Shape{
	Name: "gemma-tiny", Window: 64, Layers: 6, Embedding: 256, Heads: 8, KVHeads: 4, FeedForward: 512,
	Context: 4096, Vocab: 1024, RopeBase: 1000000, Quant: Q8_0,
}

// Shapes are the presets.
var Shapes = []Shape{Tiny, ThreeB, EightB, GemmaTiny}

// Preset returns the preset of a name, or an error that lists them.
func Preset(name string) (Shape, error) {
	var names []string
	for _, s := range Shapes {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return Shape{}, fmt.Errorf("no shape is called %q; there are %s", name, strings.Join(names, ", "))
}

// Usual returns the rank and the modules of the adapters with which a shape is
// measured: what PEFT makes if it is not told otherwise, of EightB what is usual
// for adapters that are trained thoroughly.
func (s Shape) Usual() (rank int, modules []string) {
	if s.Name == EightB.Name {
		return 16, Modules
	}
	return 8, QueryValue
}

// QueryValue are the modules that PEFT changes in a llama model if it is not told
// otherwise.
var QueryValue = []string{"attn_q", "attn_v"}

// Attention are all modules of the attention.
var Attention = []string{"attn_q", "attn_k", "attn_v", "attn_output"}

// Modules are all modules that an adapter can change.
var Modules = append(append([]string(nil), Attention...), "ffn_gate", "ffn_up", "ffn_down")

const (
	// logitSpread is the standard deviation of the words' logits: the likeliest
	// word leads by about as much as in a real model.
	logitSpread = 4
	// adapterGain is how strong an adapter is against the base at alpha = rank.
	// At the usual alpha = 2*rank it moves activations by half of their size.
	adapterGain = 0.25
)

func (s Shape) check() error {
	for _, n := range []int{s.Layers, s.Embedding, s.Heads, s.KVHeads, s.FeedForward, s.Context} {
		if n <= 0 {
			return fmt.Errorf("shape %q: every size must be positive", s.Name)
		}
	}
	switch {
	case s.Quant.fill == nil:
		return fmt.Errorf("shape %q: no quantisation", s.Name)
	case s.Embedding%s.Heads != 0 || s.Heads%s.KVHeads != 0:
		return fmt.Errorf("shape %q: %d embedding, %d heads and %d KV heads do not divide", s.Name, s.Embedding, s.Heads,
			s.KVHeads)
	case s.Embedding%32 != 0 || s.FeedForward%32 != 0:
		return fmt.Errorf("shape %q: rows must be multiples of 32 to be quantised", s.Name)
	case s.Vocab < minVocab:
		return fmt.Errorf("shape %q: a vocabulary of %d is below %d", s.Name, s.Vocab, minVocab)
	case s.Window < 0:
		return fmt.Errorf("shape %q: a window of %d", s.Name, s.Window)
	case !(s.RopeBase > 0):
		return fmt.Errorf("shape %q: a RoPE base of %v", s.Name, s.RopeBase)
	}
	return nil
}

// size returns how many elements go into a module and come out of it.
func (s Shape) size(module string) (in, out int) {
	kv := s.Embedding / s.Heads * s.KVHeads
	switch module {
	case "attn_q", "attn_output":
		return s.Embedding, s.Embedding
	case "attn_k", "attn_v":
		return s.Embedding, kv
	case "ffn_gate", "ffn_up":
		return s.Embedding, s.FeedForward
	case "ffn_down":
		return s.FeedForward, s.Embedding
	default:
		return 0, 0
	}
}

// WriteBase writes a model to path, replacing what is there. The same shape and
// seed give the same bytes. It blocks for as long as the disk takes and needs
// a few megabytes of memory; a file that could not be finished is removed.
func WriteBase(path string, s Shape, seed uint64) error {
	if err := s.check(); err != nil {
		return err
	}
	return write(path, baseMetadata(s), baseTensors(s), seed)
}

// WriteAdapter writes a LoRA adapter for models of a shape to path, as WriteBase
// does, in F32, which is what llama.cpp's converter writes if it is not told
// otherwise. It changes all Modules, or only those that are given. Its
// strength against the base grows with alpha/rank.
func WriteAdapter(path string, s Shape, rank int, alpha float64, seed uint64, modules ...string) error {
	if err := s.check(); err != nil {
		return err
	}
	if rank <= 0 || !(alpha > 0) || math.IsInf(alpha, 0) {
		return fmt.Errorf("an adapter of rank %d with alpha %v: both must be positive", rank, alpha)
	}
	if len(modules) == 0 {
		modules = Modules
	}
	var tensors []tensor
	for layer := range s.Layers {
		for _, m := range modules {
			in, out := s.size(m)
			if in == 0 {
				return fmt.Errorf("an adapter of %q: the modules are %v", m, Modules)
			}
			name := fmt.Sprintf("blk.%d.%s.weight.lora_", layer, m)
			tensors = append(tensors,
				tensor{name: name + "a", quant: F32, cols: in, rows: rank, spread: perInput(in)},
				tensor{name: name + "b", quant: F32, cols: rank, rows: out, spread: adapterGain * perInput(rank)})
		}
	}
	return write(path, []entry{
		{"general.architecture", s.architecture()},
		{"general.type", "adapter"},
		{"adapter.type", "lora"},
		{"adapter.lora.alpha", float32(alpha)},
		{"general.name", fmt.Sprintf("random %s adapter %d", s.Name, seed)},
	}, tensors, seed)
}

// perInput is the spread of weights that keeps activations of size 1 at it.
func perInput(in int) float64 { return 1 / math.Sqrt(float64(in)) }
