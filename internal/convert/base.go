package convert

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/loragate/loragate/internal/gguf"
)

// architectures are those whose layers have one tensor for each of PEFT's
// modules, under the same names.
var architectures = []string{"llama", "qwen2", "qwen3", "gemma", "gemma2", "gemma3"}

// base is what the adapter has to fit.
type base struct {
	*gguf.Base
	// Rotary embedding turns pairs of rows of a head. Hugging Face pairs row i with
	// row i + half, llama.cpp's llama architecture 2i with 2i + 1, so the rows of
	// its q and k are stored in another order. 0 where the order is the same.
	heads, headsKV uint64
}

func readBase(path string) (*base, error) {
	model, err := gguf.ReadBase(path)
	if err != nil {
		return nil, err
	}
	name, b := filepath.Base(path), &base{Base: model}
	if !slices.Contains(architectures, b.Architecture()) {
		return nil, unsupported("architecture", "base model %s: PEFT adapters for the architecture %q cannot be converted, "+
			"supported are %s",
			name, b.Architecture(), strings.Join(architectures, ", "))
	}
	if b.Architecture() != "llama" {
		return b, nil
	}
	if b.heads, err = b.count("llama.attention.head_count", 0); err != nil {
		return nil, fmt.Errorf("base model %s: %w", name, err)
	}
	if b.headsKV, err = b.count("llama.attention.head_count_kv", b.heads); err != nil {
		return nil, fmt.Errorf("base model %s: %w", name, err)
	}
	return b, nil
}

// maxHeads is more heads than any model has.
const maxHeads = 1 << 20

// count reads a number of heads; otherwise is what its absence means, unless that is 0.
func (b *base) count(key string, otherwise uint64) (uint64, error) {
	n, found := b.Number(key)
	switch {
	case !found && otherwise > 0:
		return otherwise, nil
	case n == 0 || n > maxHeads:
		return 0, fmt.Errorf("%s is not one positive number", key)
	}
	return n, nil
}
