package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/llamatest"
)

// agents are programs that write code, each on an API of its vendor.
type agents struct {
	t    *testing.T
	g    *gatewayProcess
	home string // which has nothing of the machine's user
}

// agentsConfig is toolsConfig with a context that holds what codex begins with.
func agentsConfig(t *testing.T) string {
	t.Helper()
	const short, plain = "context: 1024", `args: ["--threads", "1"`
	config := toolsConfig(t)
	if !strings.Contains(config, short) || !strings.Contains(config, plain) {
		t.Fatal("the configuration has another context")
	}
	config = strings.Replace(config, short, "context: 8192", 1) + `
rules: [{match: "*", set: '{"temperature": 0}'}]
`
	return strings.Replace(config, plain, plain+`, "--override-kv", "llama.context_length=int:8192"`, 1)
}

// TestCodingAgents runs Claude Code and codex as their users run them, without an account.
func TestCodingAgents(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("no Node here: Claude Code and codex did not run")
	}
	a := &agents{t: t, g: serve(t, agentsConfig(t)), home: t.TempDir()}
	made := "| program | endpoint | what holds |\n| --- | --- | --- |\n"
	for _, c := range []struct {
		program, endpoint, holds string
		test                     func(*agents)
	}{
		{"Claude Code", "/v1/messages", "it answers, and the next question's prompt is found in the cache",
			(*agents).claudeAnswers},
		{"Claude Code", "/v1/messages", "the parts of a stream are the answer", (*agents).claudeStreams},
		{"Claude Code", "/v1/messages", "it knows by the error that a prompt is too long", (*agents).claudeKnowsTooLong},
		{"codex", "/v1/responses", "it answers", (*agents).codexAnswers},
	} {
		if t.Run(c.program+" "+c.holds, func(t *testing.T) {
			of := *a
			of.t = t
			c.test(&of)
		}) {
			made += fmt.Sprintf("| %s | `%s` | %s |\n", c.program, c.endpoint, c.holds)
		}
	}
	checkMade(t, "TestCodingAgents", made)
}

// run runs one of the programs, which are installed in test/clients.
func (a *agents) run(name string, env []string, args ...string) string {
	a.t.Helper()
	program := filepath.Join(llamatest.Root(), "test", "clients", "node_modules", ".bin", name)
	if _, err := os.Stat(program); err != nil {
		a.t.Fatalf("%s is not installed (%v): run `make node-modules`", name, err)
	}
	cmd := exec.CommandContext(a.t.Context(), program, args...)
	cmd.Dir = a.home
	cmd.Env = slices.Concat([]string{"HOME=" + a.home, "PATH=" + os.Getenv("PATH")}, env)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil && len(out) == 0 {
		a.t.Fatalf("%s: %v\n%s", name, err, stderr.String())
	}
	return string(out)
}

// claudeResult is what Claude Code tells of a question that it was asked.
type claudeResult struct {
	IsError bool   `json:"is_error"`
	Result  string `json:"result"`
	Stop    string `json:"stop_reason"`
	Reason  string `json:"terminal_reason"`
	Usage   struct {
		Input  int `json:"input_tokens"`
		Cached int `json:"cache_read_input_tokens"`
		Output int `json:"output_tokens"`
	} `json:"usage"`
}

// claude asks Claude Code, and returns the last line that it prints, and those before.
func (a *agents) claude(args ...string) (result claudeResult, before []string) {
	a.t.Helper()
	env := []string{
		"ANTHROPIC_BASE_URL=" + a.g.url, "ANTHROPIC_AUTH_TOKEN=any", "ANTHROPIC_MODEL=chat",
		"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1", "DISABLE_TELEMETRY=1",
	}
	out := a.run("claude", env, append([]string{"-p", sdkQuestion, "--bare"}, args...)...)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &result); err != nil {
		a.t.Fatalf("%v: %s", err, out)
	}
	return result, lines[:len(lines)-1]
}

// brief is what makes Claude Code's first prompt short.
var brief = []string{"--system-prompt", "You are brief.", "--tools", "Bash"}

// claudeAnswers asks twice: what changes with every request must keep no prompt from the cache.
func (a *agents) claudeAnswers() {
	ask := append([]string{"--output-format", "json"}, brief...)
	first, _ := a.claude(ask...)
	if first.IsError || first.Result == "" || first.Stop != "end_turn" || first.Usage.Output == 0 {
		a.t.Fatalf("%+v", first)
	}
	second, _ := a.claude(ask...)
	if u := second.Usage; second.Result != first.Result || u.Cached < 9*u.Input {
		a.t.Errorf("first %+v, then %+v", first, second)
	}
}

// claudeStreams puts together what Claude Code passes on of a stream.
func (a *agents) claudeStreams() {
	result, lines := a.claude(append([]string{"--output-format", "stream-json", "--verbose",
		"--include-partial-messages"}, brief...)...)
	var text strings.Builder
	for _, line := range lines {
		var event struct {
			Event struct{ Delta struct{ Text string } }
		}
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			a.t.Fatalf("%v: %s", err, line)
		}
		text.WriteString(event.Event.Delta.Text)
	}
	if result.IsError || text.String() != result.Result || result.Result == "" {
		a.t.Errorf("%q in parts, %+v", text.String(), result)
	}
}

// claudeKnowsTooLong has it send its own prompt and tools, which do not fit: it knows by the
// error's words that its conversation is to be compacted.
func (a *agents) claudeKnowsTooLong() {
	result, _ := a.claude("--output-format", "json", "--append-system-prompt", strings.Repeat("It is so. ", 9000))
	if !result.IsError || result.Reason != "prompt_too_long" || !strings.Contains(result.Result, "limit 8192") {
		a.t.Errorf("%+v", result)
	}
}

// codexAnswers asks it twice.
func (a *agents) codexAnswers() {
	dir := filepath.Join(a.home, "codex")
	if err := os.Mkdir(dir, 0o700); err != nil {
		a.t.Fatal(err)
	}
	instructions := filepath.Join(dir, "instructions.md")
	config := fmt.Sprintf("model = \"coding\"\nmodel_provider = \"here\"\nmodel_instructions_file = %q\n"+
		"[model_providers.here]\nname = \"here\"\nbase_url = %q\nwire_api = \"responses\"\nenv_key = \"KEY\"\n"+
		"[features]\nmulti_agent = false\n", // of which it tells the model at length
		instructions, a.g.url+"/v1")
	for path, text := range map[string]string{instructions: "You are brief.", filepath.Join(dir, "config.toml"): config} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	for range 2 {
		out := a.run("codex", []string{"CODEX_HOME=" + dir, "KEY=any"}, "exec", "--skip-git-repo-check", "--json",
			sdkQuestion)
		var text string
		var usage struct{ Input, Output int }
		for line := range strings.Lines(out) {
			var event struct {
				Type  string
				Item  struct{ Type, Text string }
				Usage struct {
					Input  int `json:"input_tokens"`
					Output int `json:"output_tokens"`
				}
			}
			if err := json.Unmarshal([]byte(line), &event); err != nil {
				a.t.Fatalf("%v: %s", err, line)
			}
			switch {
			case event.Item.Type == "agent_message":
				text += event.Item.Text
			case event.Type == "turn.completed":
				usage.Input, usage.Output = event.Usage.Input, event.Usage.Output
			}
		}
		if text == "" || usage.Input == 0 || usage.Output == 0 {
			a.t.Fatalf("it answers %q, usage %+v: %s", text, usage, out)
		}
	}
}
