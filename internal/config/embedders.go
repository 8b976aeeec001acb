package config

import "math"

// Kinds of embedders.
const (
	Embedding = "embedding"
	Reranking = "reranking"
)

// Embedder is a model for embeddings or for reranking.
type Embedder struct {
	// Name is what clients call it, in one space with the other models. Required.
	Name string `mapstructure:"name"`
	// Path is its GGUF file, absolute. Required.
	Path string `mapstructure:"path"`
	// Kind is embedding or reranking. Default embedding.
	Kind string `mapstructure:"kind"`
	// Slots is how many inputs are computed at once, 1 to 256. Default 4.
	Slots int `mapstructure:"slots"`
	// Context is the longest input in tokens, at least 64. Default 512.
	Context int `mapstructure:"context"`
	// Args are handed to llama-server as they are, such as ["-ngl", "99"]. Flags that
	// the gateway owns are refused. Default none.
	Args []string `mapstructure:"args"`
}

// embedderDefaults are what an entry has where it says nothing.
var embedderDefaults = map[string]any{"kind": Embedding, "slots": 4, "context": 512}

func (k *checker) embedders(list []Embedder) {
	for i := range list {
		e, at := &list[i], index("embedders", i)
		k.name(at+".name", e.Name, "the name that clients call the embedder")
		k.gguf(at+".path", &e.Path, "the embedder's GGUF file")
		if e.Kind != Embedding && e.Kind != Reranking {
			k.add(at+".kind", "must be embedding or reranking")
		}
		k.between(at+".slots", e.Slots, 1, 256)
		k.between(at+".context", e.Context, 64, math.MaxInt32/256)
		k.flags(at+".args", e.Args)
	}
}
