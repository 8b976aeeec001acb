package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/llamatest"
)

// TestServeWithoutAFile serves a model that is named on the command line, from a folder that has
// nothing in it, with the llama-server that the user has installed.
func TestServeWithoutAFile(t *testing.T) {
	home, elsewhere := t.TempDir(), t.TempDir()
	installed := filepath.Join(home, "data", "loragate", "llama", "bin")
	if err := os.MkdirAll(installed, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(llamatest.Binary(t), filepath.Join(installed, "llama-server")); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"HOME": home, "XDG_DATA_HOME": filepath.Join(home, "data"), "XDG_STATE_HOME": filepath.Join(home, "state"),
		"GATEWAY_ADMIN_LISTEN": "127.0.0.1:0", "GATEWAY_LOG_FORMAT": "json", "GATEWAY_WORKERS_COUNT": "1",
		"GATEWAY_WORKERS_ARGS": `["--threads", "1"]`,
	} {
		t.Setenv(name, value)
	}
	t.Chdir(elsewhere)
	g := run(t, "serve", "--model", llamatest.Base(), "--adapters", filepath.Dir(llamatest.Adapters()["coding"]),
		"--listen", "127.0.0.1:0")
	g.url = g.says("ready")["url"].(string)
	for model, status := range map[string]int{"base": 200, "coding": 200, "demo": 404} {
		if got, text := g.post(chatPath, chat(model, "Hi", `,"max_tokens":2`)); got != status {
			t.Errorf("%s: %d %.200s", model, got, text)
		}
	}
	if kept, err := filepath.Glob(filepath.Join(home, "state", "loragate", "base-*", "*")); err != nil || len(kept) == 0 {
		t.Errorf("nothing was kept: %v", err)
	}
}

// TestServeSaysWhatToType where there is neither a file nor a model.
func TestServeSaysWhatToType(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"serve"}, "gateway serve --model "},
		{[]string{"check"}, "gateway serve --model "},
		{[]string{"serve", "--model", "nowhere.gguf"}, "--model: model.path: \"DIR/nowhere.gguf\": cannot read"},
		{[]string{"serve", "--config", "nowhere.yaml"}, "nowhere.yaml: cannot read"},
		{[]string{"check", "--model", llamatest.Base(), "--listen", "here"}, "--listen: listen: \"here\": must be host:port"},
	} {
		cmd := exec.Command(gatewayLink(t), c.args...)
		cmd.Dir = t.TempDir()
		out, err := cmd.CombinedOutput()
		if want := strings.ReplaceAll(c.says, "DIR", cmd.Dir); err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%v: %v, %s; want %s", c.args, err, out, want)
		}
	}
}
