package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/gateway"
)

// usualFuzz is how long generated requests are sent in the ordinary tests;
// LORAGATE_FUZZ says otherwise, and seeds with the time.
const usualFuzz = time.Minute

// maxWorkerGrowth is what a worker may ever have taken beside what it began with, in KiB.
const maxWorkerGrowth = 300 << 10

// generator makes requests for every endpoint of fields that llama-server reads.
type generator struct{ *rand.Rand }

func (g generator) pick(list ...string) string { return list[g.IntN(len(list))] }

// number is a small one mostly, and at times one that nobody means.
func (g generator) number() string {
	if g.IntN(3) > 0 {
		return strconv.Itoa(g.IntN(20))
	}
	return g.pick("-1", "-2147483648", "0", "1", "1999", "2001", "100000", "400000000", "2147483647", "4294967296",
		"1e300", "0.5", "-0.0", "99999999999999999999")
}

func (g generator) quote(text string) string { raw, _ := json.Marshal(text); return string(raw) }

// text is words, or something that some parser may read.
func (g generator) text() string {
	return strings.Repeat(g.pick("a", "hello ", ")", "((", `\`, `"`, "é", "\n", "{", "[[", "#", "<think>", "\x00"),
		1+g.IntN(1+g.IntN(50)))
}

// list is a JSON array of so many at most.
func (g generator) list(most int, entry func() string) string {
	var all []string
	for range g.IntN(most + 1) {
		all = append(all, entry())
	}
	return "[" + strings.Join(all, ",") + "]"
}

// anything is JSON of any type.
func (g generator) anything() string {
	switch g.IntN(6) {
	case 0:
		return g.number()
	case 1:
		return g.quote(g.text())
	case 2:
		return g.pick("true", "false", "null", "{}", "[]")
	case 3:
		return g.list(1+g.IntN(200), func() string { return g.quote(g.text()) })
	case 4:
		return g.list(3, g.anything)
	}
	return fmt.Sprintf(`{%s:%s}`, g.quote(g.text()), g.anything())
}

// expression is one of GBNF over rules a to e, mostly.
func (g generator) expression(depth int) string {
	if depth == 0 || g.IntN(4) == 0 {
		return g.pick(`"a"`, `"b"`, `""`, `[a-z]`, `[^"]`, `.`, "a", "b", "c", "d", "e", `"\x41("`, `[)]`, "<[5]>", "!<[7]>")
	}
	switch g.IntN(7) {
	case 0:
		return "(" + g.expression(depth-1) + ")"
	case 1, 2:
		return g.expression(depth-1) + " " + g.expression(depth-1)
	case 3:
		return "(" + g.expression(depth-1) + " | " + g.expression(depth-1) + ")"
	case 4:
		return g.expression(depth-1) + g.pick("*", "+", "?")
	case 5:
		return fmt.Sprintf("%s{%d,%d}", g.expression(depth-1), g.IntN(9), g.IntN(40))
	}
	return strings.Repeat(g.expression(depth-1)+" ", 1+g.IntN(1+g.IntN(40)))
}

func (g generator) grammar() string {
	var text strings.Builder
	for _, name := range []string{"root", "a", "b", "c", "d", "e"} {
		fmt.Fprintf(&text, "%s ::= %s%s\n", name, g.expression(4), g.pick("", "", " # ((", " | "+g.expression(2)))
	}
	return text.String()
}

// pattern is a regular expression.
func (g generator) pattern(depth int) string {
	if depth == 0 {
		return g.pick("a", "b", ".", `\d`, `\w`, "[a-z]", `[^"]`, `\(`, "[(]", "é", `"`)
	}
	switch g.IntN(5) {
	case 0:
		return "(" + g.pick("", "?:", "?=") + g.pattern(depth-1) + ")"
	case 1:
		return g.pattern(depth-1) + g.pattern(depth-1)
	case 2:
		return "(" + g.pattern(depth-1) + "|" + g.pattern(depth-1) + ")"
	case 3:
		return g.pattern(depth-1) + g.pick("*", "+", "?", "{2}", "{3,1}", "{0,40}", "{1999}", "{,}", "{")
	}
	return strings.Repeat(g.pattern(depth-1), 1+g.IntN(10))
}

// schema is a JSON schema, most often of a known kind.
func (g generator) schema(depth int) string {
	if depth == 0 {
		return g.pick(`{}`, `{"type":"string"}`, `{"type":"integer"}`, `{"$ref":"#/$defs/a"}`, `{"type":"null"}`,
			`{"const":"[["}`, `{"type":"integer","minimum":-5,"maximum":99999}`)
	}
	sub := func() string { return g.schema(depth - 1) }
	switch g.IntN(10) {
	case 0:
		return fmt.Sprintf(`{"type":"array","items":%s,"minItems":%s,"maxItems":%s}`, sub(), g.number(), g.number())
	case 1:
		return fmt.Sprintf(`{"type":"string","minLength":%s,"maxLength":%s}`, g.number(), g.number())
	case 2:
		return fmt.Sprintf(`{"type":"string","pattern":%s}`, g.quote("^"+g.pattern(4)+"$"))
	case 3:
		return fmt.Sprintf(`{%s:%s}`, g.quote(g.pick("anyOf", "oneOf", "allOf", "items", "prefixItems")), g.list(4, sub))
	case 4:
		return fmt.Sprintf(`{"type":["array","object","string"],"items":%s}`, sub())
	case 5:
		return fmt.Sprintf(`{"$defs":{"a":%s},"$ref":"#/$defs/a"}`, sub())
	case 6:
		return fmt.Sprintf(`{"enum":%s}`, g.list(20, g.anything))
	case 7:
		return fmt.Sprintf(`{"type":%s,"format":%s}`, g.anything(), g.quote(g.pick("date", "uuid", "x")))
	}
	var properties []string
	for i := range g.IntN(1 + g.IntN(20)) {
		properties = append(properties, fmt.Sprintf(`"p%d":%s`, i, sub()))
	}
	return fmt.Sprintf(`{"type":"object","properties":{%s},"required":["p0"],"additionalProperties":%s}`,
		strings.Join(properties, ","), g.pick("true", "false", sub()))
}

// fields are names that llama-server reads, beside those that carry a request.
var fields = strings.Fields(`n_indent n_keep n_discard n_cache_reuse t_max_predict_ms response_fields top_k top_p min_p top_n_sigma
	xtc_probability xtc_threshold typical_p temperature dynatemp_range dynatemp_exponent repeat_last_n repeat_penalty
	frequency_penalty presence_penalty dry_multiplier dry_base dry_allowed_length dry_penalty_last_n mirostat mirostat_tau
	mirostat_eta adaptive_target adaptive_decay seed n_probs logprobs top_logprobs min_keep backend_sampling post_sampling_probs
	dry_sequence_breakers grammar_lazy chat_format reasoning_format generation_prompt parse_tool_calls chat_parser
	continue_final_message echo preserved_tokens grammar_triggers grammar_type reasoning_control reasoning_budget_tokens
	reasoning_budget_start_tag reasoning_budget_end_tags reasoning_budget_message thinking_budget_tokens logit_bias ignore_eos
	stop samplers n n_cmpl id_slot lora cache_prompt return_tokens return_progress timings_per_token verbose sse_ping_interval
	message_delimiters chat_template_kwargs reasoning_effort add_generation_prompt parallel_tool_calls tool_choice metadata
	prediction input_extra suffix with_pieces add_special parse_special stream_options`)

// carriers are the least that each endpoint takes.
var carriers = map[string][]string{
	"/completion": {`"prompt":"hi","n_predict":8`, `"prompt":["a","b"],"n_predict":4`,
		`"prompt":[5,"x",7],"n_predict":4`},
	"/v1/completions":           {`"prompt":"hi","max_tokens":8`},
	chatPath:                    {`"messages":[{"role":"user","content":"hi"}],"max_tokens":8`},
	"/v1/responses":             {`"input":"hi","max_output_tokens":8`},
	"/v1/messages":              {`"messages":[{"role":"user","content":"hi"}],"max_tokens":8`},
	"/infill":                   {`"input_prefix":"a","input_suffix":"b","n_predict":4`},
	"/tokenize":                 {`"content":"hi there"`, `"content":["a",5]`},
	"/detokenize":               {`"tokens":[5,6]`, `"tokens":[-1,400000000]`},
	"/apply-template":           {`"messages":[{"role":"user","content":"hi"}]`},
	"/v1/messages/count_tokens": {`"messages":[{"role":"user","content":"hi"}]`},
}

// request is a path and a body.
func (g generator) request() (path, body string) {
	paths := make([]string, 0, len(carriers))
	for path := range carriers {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	path = g.pick(paths...)
	parts := []string{`"model":"coding"`, g.pick(carriers[path]...)}
	for range g.IntN(4) {
		value := g.anything()
		if g.IntN(2) == 0 {
			value = g.number()
		}
		parts = append(parts, fmt.Sprintf("%q:%s", fields[g.IntN(len(fields))], value))
	}
	switch g.IntN(5) {
	case 0:
		parts = append(parts, `"grammar":`+g.quote(g.grammar()), `"ignore_eos":true`)
	case 1:
		parts = append(parts, `"json_schema":`+g.schema(4))
	case 2:
		parts = append(parts, `"response_format":{"type":"json_schema","json_schema":{"schema":`+g.schema(3)+`}}`)
	case 3:
		schema := g.schema(3)
		parts = append(parts, fmt.Sprintf(`"tools":[{"type":"function","name":"f","input_schema":%s,"parameters":%s,"function":{"name":"f","parameters":%s}}]`, schema, schema, schema))
	}
	return path, "{" + strings.Join(parts, ",") + "}"
}

// survives sends a request and reports its status, or what it did to the worker. The
// limit of the client is only against hanging.
func (g *gatewayProcess) survives(client *http.Client, pid int, path, body string) (status int, err error) {
	for i, ask := range [][2]string{{path, body}, {"/completion", `{"prompt":"hi","n_predict":1}`}} {
		resp, err := client.Post(g.url+ask[0], "application/json", strings.NewReader(ask[1]))
		if err != nil {
			return 0, fmt.Errorf("no answer of %s: %w", ask[0], err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode == http.StatusBadGateway || resp.StatusCode == http.StatusServiceUnavailable {
			return 0, fmt.Errorf("%s: %d %s, %w", ask[0], resp.StatusCode, text, err)
		}
		if i == 0 {
			status = resp.StatusCode
		}
	}
	if !gateway.Runs(pid) {
		return 0, fmt.Errorf("the worker is gone")
	}
	return status, nil
}

// peakMemory is the most that a process ever had, in KiB; 0 where that is not told.
func peakMemory(pid int) (n int) {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	fmt.Sscan(rest, &n)
	return n
}

// TestGeneratedRequests sends what was once found, and then what the generator makes:
// no worker dies, hangs or takes much memory. What it finds belongs into
// testdata/hostile, as the path in the first line and the body in the second.
func TestGeneratedRequests(t *testing.T) {
	duration, seed := usualFuzz, uint64(1)
	if text := os.Getenv("LORAGATE_FUZZ"); text != "" {
		var err error
		if duration, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", seed)
	g := serve(t, realConfig(t, 1, 2))
	pid := g.workerPIDs(1)[0]
	client := &http.Client{Timeout: time.Minute}
	defer client.CloseIdleConnections()
	found, err := filepath.Glob(filepath.Join("testdata", "hostile", "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range found {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		path, body, _ := strings.Cut(string(text), "\n")
		if _, err := g.survives(client, pid, path, body); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	generated := generator{rand.New(rand.NewPCG(seed, 0))}
	begun, sent, statuses := peakMemory(pid), 0, map[int]int{}
	for end := time.Now().Add(duration); time.Now().Before(end); sent++ {
		path, body := generated.request()
		status, err := g.survives(client, pid, path, body)
		if err != nil {
			t.Fatalf("request %d: %v\n%s\n%s", sent, err, path, body)
		}
		statuses[status]++
		if taken := peakMemory(pid); taken-begun > maxWorkerGrowth {
			t.Fatalf("request %d: the worker has grown from %d to %d KiB\n%s\n%s", sent, begun, taken, path, body)
		}
	}
	t.Logf("%d requests, by status %v; the worker had %d KiB at most, %d at the start", sent, statuses, peakMemory(pid),
		begun)
	if statuses[http.StatusOK] == 0 || len(statuses) == 1 {
		t.Error("either none or all of them came to the worker")
	}
}
