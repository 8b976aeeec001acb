package main

import (
	"fmt"

	"github.com/spf13/cobra"

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
		command, err := cfg.ResolveCommand()
		if err != nil {
			return err
		}
		models, err := openCatalog(cfg)
		if err != nil {
			return fmt.Errorf("%s: %w", *file, err)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s is valid: %d adapters of %s, %d workers of %s\n",
			*file, len(models.Adapters()), cfg.Model.Name, cfg.Workers.Count, command)
		return nil
	}
	return cmd
}
