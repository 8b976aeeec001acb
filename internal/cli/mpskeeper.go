package cli

import (
	"github.com/spf13/cobra"

	"github.com/loragate/loragate/internal/gateway"
	"github.com/loragate/loragate/internal/mps"
)

// mpsKeeperCommand is the process that has the control daemon of CUDA's multi-process
// service for all gateways of a user: serve starts it where it is needed, and it ends
// with the last that uses it.
func mpsKeeperCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:    gateway.KeeperCommand,
		Short:  "Keep a control daemon of CUDA's multi-process service (started by serve)",
		Hidden: true,
		Args:   cobra.NoArgs,
	}
	dir := cmd.Flags().String("dir", "", "the keeper's `directory`")
	control := cmd.Flags().String("control", mps.Program, "the control `program`")
	_ = cmd.MarkFlagRequired("dir")
	cmd.RunE = func(*cobra.Command, []string) error {
		return mps.Keep(mps.KeepOptions{Dir: *dir, Control: *control})
	}
	return cmd
}
