package randgguf

import (
	"fmt"
	"math"
)

func (s Shape) architecture() string {
	if s.Window > 0 {
		return "gemma3"
	}
	return "llama"
}

// baseMetadata returns what a model's file says of it.
func baseMetadata(s Shape) []entry {
	of := func(key string) string { return s.architecture() + "." + key }
	head := uint32(s.Embedding / s.Heads)
	metadata := []entry{
		{"general.architecture", s.architecture()},
		{"general.type", "model"},
		{"general.name", "random " + s.Name},
		{"general.file_type", s.Quant.fileType},
		{"general.quantization_version", uint32(2)},
		{of("context_length"), uint32(s.Context)},
		{of("embedding_length"), uint32(s.Embedding)},
		{of("block_count"), uint32(s.Layers)},
		{of("feed_forward_length"), uint32(s.FeedForward)},
		{of("attention.head_count"), uint32(s.Heads)},
		{of("attention.head_count_kv"), uint32(s.KVHeads)},
		{of("attention.layer_norm_rms_epsilon"), float32(1e-5)},
		{of("rope.dimension_count"), head},
		{of("rope.freq_base"), float32(s.RopeBase)},
		{of("vocab_size"), uint32(s.Vocab)},
	}
	if s.Window > 0 {
		metadata = append(metadata,
			entry{of("attention.sliding_window"), uint32(s.Window)},
			entry{of("attention.key_length"), head},
			entry{of("attention.value_length"), head})
	}
	return append(metadata, vocabulary(s.Vocab)...)
}

// baseTensors returns a model's weights.
func baseTensors(s Shape) []tensor {
	norm := func(name string, size int) tensor { return tensor{name: name + ".weight", quant: ones, cols: size} }
	embedding := 1.0
	if s.Window > 0 {
		// gemma3 multiplies by this. Without it the layers would add next to
		// nothing to the embeddings, and adapters change nothing.
		embedding = 1 / math.Sqrt(float64(s.Embedding))
	}
	tensors := []tensor{
		{name: "token_embd.weight", quant: s.Quant, cols: s.Embedding, rows: s.Vocab, spread: embedding},
		norm("output_norm", s.Embedding),
		{name: "output.weight", quant: s.Quant, cols: s.Embedding, rows: s.Vocab, zeros: firstWord,
			spread: logitSpread * perInput(s.Embedding)},
	}
	for layer := range s.Layers {
		block := fmt.Sprintf("blk.%d.", layer)
		tensors = append(tensors, norm(block+"attn_norm", s.Embedding), norm(block+"ffn_norm", s.Embedding))
		if s.Window > 0 {
			tensors = append(tensors,
				norm(block+"post_attention_norm", s.Embedding), norm(block+"post_ffw_norm", s.Embedding),
				norm(block+"attn_q_norm", s.Embedding/s.Heads), norm(block+"attn_k_norm", s.Embedding/s.Heads))
		}
		for _, m := range Modules {
			in, out := s.size(m)
			tensors = append(tensors, tensor{name: block + m + ".weight", quant: s.Quant, cols: in, rows: out,
				spread: perInput(in)})
		}
	}
	return tensors
}
