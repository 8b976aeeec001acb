package cli

import (
	"errors"
	"os"
	"os/exec"

	"github.com/spf13/cobra"

	llamaserver "github.com/loragate/loragate/deploy/llama-server"
	"github.com/loragate/loragate/internal/config"
)

func installLlamaCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "install-llama",
		Short: "Install llama-server for this user, without root",
		Long: "Leave a llama-server where `gateway serve` finds it from every folder: that on PATH if\n" +
			"it is recent enough, else one unpacked from Debian's packages. What is there already\n" +
			"is kept, and an interrupted run goes on where it stopped.",
		Args: cobra.NoArgs,
	}
	gpu := cmd.Flags().String("gpu", "none", "the `backend` beside that for the CPU: none or vulkan")
	dir := cmd.Flags().String("dir", config.UserLlama(), "the `folder` to install into")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *gpu != "none" && *gpu != "vulkan" {
			return errors.New("--gpu must be none or vulkan")
		}
		if *dir == "" {
			return errors.New("this user has no home: name a folder with --dir")
		}
		script, err := os.CreateTemp("", "install-llama-*.sh")
		if err != nil {
			return err
		}
		defer os.Remove(script.Name())
		_, err = script.WriteString(llamaserver.Install)
		if err := errors.Join(err, script.Close()); err != nil {
			return err
		}
		install := exec.CommandContext(cmd.Context(), "sh", script.Name())
		install.Env = append(os.Environ(), "LLAMA_DIR="+*dir, "GPU="+*gpu)
		install.Stdout, install.Stderr = cmd.OutOrStdout(), cmd.ErrOrStderr()
		return install.Run()
	}
	return cmd
}
