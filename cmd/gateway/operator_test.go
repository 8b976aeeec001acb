package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/adminapi"
	"github.com/loragate/loragate/internal/cli"
	"github.com/loragate/loragate/internal/llamatest"
)

// operate runs a command of the command line against the gateway.
func (g *gatewayProcess) operate(args ...string) (out, progress string, err error) {
	g.t.Helper()
	var stdout, stderr strings.Builder
	cmd := cli.Command(version, &stdout, &stderr)
	cmd.SetArgs(append(args, "--admin", g.adminURL()))
	err = cmd.ExecuteContext(g.t.Context())
	return stdout.String(), stderr.String(), err
}

// operation is a command and what it must say.
type operation struct {
	args string
	says []string // on standard output, or in the error if there is one
	err  bool
}

// operations go one after the other: one and two are adapters, folder is one as
// PEFT saved it, broken is none.
func operations(t *testing.T, root, one, two, folder, broken string) []operation {
	first, second := digestOf(t, one)[:12], digestOf(t, two)[:12]
	return []operation{
		{"adapters add shop " + one + " --alias store --max-concurrency 2", []string{"shop is ready, version 1, " + first},
			false},
		{"adapters add sent --upload " + two, []string{"sent is", "version 1, " + second}, false},
		{"adapters add trained --upload " + folder, []string{"trained is", "version 1"}, false},
		{"adapters add local " + folder, []string{"local is ready, version 1"}, false},
		{"adapters add bad " + broken, []string{"not a GGUF file"}, true},
		{"adapters add bad2 --upload " + broken, []string{"a file of an unknown kind"}, true},
		{"adapters add gone " + root + "/nothing", []string{"no such file"}, true},
		{"adapters add other --digest " + strings.Repeat("0", 64) + " " + one, []string{"digest"}, true},
		{"adapters add mix --part shop=0.7 --part coding", []string{"mix is"}, false},
		{"adapters add mix2 --part shop=much", []string{`"much" is not a number`}, true},
		{"adapters add mix2 --part shop=0", []string{"it must not be 0"}, true},
		{"adapters add mix2 --part nobody", []string{"nobody"}, true},
		{"adapters add mix2 --part shop --pin", []string{"pin: a composition has none"}, true},
		{"adapters add mix2 --part shop --upload", []string{"--upload is for files"}, true},
		{"adapters add mix2 --scale 0 " + one, []string{"--scale", "it must not be 0"}, true},
		{"adapters add mix2 --weight NaN " + one, []string{"--weight", `"NaN" is not a number`}, true},
		{"adapters add mix2 --part shop " + one, []string{"give one of them"}, true},
		{"adapters add mix2", []string{"SOURCE is missing"}, true},
		{"adapters add mix2 --upload https://host/a.gguf", []string{"--upload is for files"}, true},
		{"adapters add coding " + one, []string{"comes from the directory"}, true},
		{"adapters ls", []string{"NAME", "shop", first, "mix", "shop@0.7 + coding", "bad", "rejected", "not a GGUF"}, false},
		{"adapters add shop " + two, []string{"shop is ready, version 2, " + second}, false},
		{"adapters show shop", []string{"aliases", "version 1", "version 2", "answers", digestOf(t, one),
			digestOf(t, two)}, false},
		{"adapters rollback shop", []string{"shop goes back from version 2 to version 1, " + first}, false},
		{"adapters rollback shop", []string{"no version before"}, true},
		{"adapters pin shop", []string{"shop is", "version 1, " + first}, false},
		{"adapters show shop", []string{"true, false"}, false},
		{"adapters unpin shop", []string{"shop is"}, false},
		{"adapters rm mix sent", nil, false},
		{"adapters rm sent", []string{`there is no adapter "sent"`}, true},
		{"adapters show nobody", []string{`There is no adapter "nobody"`}, true},
		{"adapters show ..", []string{`".." is not the name`}, true},
		{"workers ls", []string{"ID", "0 ", "1 ", "up", "0/4"}, false},
		{"workers drain 1 --wait", []string{"drained"}, false},
		{"workers ls", []string{"drained"}, false},
		{"workers resume 1", []string{"up"}, false},
		{"workers restart 0 --wait", []string{"up"}, false},
		{"workers drain 7", []string{"There is no worker 7."}, true},
		{"workers drain x", []string{`"x" is not a worker's number`}, true},
	}
}

// TestOperators runs the commands that change a running gateway, one after the
// other.
func TestOperators(t *testing.T) {
	long(t)
	const token = "a-token-of-the-tests-own"
	t.Setenv("GATEWAY_ADMIN_TOKEN", token) // which the gateway reads, too
	root := t.TempDir()
	g := serve(t, fakeConfig(t, 2, "")+fmt.Sprintf("state: {dir: %s}\n", filepath.Join(root, "state")))
	one, two := llamatest.Variant(t, "one", 1), llamatest.Variant(t, "two", 2)
	folder := filepath.Join(llamatest.Root(), "examples", "finetune", "peft", "legal")
	broken := filepath.Join(root, "broken.gguf")
	if err := os.WriteFile(broken, []byte("no GGUF"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GATEWAY_ADMIN_TOKEN", "")
	if _, _, err := g.operate("adapters", "ls"); err == nil || !strings.Contains(err.Error(), "GATEWAY_ADMIN_TOKEN") {
		t.Errorf("without a token: %v, want to be told where to set it", err)
	}
	t.Setenv("GATEWAY_ADMIN_TOKEN", token)
	for _, c := range operations(t, root, one, two, folder, broken) {
		out, progress, err := g.operate(strings.Fields(c.args)...)
		if (err != nil) != c.err {
			t.Errorf("%s: %v\n%s%s", c.args, err, out, progress)
		}
		if err != nil {
			out = err.Error()
		}
		for _, part := range c.says {
			if !strings.Contains(out, part) {
				t.Errorf("%s: %q does not say %q", c.args, out, part)
			}
		}
	}
	out, _, err := g.operate("adapters", "ls", "--json")
	var list adminapi.Adapters
	if err != nil || json.Unmarshal([]byte(out), &list) != nil || len(list.Adapters) == 0 {
		t.Errorf("--json: %v, %s", err, out)
	}
	if status, text := g.post(chatPath, chat("store", "Hi", "")); status != http.StatusNotFound {
		t.Errorf("an alias that the replacement does not have: %d %s", status, text)
	}
	if status, text := g.post(chatPath, chat("shop", "Hi", "")); status != http.StatusOK {
		t.Errorf("%d %s", status, text)
	}
}

func TestOperatorWithoutGateway(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"127.0.0.1:1": "no gateway answers at the admin address http://127.0.0.1:1",
		"127.0.0.1:2": "Is it running, with that as its admin.listen? --admin or GATEWAY_ADMIN_URL name another address",
		"ftp://host":  "--admin: \"ftp://host\" is not the address of a gateway",
	} {
		var out strings.Builder
		cmd := cli.Command(version, &out, &out)
		cmd.SetArgs([]string{"adapters", "ls", "--admin", address})
		if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", address, err, want)
		}
	}
}
