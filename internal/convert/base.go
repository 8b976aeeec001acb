package convert

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	parser "github.com/gpustack/gguf-parser-go"
)

// architectures are those whose layers have one tensor for each of PEFT's
// modules, under the same names.
var architectures = []string{"llama", "qwen2", "qwen3", "gemma", "gemma2", "gemma3"}

// base is what the adapter has to fit.
type base struct {
	architecture string
	// Rotary embedding turns pairs of rows of a head. Hugging Face pairs row i with
	// row i + half, llama.cpp's llama architecture 2i with 2i + 1, so the rows of
	// its q and k are stored in another order. 0 where the order is the same.
	heads, headsKV uint64
	tensors        map[string]matrix
}

// matrix is the size of a base's tensor.
type matrix struct{ in, out uint64 }

func readBase(path string) (b *base, err error) {
	name := filepath.Base(path)
	// The library panics on some inconsistent headers.
	defer func() {
		if p := recover(); p != nil {
			b, err = nil, fmt.Errorf("base model %s: not a readable GGUF file: %v", name, p)
		}
	}()
	file, err := parser.ParseGGUFFile(path, parser.SkipLargeMetadata())
	if err != nil {
		return nil, fmt.Errorf("base model %s: %w", name, err)
	}
	b = &base{tensors: make(map[string]matrix, len(file.TensorInfos))}
	kv, found := file.Header.MetadataKV.Get("general.architecture")
	if b.architecture, _ = kv.Value.(string); !found || b.architecture == "" {
		return nil, fmt.Errorf("base model %s: no general.architecture", name)
	}
	if !slices.Contains(architectures, b.architecture) {
		return nil, unsupported("architecture", "base model %s: PEFT adapters for the architecture %q cannot be converted, supported are %s",
			name, b.architecture, strings.Join(architectures, ", "))
	}
	if b.architecture == "llama" {
		if b.heads, err = count(file, "llama.attention.head_count", 0); err != nil {
			return nil, fmt.Errorf("base model %s: %w", name, err)
		}
		if b.headsKV, err = count(file, "llama.attention.head_count_kv", b.heads); err != nil {
			return nil, fmt.Errorf("base model %s: %w", name, err)
		}
	}
	for _, t := range file.TensorInfos {
		if len(t.Dimensions) == 2 {
			b.tensors[t.Name] = matrix{in: t.Dimensions[0], out: t.Dimensions[1]}
		}
	}
	return b, nil
}

// count reads a positive number of the metadata; otherwise is what its absence
// means, unless that is 0.
func count(file *parser.GGUFFile, key string, otherwise uint64) (uint64, error) {
	kv, found := file.Header.MetadataKV.Get(key)
	if !found && otherwise > 0 {
		return otherwise, nil
	}
	var n uint64
	switch v := kv.Value.(type) {
	case uint8:
		n = uint64(v)
	case uint16:
		n = uint64(v)
	case uint32:
		n = uint64(v)
	case uint64:
		n = v
	case int32:
		n = uint64(max(v, 0))
	case int64:
		n = uint64(max(v, 0))
	}
	if n == 0 || n > 1<<20 {
		return 0, fmt.Errorf("%s is not one positive number", key)
	}
	return n, nil
}
