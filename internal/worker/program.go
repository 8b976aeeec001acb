package worker

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/loragate/loragate/internal/childenv"
)

// MinBuild is the oldest build of llama-server that may serve. Older ones can answer
// wrongly, or end, with several adapters: before 7583 the process aborts, before
// 8069 a computation is reused for another set of adapters, from 8049 to 8218 every
// step is slow while an adapter is loaded and not used, before 8393 an erased slot's
// checkpoints of a model with a sliding window are restored for another adapter
// (llama.cpp #18469, #19644, #20166, #20671).
const MinBuild = 8694

// Program is what a llama-server executable tells of itself.
type Program struct {
	Path  string
	Build int // counts llama.cpp's commits; 0 is one that does not know its own
	help  []byte
}

// inspectTimeout bounds one call of the program: a GPU's driver may take seconds to
// come up.
const inspectTimeout = 30 * time.Second

// Inspect asks the program at path what it is. It blocks while that runs, twice, for
// moments. The error names what the program did instead.
func Inspect(ctx context.Context, path string) (Program, error) {
	p := Program{Path: path}
	version, err := p.ask(ctx, "--version")
	if err != nil {
		return p, err
	}
	p.Build = buildOf(version)
	p.help, err = p.ask(ctx, "--help")
	return p, err
}

// ask runs the program with one flag and returns what it printed.
func (p Program) ask(ctx context.Context, flag string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.Path, flag)
	cmd.Env = childenv.Of(os.Environ())
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", p.Path, flag, err, lastLine(out))
	}
	return out, nil
}

// versionLine is "version: 10573 (3f545bec)", or in Debian "version: 0.7.0 (build
// 11669, commit Debian)".
var versionLine = regexp.MustCompile(`(?m)^version: (?:\S+ \(build )?(\d+)\b`)

func buildOf(version []byte) int {
	match := versionLine.FindSubmatch(version)
	if match == nil {
		return 0
	}
	build, err := strconv.Atoi(string(match[1]))
	if err != nil {
		return 0
	}
	return build
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}

// TooOld reports whether the program is known to be older than MinBuild.
func (p Program) TooOld() bool { return p.Build > 0 && p.Build < MinBuild }

// Has reports whether the program's help names a flag, such as "--kv-unified".
func (p Program) Has(flag string) bool {
	for rest := p.help; ; {
		at := bytes.Index(rest, []byte(flag))
		if at < 0 {
			return false
		}
		rest = rest[at+len(flag):]
		if len(rest) == 0 || !bytes.ContainsAny(rest[:1], "-abcdefghijklmnopqrstuvwxyz") {
			return true
		}
	}
}
