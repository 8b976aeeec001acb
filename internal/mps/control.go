package mps

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// askTimeout bounds one question to a control daemon.
const askTimeout = 5 * time.Second

// aliveQuestion is a command that a daemon always answers with something.
const aliveQuestion = "get_default_active_thread_percentage"

// ask hands a command to the daemon that has the pipe directory, through the control
// program, and returns the answer. It blocks until that is there, or ctx ends.
func ask(ctx context.Context, program string, environ []string, pipe, command string) (string, error) {
	cmd := exec.CommandContext(ctx, program)
	cmd.Env = append(without(environ, pipeVariable), pipeVariable+"="+pipe)
	cmd.Stdin = strings.NewReader(command + "\n")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return "", fmt.Errorf("%s: %w: %s", command, err, strings.TrimSpace(out.String()+errOut.String()))
	}
	return strings.TrimSpace(out.String()), nil
}

// answers reports whether a daemon has the pipe directory and answers.
func answers(ctx context.Context, program string, environ []string, pipe string) bool {
	if _, err := os.Stat(filepath.Join(pipe, "control")); err != nil {
		return false // saves a process; a socket without a daemon is left to the program
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	text, err := ask(ctx, program, environ, pipe, aliveQuestion)
	return err == nil && text != ""
}

const (
	pipeVariable    = "CUDA_MPS_PIPE_DIRECTORY"
	logsVariable    = "CUDA_MPS_LOG_DIRECTORY"
	visibleVariable = "CUDA_VISIBLE_DEVICES"
)

// without returns an environment less some variables.
func without(environ []string, names ...string) []string {
	var list []string
next:
	for _, kv := range environ {
		for _, name := range names {
			if strings.HasPrefix(kv, name+"=") {
				continue next
			}
		}
		list = append(list, kv)
	}
	return list
}

// value returns a variable of an environment, where the last of several counts.
func value(environ []string, name string) string {
	found := ""
	for _, kv := range environ {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			found = v
		}
	}
	return found
}
