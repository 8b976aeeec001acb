package main

import (
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
	cmd.Flags().StringVar(&opts.URL, "admin", "http://127.0.0.1:8081", "the gateway's admin `address`, admin.listen in its configuration")
	cmd.Flags().DurationVar(&opts.Interval, "interval", 0, "the time between two looks (default 1s)")
	cmd.Flags().BoolVar(&opts.Once, "once", false, "print one frame and end")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		opts.Out = cmd.OutOrStdout()
		return top.Run(cmd.Context(), opts)
	}
	return cmd
}
