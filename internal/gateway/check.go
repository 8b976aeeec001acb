package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"

	"github.com/loragate/loragate/internal/config"
	"github.com/loragate/loragate/internal/lora"
	"github.com/loragate/loragate/internal/worker"
)

// Check looks at all that Serve would need, but starts nothing and downloads nothing. It
// returns how many adapters there are, and the llama-server; all that is wrong with
// adapters is in the error.
func Check(ctx context.Context, cfg *config.Config) (adapters int, program worker.Program, err error) {
	if program, _, err = preflight(ctx, cfg, slog.New(slog.DiscardHandler)); err != nil {
		return 0, program, err
	}
	adapters, err = checkAdapters(ctx, cfg)
	return adapters, program, err
}

// checkAdapters looks at every adapter as serve would, but downloads none, and
// returns how many there are. All that are rejected are in the error.
func checkAdapters(ctx context.Context, cfg *config.Config) (n int, err error) {
	dir, err := os.MkdirTemp("", "loragate-check-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	local := *cfg
	local.State.Dir = dir
	local.Adapters.List = slices.DeleteFunc(slices.Clone(cfg.Adapters.List),
		func(a config.Adapter) bool { return a.Path == "" })
	g := &gateway{cfg: &local, log: slog.New(slog.DiscardHandler)}
	defer g.close()
	if err := g.openCatalog(ctx); err != nil {
		return 0, err
	}
	remote := len(cfg.Adapters.List) - len(local.Adapters.List)
	var problems []error
	for _, r := range g.models.List() {
		needsRemote := r.Kind == lora.KindComposition && remote > 0
		if r.State != lora.Ready && !needsRemote {
			problems = append(problems, fmt.Errorf("adapter %q: %s", r.Name, r.Reason))
		}
		if r.Kind == lora.KindAdapter {
			n++
		}
	}
	return n + remote, errors.Join(problems...)
}
