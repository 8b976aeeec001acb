package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/loragate/loragate/internal/top"
)

func topCommand() *cobra.Command {
	opts := top.Options{Setting: "--admin"}
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Show live what a running gateway does",
		Long: "Show live what a running gateway does: its workers, what is applied on them, their\n" +
			"slots, the queue, tokens a second. It reads from the gateway's admin address.",
		Args: cobra.NoArgs,
	}
	adminFlag(cmd, &opts.URL)
	cmd.Flags().DurationVar(&opts.Interval, "interval", 0, "the time between two looks (default 1s)")
	cmd.Flags().BoolVar(&opts.Once, "once", false, "print one frame and end")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		opts.Out, opts.Token = cmd.OutOrStdout(), os.Getenv(tokenVariable)
		return top.Run(cmd.Context(), opts)
	}
	return cmd
}
