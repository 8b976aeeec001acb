package cli

import (
	"github.com/spf13/cobra"

	"github.com/loragate/loragate/internal/top"
)

func topCommand() *cobra.Command {
	var opts top.Options
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Show live what a running gateway does",
		Long: "Show live what a running gateway does: its workers, what is applied on them, their\n" +
			"slots, the queue, tokens a second.\n\n" + accessHelp,
		Args: cobra.NoArgs,
	}
	access := accessFlags(cmd)
	cmd.Flags().DurationVar(&opts.Interval, "interval", 0, "the time between two looks (default 1s)")
	cmd.Flags().BoolVar(&opts.Once, "once", false, "print one frame and end")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if opts.Token, err = access.token(); err != nil {
			return err
		}
		opts.URL, opts.Setting = access.where()
		if opts.Token == "" {
			opts.Token = FindToken(cmd.Context(), opts.URL)
		}
		opts.Out = cmd.OutOrStdout()
		return top.Run(cmd.Context(), opts)
	}
	return cmd
}
