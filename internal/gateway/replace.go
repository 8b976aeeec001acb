package gateway

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// followReplace replaces this gateway by its program as it is then at each SIGUSR2, until
// ctx ends.
func (g *gateway) followReplace(ctx context.Context) {
	for {
		select {
		case <-g.replaces:
			g.replaceSelf()
		case <-ctx.Done():
			return
		}
	}
}

// replaceSelf starts the program again, as it is on the disk now, to take over.
func (g *gateway) replaceSelf() {
	if os.Getpid() == 1 {
		g.log.Error("the first process of a container cannot be replaced: the container would end with it")
		return
	}
	program, err := exec.LookPath(os.Args[0])
	if err != nil {
		g.log.Error("this gateway cannot be replaced", "error", err)
		return
	}
	args := slices.DeleteFunc(slices.Clone(os.Args[1:]), func(arg string) bool { return arg == replaceFlag })
	cmd := exec.Command(program, append(args, replaceFlag)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	// The watchdog's time is another process's then.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "WATCHDOG_PID=") })
	if err := cmd.Start(); err != nil {
		g.log.Error("the gateway that was to take over could not be started", "error", err)
		return
	}
	g.log.Info("started a gateway that is to take over", "pid", cmd.Process.Pid)
	go func() {
		if err := cmd.Wait(); err != nil {
			g.log.Error("the gateway that was to take over ended", "error", err)
		}
	}()
}

// replaceFlag is the flag of serve that has it take over.
const replaceFlag = "--replace"
