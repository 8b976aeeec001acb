package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/loragate/loragate/internal/catalog"
	"github.com/loragate/loragate/internal/config"
)

func checkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Validate the configuration; exit with 0 if it can be served, else 1",
		Args:  cobra.NoArgs,
	}
	file := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.Load(*file)
		if err != nil {
			return err
		}
		for _, warning := range cfg.Warnings {
			fmt.Fprintf(cmd.ErrOrStderr(), "warning: %s\n", warning)
		}
		program, _, err := preflight(cmd.Context(), cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			return err
		}
		adapters, err := checkAdapters(cmd.Context(), cfg)
		if err != nil {
			return fmt.Errorf("%s: %w", *file, err)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s is valid: %d adapters of %s, %s of %s (build %d)\n",
			*file, adapters, cfg.Model.Name, workersText(cfg.Workers.Count), program.Path, program.Build)
		return nil
	}
	return cmd
}

func workersText(count config.AutoInt) string {
	if count == config.Auto {
		return "as many workers as fit"
	}
	return fmt.Sprintf("%d workers", int(count))
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
	local.Adapters.List = slices.DeleteFunc(slices.Clone(cfg.Adapters.List), func(a config.Adapter) bool { return a.Path == "" })
	g := &gateway{cfg: &local, log: slog.New(slog.DiscardHandler)}
	defer g.close()
	if err := g.openCatalog(ctx); err != nil {
		return 0, err
	}
	remote := len(cfg.Adapters.List) - len(local.Adapters.List)
	var problems []error
	for _, r := range g.models.List() {
		needsRemote := r.Kind == catalog.KindComposition && remote > 0
		if r.State != catalog.Ready && !needsRemote {
			problems = append(problems, fmt.Errorf("adapter %q: %s", r.Name, r.Reason))
		}
		if r.Kind == catalog.KindAdapter {
			n++
		}
	}
	return n + remote, errors.Join(problems...)
}
