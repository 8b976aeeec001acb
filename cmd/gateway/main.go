// Command gateway serves many LoRA adapters of one base model, over OpenAI's
// API, from a pool of llama-server processes.
package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

// version is set by the linker.
var version = "dev"

func main() {
	if err := command(os.Stdout, os.Stderr).ExecuteContext(context.Background()); err != nil {
		fmt.Fprintf(os.Stderr, "gateway: %v\n", err)
		os.Exit(1)
	}
}

// command returns the command line. Errors go to the caller, who prints them.
func command(out, errOut io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:           "gateway",
		Short:         "Serve many LoRA adapters of one base model on llama-server",
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetOut(out)
	root.SetErr(errOut)
	root.AddCommand(serveCommand(), checkCommand(), adaptersCommand(), workersCommand(), keysCommand(), usageCommand(), topCommand(), healthCommand(), simulateCommand(), mpsKeeperCommand())
	return root
}

// configFlag adds --config to a command.
func configFlag(cmd *cobra.Command) *string {
	return cmd.Flags().StringP("config", "c", "config.yaml", "the configuration `file`")
}
