package gateway

import (
	"github.com/loragate/loragate/internal/config"
	"github.com/loragate/loragate/internal/gguf"
	"github.com/loragate/loragate/internal/hostmem"
	"github.com/loragate/loragate/internal/proxy/bounds"
)

const (
	// bodiesShare is the part of the memory that bodies may take by default: one in so
	// many.
	bodiesShare = 4
	// someMemory is what a machine is taken to have that does not tell.
	someMemory = 4 << 30
)

// bodyMemory returns how many bytes the bodies of requests may take together, on a
// machine whose files are under root. It is never less than one of the largest takes.
func bodyMemory(cfg *config.Config, root string) int64 {
	if cfg.Limits.Memory > 0 {
		return cfg.Limits.Memory
	}
	total := int64(someMemory)
	if machine, err := hostmem.Read(root); err == nil {
		total = machine.Total
	}
	return max(total/bodiesShare, config.MemoryFactor*cfg.Limits.Body)
}

// vocabulary is what prompts that cannot fit are known by, and tokens that are none. As far
// as the model's file does not tell, they are the workers' to refuse.
func (g *gateway) vocabulary(model string) bounds.Vocabulary {
	v, err := gguf.ReadVocabulary(model)
	if err != nil {
		g.log.Debug("a model's vocabulary cannot be read", "model", model, "error", err)
	}
	return bounds.Vocabulary(v)
}
