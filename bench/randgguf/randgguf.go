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
)

// Shape is the size of a model of llama's architecture. Counts are of elements,
// layers, heads or tokens.
type Shape struct {
	Name              string
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

// Shapes are the presets.
var Shapes = []Shape{Tiny, ThreeB}

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
		return fmt.Errorf("shape %q: %d embedding, %d heads and %d KV heads do not divide", s.Name, s.Embedding, s.Heads, s.KVHeads)
	case s.Embedding%32 != 0 || s.FeedForward%32 != 0:
		return fmt.Errorf("shape %q: rows must be multiples of 32 to be quantised", s.Name)
	case s.Vocab < minVocab:
		return fmt.Errorf("shape %q: a vocabulary of %d is below %d", s.Name, s.Vocab, minVocab)
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
		{"general.architecture", "llama"},
		{"general.type", "adapter"},
		{"adapter.type", "lora"},
		{"adapter.lora.alpha", float32(alpha)},
		{"general.name", fmt.Sprintf("random %s adapter %d", s.Name, seed)},
	}, tensors, seed)
}

// perInput is the spread of weights that keeps activations of size 1 at it.
func perInput(in int) float64 { return 1 / math.Sqrt(float64(in)) }

func baseMetadata(s Shape) []entry {
	return append([]entry{
		{"general.architecture", "llama"},
		{"general.type", "model"},
		{"general.name", "random " + s.Name},
		{"general.file_type", s.Quant.fileType},
		{"general.quantization_version", uint32(2)},
		{"llama.context_length", uint32(s.Context)},
		{"llama.embedding_length", uint32(s.Embedding)},
		{"llama.block_count", uint32(s.Layers)},
		{"llama.feed_forward_length", uint32(s.FeedForward)},
		{"llama.attention.head_count", uint32(s.Heads)},
		{"llama.attention.head_count_kv", uint32(s.KVHeads)},
		{"llama.attention.layer_norm_rms_epsilon", float32(1e-5)},
		{"llama.rope.dimension_count", uint32(s.Embedding / s.Heads)},
		{"llama.rope.freq_base", float32(s.RopeBase)},
		{"llama.vocab_size", uint32(s.Vocab)},
	}, vocabulary(s.Vocab)...)
}

func baseTensors(s Shape) []tensor {
	norm := func(name string) tensor {
		return tensor{name: name + ".weight", quant: ones, cols: s.Embedding}
	}
	tensors := []tensor{
		{name: "token_embd.weight", quant: s.Quant, cols: s.Embedding, rows: s.Vocab, spread: 1},
		norm("output_norm"),
		{name: "output.weight", quant: s.Quant, cols: s.Embedding, rows: s.Vocab, zeros: firstWord,
			spread: logitSpread * perInput(s.Embedding)},
	}
	for layer := range s.Layers {
		block := fmt.Sprintf("blk.%d.", layer)
		tensors = append(tensors, norm(block+"attn_norm"), norm(block+"ffn_norm"))
		for _, m := range Modules {
			in, out := s.size(m)
			tensors = append(tensors, tensor{name: block + m + ".weight", quant: s.Quant, cols: in, rows: out, spread: perInput(in)})
		}
	}
	return tensors
}
