package gpu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/loragate/loragate/internal/childenv"
)

// listTimeout bounds one llama-server --list-devices. The first use of a machine's
// GPUs after boot takes seconds for each.
const listTimeout = time.Minute

// deviceLine is one device in llama-server's list, as common_print_available_devices
// of llama.cpp prints it.
var deviceLine = regexp.MustCompile(`^\s+(\S+): (.*) \((\d+) MiB, (\d+) MiB free\)\s*$`)

// errNoList is what an output without a list of devices is.
var errNoList = errors.New("llama-server printed no list of devices")

// list runs llama-server --list-devices. It blocks until that has ended, for a minute
// at most. On a GPU llama-server makes a context of its own meanwhile, which takes
// some hundred MiB that Free lacks then.
func list(ctx context.Context, command string, env []string) ([]Device, error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, command, "--list-devices")
	cmd.Env = env
	if cmd.Env == nil {
		cmd.Env = childenv.Of(os.Environ())
	}
	// The command may be a wrapper: what it started ends with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("%s --list-devices: %w%s", command, err, lastLine(errOut.String()))
	}
	return parse(out.String())
}

// lastLine returns the end of what a program wrote, for an error.
func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if last := strings.TrimSpace(lines[len(lines)-1]); last != "" {
		return ": " + last
	}
	return ""
}

// parse reads the list out of llama-server's output, whatever else is in it. An empty
// list is an answer; an output without one is an error.
func parse(text string) ([]Device, error) {
	var devices []Device
	begun := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) == "Available devices:" {
			devices, begun = nil, true
			continue
		}
		match := deviceLine.FindStringSubmatch(line)
		if !begun || match == nil {
			continue
		}
		devices = append(devices, Device{
			Name: match[1], Description: match[2], Backend: backend(match[1]),
			Total: mebibytes(match[3]), Free: mebibytes(match[4]),
		})
	}
	if !begun {
		return nil, errNoList
	}
	return devices, nil
}

// mebibytes returns digits as bytes, and 0 for more than an int64 of bytes holds.
func mebibytes(digits string) int64 {
	n, err := strconv.ParseInt(digits, 10, 43) // 2^42 MiB are 2^62 bytes
	if err != nil {
		return 0
	}
	return n << 20
}
