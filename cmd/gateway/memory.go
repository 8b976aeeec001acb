package main

import (
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/loragate/loragate/internal/config"
	"github.com/loragate/loragate/internal/gguf"
	"github.com/loragate/loragate/internal/proxy"
)

const (
	// bodiesShare is the part of the memory that bodies may take by default: one in so
	// many.
	bodiesShare = 4
	// someMemory is what a machine is taken to have that does not tell.
	someMemory = 4 << 30
)

// bodyMemory returns how many bytes the bodies of requests may take together. It is
// never less than one of the largest takes.
func bodyMemory(cfg *config.Config, root string) int64 {
	if cfg.Limits.Memory > 0 {
		return cfg.Limits.Memory
	}
	return max(memory(root)/bodiesShare, config.MemoryFactor*cfg.Limits.Body)
}

// memory returns how many bytes the machine has, or the control group of this process
// allows, as the files under root tell.
func memory(root string) int64 {
	least := int64(math.MaxInt64)
	if text, err := os.ReadFile(filepath.Join(root, "proc/meminfo")); err == nil {
		for line := range strings.Lines(string(text)) {
			if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "MemTotal:" {
				kib, _ := strconv.ParseInt(fields[1], 10, 64)
				least = kib << 10
			}
		}
	}
	groups, _ := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	for line := range strings.Lines(string(groups)) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, path, _ := strings.Cut(rest, ":")
		base, file := "sys/fs/cgroup", "memory.max"
		if strings.Contains(controllers, "memory") {
			base, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		} else if controllers != "" {
			continue
		}
		for dir := filepath.Clean("/" + path); ; dir = filepath.Dir(dir) { // each above bounds it, too
			text, _ := os.ReadFile(filepath.Join(root, base, dir, file))
			if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 {
				least = min(least, n)
			}
			if dir == "/" {
				break
			}
		}
	}
	if least <= 0 || least == math.MaxInt64 {
		return someMemory
	}
	return least
}

// vocabulary is what prompts that cannot fit are known by, and tokens that are none. As far
// as the model's file does not tell, they are the workers' to refuse.
func (g *gateway) vocabulary(model string) proxy.Vocabulary {
	v, err := gguf.ReadVocabulary(model)
	if err != nil {
		g.log.Debug("a model's vocabulary cannot be read", "model", model, "error", err)
	}
	return proxy.Vocabulary(v)
}
