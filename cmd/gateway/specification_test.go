package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/llamatest"
)

// sample is a request whose answers are held to the types of the SDKs that OpenAI and
// Anthropic publish, which are made from their own specifications.
type sample struct {
	name, method, path, body string
	status                   int
	whole, event             string // the type of the answer, or of each event of a stream
}

const (
	chatType      = "OpenAI.Chat.Completions.ChatCompletion"
	chunkType     = "OpenAI.Chat.Completions.ChatCompletionChunk"
	textType      = "OpenAI.Completions.Completion"
	responseType  = "Sent"
	responseEvent = "SentEvent"
	errorType     = "{error: OpenAI.ErrorObject}"
	messageType   = "Anthropic.Messages.Message"
	messageEvent  = "Anthropic.Messages.RawMessageStreamEvent | {type: 'ping'}"
	messageError  = "Anthropic.ErrorResponse"
)

// sent are the types of responses and their events as they are sent: output_text is put in by
// OpenAI's SDKs.
const sent = `
type Sent = Omit<OpenAI.Responses.Response, 'output_text'>;
type AsSent<E> = E extends {response: OpenAI.Responses.Response} ? Omit<E, 'response'> & {response: Sent} : E;
type SentEvent = AsSent<OpenAI.Responses.ResponseStreamEvent>;
`

// own are the members that llama-server, the gateway or, in responses, OpenAI itself and the
// specification of Open Responses add to what is in the SDKs' types.
var own = []string{"timings", "store", "presence_penalty", "frequency_penalty"}

// exception is what stays invalid, and why.
type exception struct {
	samples string // how their names begin
	says    string // what the compiler's words contain
	reason  string
	met     bool
}

var exceptions = []*exception{
	{samples: "text ", says: "Type 'null' is not assignable to type",
		reason: "OpenAI's own streams have no reason, null, before the last event"},
	{samples: "chat ", says: `'"id"' does not exist in type`, reason: "llama-server has a token's number as well"},
	{samples: "response ", says: "'null' is not assignable to type 'ResponseUsage",
		reason: "OpenAI's service sends null while there is none"},
	{samples: "response ", says: "'null' is not assignable to type 'string",
		reason: "OpenAI's service sends \"user\": null, and Open Responses wants it"},
	{samples: "model", says: "'Model'", reason: "it tells more than OpenAI's"},
}

// excused reports whether a fault is one that stays.
func excused(name, says string) (is bool) {
	for _, e := range exceptions {
		if strings.HasPrefix(name, e.samples) && strings.Contains(says, e.says) {
			e.met, is = true, true
		}
	}
	return is
}

// TestSpecification has TypeScript's compiler judge real answers by the SDKs' types.
func TestSpecification(t *testing.T) {
	t.Parallel()
	llamatest.Binary(t)
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("no Node here: answers were not held to the SDKs' types")
	}
	sdks := filepath.Join(llamatest.Root(), "test", "sdk", "node", "node_modules")
	compiler := filepath.Join(sdks, "typescript", "bin", "tsc")
	if _, err := os.Stat(compiler); err != nil {
		t.Fatalf("TypeScript is not installed (%v): run `make node-modules`", err)
	}
	g := serve(t, realConfig(t, 1, 2)+fmt.Sprintf(`
embedders:
  - {name: small, path: %s, args: [--pooling, mean]}
`, llamatest.Base()))
	var source strings.Builder
	source.WriteString("import OpenAI from 'openai';\nimport Anthropic from '@anthropic-ai/sdk';" + sent)
	names := make([]string, strings.Count(source.String(), "\n")) // of the line before each line
	for _, s := range samples() {
		for n, judged := range s.ask(t, g) {
			fmt.Fprintf(&source, "const v%d: %s = %s;\n", len(names), judged.kind, judged.text)
			names = append(names, fmt.Sprintf("%s[%d]", s.name, n))
		}
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "answers.ts")
	if err := os.WriteFile(file, []byte(source.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(sdks, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), node, compiler, "--noEmit", "--strict", "--skipLibCheck", "--target", "es2022",
		"--module", "esnext", "--moduleResolution", "bundler", "--pretty", "false", file)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	faults := regexp.MustCompile(`(?m)^answers\.ts\((\d+),(\d+)\): error (.*)(\n  .*)*`).FindAllStringSubmatch(string(out), -1)
	if err != nil && len(faults) == 0 {
		t.Fatalf("%v\n%s", err, out)
	}
	lines, told := strings.Split(source.String(), "\n"), map[string]bool{}
	for _, fault := range faults {
		line, _ := strconv.Atoi(fault[1])
		name, _, _ := strings.Cut(names[line-1], "[")
		if key := name + fault[3]; !excused(name, fault[0]) && !told[key] { // once for all events of a stream
			told[key] = true
			t.Errorf("%s: %s\n%.600s", names[line-1], fault[0], lines[line-1])
		}
	}
	for _, e := range exceptions {
		if !e.met {
			t.Errorf("nothing meets the exception %q, %q", e.samples, e.says)
		}
	}
	checkMade(t, "TestSpecification", validity(len(samples())))
	t.Logf("%d answers and events, %d faults", len(names)-2, len(faults))
}

// validity returns the exceptions for the docs.
func validity(samples int) string {
	var out strings.Builder
	fmt.Fprintf(&out, "Of the answers to %d requests, each event of a stream among them, this is otherwise:\n\n| "+
		"answers | what the compiler says | why |\n| --- | --- | --- |\n", samples)
	for _, e := range exceptions {
		fmt.Fprintf(&out, "| %s | `%s` | %s |\n", strings.TrimSpace(e.samples), e.says, e.reason)
	}
	return out.String()
}

// judged is an answer, or an event of one, with the type that it is to have.
type judged struct{ kind, text string }

// ask makes the request and returns what is to be judged.
func (s sample) ask(t *testing.T, g *gatewayProcess) (all []judged) {
	t.Helper()
	a := askGateway(t, g, s.method, s.path, []byte(s.body))
	if a.status != s.status {
		t.Errorf("%s: status %d, want %d: %.500s", s.name, a.status, s.status, a.text)
		return nil
	}
	if !a.stream {
		return []judged{{s.whole, plainly(t, a.text)}}
	}
	for _, line := range strings.Split(a.text, "\n") {
		if data, is := strings.CutPrefix(line, "data: "); is && data != "[DONE]" {
			all = append(all, judged{s.event, plainly(t, data)})
		}
	}
	if len(all) == 0 {
		t.Errorf("%s: a stream without an event", s.name)
	}
	return all
}

// plainly returns JSON without the members that are the gateway's or llama-server's own.
func plainly(t *testing.T, text string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v: %.300s", err, text)
	}
	out, err := json.Marshal(without(v))
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func without(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name := range v {
			if slices.Contains(own, name) {
				delete(v, name)
			} else {
				v[name] = without(v[name])
			}
		}
	case []any:
		for i := range v {
			v[i] = without(v[i])
		}
	}
	return v
}

// samples are what clients of each API ask for.
func samples() (all []sample) {
	const user = `"messages":[{"role":"user","content":"What is rain?"}],"temperature":0,"max_tokens":12`
	const tool = `"tools":[{"type":"function","function":{"name":"w","parameters":{"type":"object","properties":{"c":{"type":"string","enum":["rome"]}},"required":["c"]}}}],"tool_choice":"required","max_tokens":60`
	const schema = `"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"type":"object","properties":{"a":{"type":"boolean"}},"required":["a"]}}}`
	add := func(name, path, body string, status int, whole, event string) {
		all = append(all, sample{name, http.MethodPost, path, body, status, whole, event})
	}
	both := func(name, path, body, whole, event string) {
		add(name, path, "{"+body+"}", http.StatusOK, whole, "")
		add(name+" streamed", path, "{"+body+`,"stream":true}`, http.StatusOK, "", event)
	}
	for name, more := range map[string]string{
		"plain": "", "logprobs": `,"logprobs":true,"top_logprobs":2`,
		"top_logprobs 0": `,"logprobs":true,"top_logprobs":0`, "n": `,"n":2`,
		"tool": "," + tool, "schema": "," + schema, "stop": `,"stop":["."]`, "seed": `,"seed":1`,
		"usage": `,"stream_options":{"include_usage":true}`,
	} {
		both("chat "+name, "/v1/chat/completions", `"model":"coding",`+user+more, chatType, chunkType)
	}
	for name, more := range map[string]string{
		"plain": "", "logprobs": `,"logprobs":2`, "n": `,"n":2`, "echo": `,"echo":true`, "two": "",
		"stop": `,"stop":["."]`, "usage": `,"stream_options":{"include_usage":true}`,
		"logprobs 0": `,"logprobs":0`, "n usage": `,"n":2,"stream_options":{"include_usage":true}`,
	} {
		prompt := `"What is rain?"`
		if name == "two" {
			prompt = `["What is rain?","Hi"]`
		}
		both("text "+name, "/v1/completions", `"model":"coding","temperature":0,"max_tokens":8,"prompt":`+prompt+more,
			textType, textType)
	}
	const responsesTool = `,"tools":[{"type":"function","name":"w","strict":true,"parameters":{"type":"object","properties":{},"additionalProperties":false}}],"tool_choice":"required"`
	for name, more := range map[string]string{
		"plain": "", "cut": `,"max_output_tokens":3`, "tool": responsesTool,
		"instructions": `,"instructions":"Be brief.","metadata":{"a":"b"}`,
		"schema":       `,"text":{"format":{"type":"json_schema","name":"a","schema":{"type":"object","properties":{"a":{"type":"boolean"}},"required":["a"],"additionalProperties":false}}}`,
	} {
		both("response "+name, "/v1/responses", `"model":"coding","temperature":0,"input":"What is rain?"`+more,
			responseType, responseEvent)
	}
	const messagesTool = `,"tools":[{"name":"w","input_schema":{"type":"object","properties":{}}}],"tool_choice":{"type":"any"},"max_tokens":60`
	for name, more := range map[string]string{
		"plain": "", "tool": messagesTool, "stop": `,"stop_sequences":["."]`, "system": `,"system":"Be brief."`,
		"thinking": `,"thinking":{"type":"enabled","budget_tokens":1024}`,
	} {
		both("message "+name, "/v1/messages", `"model":"coding",`+user+more, messageType, messageEvent)
	}
	add("count", "/v1/messages/count_tokens", `{"model":"coding","messages":[{"role":"user","content":"Hi"}]}`, 200,
		"Anthropic.Messages.MessageTokensCount", "")
	add("embedding", "/v1/embeddings", `{"model":"small","input":"a"}`, 200, "OpenAI.CreateEmbeddingResponse", "")
	add("embeddings", "/v1/embeddings", `{"model":"small","input":["a","b"]}`, 200, "OpenAI.CreateEmbeddingResponse", "")
	add("text best_of", "/v1/completions", `{"model":"coding","max_tokens":8,"prompt":"Hi","best_of":2,"logprobs":1}`,
		200, textType, "")
	add("error logprobs", "/v1/completions", `{"model":"coding","prompt":"Hi","echo":true,"logprobs":1}`, 400,
		errorType, "")
	add("error chat", "/v1/chat/completions", `{"model":"none","messages":[{"role":"user","content":"x"}]}`, 404,
		errorType, "")
	add("error field", "/v1/chat/completions", `{"model":"coding","messages":1}`, 400, errorType, "")
	add("error json", "/v1/completions", `{`, 400, errorType, "")
	add("error path", "/v1/nothing", `{}`, 404, errorType, "")
	add("error message", "/v1/messages", `{"model":"none","max_tokens":3,"messages":[{"role":"user","content":"x"}]}`,
		404, messageError, "")
	add("error message field", "/v1/messages", `{"model":"coding","max_tokens":3}`, 400, messageError, "")
	all = append(all, sample{"models", http.MethodGet, "/v1/models", "", 200,
		"{object: string, data: OpenAI.Models.Model[]}", ""},
		sample{"model", http.MethodGet, "/v1/models/coding", "", 200, "OpenAI.Models.Model", ""})
	return all
}
