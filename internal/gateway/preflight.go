package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/loragate/loragate/internal/config"
	"github.com/loragate/loragate/internal/gguf"
	"github.com/loragate/loragate/internal/worker"
)

// preflight looks for what would keep a gateway from serving, as far as that shows without
// the state, the ports and a worker: what a flag of workers.args does only llama-server
// knows. It returns what it found: llama-server, and the certificates, nil for none.
func preflight(ctx context.Context, cfg *config.Config, log *slog.Logger) (program worker.Program, c *certificates,
	err error) {
	if program, err = findProgram(ctx, cfg); err != nil {
		return program, nil, err
	}
	if _, err = chooseKV(cfg.Workers.KV, program); err != nil {
		return program, nil, err
	}
	if c, err = newCertificates(cfg.TLS, log); err != nil {
		return program, nil, err
	}
	return program, c, checkFiles(cfg)
}

// checkFiles looks at the models' files and the adapters' directory.
func checkFiles(cfg *config.Config) error {
	if _, err := gguf.ReadBase(cfg.Model.Path); err != nil {
		return fmt.Errorf("base model: %w", err)
	}
	for _, e := range cfg.Embedders {
		if _, err := gguf.ReadBase(e.Path); err != nil {
			return fmt.Errorf("embedder %s: %w", e.Name, err)
		}
	}
	if cfg.Adapters.Dir == "" {
		return nil
	}
	if _, err := os.ReadDir(cfg.Adapters.Dir); err != nil {
		return fmt.Errorf("adapters.dir: %w", err)
	}
	return nil
}
