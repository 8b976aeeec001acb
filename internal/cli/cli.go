// Package cli is the command line: what each command is called, what its flags are, and
// what it prints.
package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/loragate/loragate/internal/config"
	"github.com/loragate/loragate/internal/gateway"
)

// Command returns the command line of a program of that version. Errors go to the caller,
// who prints them.
func Command(version string, out, errOut io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:           "gateway",
		Short:         "Serve many LoRA adapters of one base model on llama-server",
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetOut(out)
	root.SetErr(errOut)
	root.AddCommand(serveCommand(version), checkCommand(), adaptersCommand(), workersCommand(), keysCommand(),
		usageCommand(),
		installLlamaCommand(), topCommand(), healthCommand(), mpsKeeperCommand())
	return root
}

// configFlag adds --config to a command.
func configFlag(cmd *cobra.Command) *string {
	return cmd.Flags().StringP("config", "c", "config.yaml", "the configuration `file`")
}

func serveCommand(version string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve a model with its adapters, or what is configured",
		Long: "Serve until SIGTERM or SIGINT. The first signal lets running requests end, up to\n" +
			"limits.drain; a second one stops at once.\n\n" +
			"With --model and no --config no file is read: everything has its default, and the\n" +
			"state is kept in the user's own folder.",
		Example: "  gateway serve --model llama-3b.gguf --adapters adapters/\n  gateway serve --config my.yaml",
		Args:    cobra.NoArgs,
	}
	source := sourceFlags(cmd)
	replace := cmd.Flags().Bool("replace", false,
		"take over from the gateway that serves from the same state.dir, if there is one")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		load, _, err := source.loader(cmd)
		if err != nil {
			return err
		}
		return gateway.Serve(cmd.Context(), gateway.Options{
			Load: load, Replace: *replace, Version: version, Log: cmd.ErrOrStderr(),
		})
	}
	return cmd
}

func checkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Validate the configuration; exit with 0 if it can be served, else 1",
		Args:  cobra.NoArgs,
	}
	source := sourceFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		load, named, err := source.loader(cmd)
		if err != nil {
			return err
		}
		cfg, err := load()
		if err != nil {
			return err
		}
		for _, warning := range cfg.Warnings {
			fmt.Fprintf(cmd.ErrOrStderr(), "warning: %s\n", warning)
		}
		adapters, program, err := gateway.Check(cmd.Context(), cfg)
		if err != nil {
			return fmt.Errorf("%s: %w", named, err)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s is valid: %d adapters of %s, %s of %s (build %d)\n",
			named, adapters, cfg.Model.Name, workersText(cfg.Workers.Count), program.Path, program.Build)
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
