package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/llamatest"
	"github.com/loragate/loragate/internal/pool"
	"github.com/loragate/loragate/internal/proxy/failure"
	"github.com/loragate/loragate/internal/proxy/pieces"
	"github.com/loragate/loragate/internal/proxy/relay"
	"github.com/loragate/loragate/internal/proxy/sse"
	"github.com/loragate/loragate/internal/proxy/tally"
	"github.com/loragate/loragate/internal/proxy/whole"
	"github.com/loragate/loragate/internal/rawjson"
	"github.com/loragate/loragate/internal/upstream"
)

// bare is a worker that only passes requests on.
type bare struct {
	pool.Runner
	client *upstream.Client
}

func (b bare) Forward(ctx context.Context, path string, body []byte) (*upstream.Response, error) {
	return b.client.Do(ctx, http.MethodPost, path, body)
}

// thinker is a chat template with thoughts, for which llama-server takes answers
// apart.
const thinker = `{%- for m in messages %}{{ '<|' + m.role + '|>' }}
{%- if m.role == 'assistant' and m.reasoning_content is defined and m.reasoning_content %}{{ '<think>' + m.reasoning_content + '</think>' }}{%- endif %}
{{- m.content }}{%- endfor %}{%- if add_generation_prompt %}{{ '<|assistant|>' }}{%- endif %}`

const (
	weather = `{"type":"function","function":{"name":"weather","description":"tells it","parameters":{"type":"object","properties":{"city":{"type":"string","maxLength":6}},"required":["city"]}}}`
	clock   = `{"type":"function","function":{"name":"clock","parameters":{"type":"object","properties":{"zone":{"type":"integer","maximum":9,"minimum":0}},"required":["zone"]}}}`
)

// wholeRequests are requests by endpoint; all are asked with a fixed slot and
// without a cache, so that answers can be compared to the byte.
var wholeRequests = map[string][]string{
	"/v1/chat/completions": {
		`"messages":[{"role":"user","content":"How are you?"}],"max_tokens":16`,
		`"messages":[{"role":"user","content":"How are you?"}],"max_tokens":200`,
		`"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"a \"quoted\" \\ word\n"}],"max_completion_tokens":24`,
		`"messages":[{"role":"user","content":"How are you?"}],"max_tokens":1`,
		`"messages":[{"role":"user","content":"How are you?"}],"max_tokens":0`,
		`"messages":[{"role":"user","content":"How are you?"}],"max_tokens":30,"stop":["python","e"]`,
		`"messages":[{"role":"user","content":"How are you?"}],"max_tokens":30,"stop":"a"`,
		`"messages":[{"role":"user","content":"How are you?"}],"max_tokens":30,"temperature":1.5,"seed":3,"ignore_eos":true`,
		`"messages":[{"role":"user","content":"How are you?"}],"max_tokens":8,"n":3`,
		`"messages":[{"role":"user","content":"How are you?"}],"max_tokens":8,"timings_per_token":true`,
		`"messages":[{"role":"user","content":"How are you?"}],"max_tokens":8,"stream_options":{"include_usage":false}`,
		`"messages":[{"role":"user","content":"x"}],"grammar":"root ::= \"\\\"<b>&é😀\\\\\\t\\\"\\n\\u2028end\""`,
		`"messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"type":"object","properties":{"a":{"enum":["x","y"]},"b":{"type":"boolean"}},"required":["a","b"]}}}`,
		`"messages":[{"role":"user","content":"x"}],"max_tokens":20,"response_format":{"type":"json_object"}`,
		`"messages":[{"role":"user","content":"weather?"}],"logit_bias":{"99":100},"tools":[` + weather + `],"tool_choice":"required","max_tokens":150`,
		`"messages":[{"role":"user","content":"weather?"}],"logit_bias":{"99":100},"tools":[` + weather + `,` + clock + `],"tool_choice":"required","parallel_tool_calls":true,"max_tokens":150`,
		`"messages":[{"role":"user","content":"weather?"}],"logit_bias":{"99":100},"tools":[` + weather + `,` + clock + `],"tool_choice":"required","temperature":1,"seed":4,"parallel_tool_calls":true,"max_tokens":400`,
		`"messages":[{"role":"user","content":"weather?"}],"logit_bias":{"99":100},"tools":[` + weather + `,` + clock + `],"tool_choice":"required","max_tokens":14`,
		`"messages":[{"role":"user","content":"weather?"}],"logit_bias":{"99":100},"tools":[` + weather + `],"max_tokens":40`,
		`"messages":[{"role":"user","content":"weather?"}],"logit_bias":{"99":100},"tools":[` + weather + `],"logprobs":true,"max_tokens":10`,
		`"messages":[{"role":"user","content":"x"}],"grammar":"root ::= \"<think>I \\\"think\\\" so</think>It is.\""`,
		`"messages":[{"role":"user","content":"x"}],"grammar":"root ::= \"<think>I think\""`,
		`"messages":[{"role":"user","content":"x"}],"reasoning_format":"none","grammar":"root ::= \"<think>I think so</think>It is.\""`,
		`"messages":[{"role":"user","content":"x"}],"max_tokens":-5`,
		`"messages":[{"role":"user","content":"x"}],"echo":true`,
		`"messages":"x"`,
	},
	"/v1/completions": {
		`"prompt":"Once upon","max_tokens":16`,
		`"prompt":"Once upon","max_tokens":16,"echo":true`,
		`"prompt":"Once upon","max_tokens":12,"logprobs":2`,
		`"prompt":"Once upon","max_tokens":200,"logprobs":1`,
		`"prompt":"Once upon","max_tokens":30,"logprobs":1,"stop":["e"," the"]`,
		`"prompt":"Once upon","max_tokens":30,"stop":["e"," the"]`,
		`"prompt":"Once upon","max_tokens":6,"verbose":true,"n_probs":1`,
		`"prompt":"Once upon","max_tokens":6,"n":2`,
		`"prompt":"Once upon","max_tokens":6,"n":2,"logprobs":1,"stop":"e"`,
		`"prompt":["Once upon","The"],"max_tokens":6`,
		`"prompt":["Once upon","The"],"max_tokens":6,"n":2,"logprobs":0`,
		`"prompt":[1,20,30],"max_tokens":6`,
		`"prompt":"x","grammar":"root ::= \"ab  \"","max_tokens":4,"stop":["b    c"]`,
		`"prompt":"x","grammar":"root ::= \"é😀ñ\" | [a-b]"`,
		`"prompt":"x","grammar":"root ::= "`,
		`"max_tokens":6`,
	},
	"/completion": {
		`"prompt":"Once upon","n_predict":16`,
		`"prompt":"Once upon","n_predict":200`,
		`"prompt":"Once upon","n_predict":0`,
		`"prompt":"Once upon","n_predict":16,"return_tokens":true`,
		`"prompt":"x","return_tokens":true,"grammar":"root ::= \"aé😀ñb😀\""`,
		`"prompt":"Once upon","n_predict":6,"n_probs":2,"post_sampling_probs":true`,
		`"prompt":"Once upon","n_predict":30,"n_probs":1,"return_tokens":true,"stop":["e"," the"]`,
		`"prompt":"Once upon","n_predict":30,"stop":["zzz"],"n_probs":1`,
		`"prompt":"x","n_predict":3,"grammar":"root ::= \"a\\nbcdef\"","stop":["\nbcdef"]`,
		`"prompt":["Once upon","The"],"n_predict":6`,
		`"prompt":"Once upon","n_predict":6,"n_cmpl":2,"return_tokens":true`,
		`"prompt":"Once upon","n_predict":6,"response_fields":["content","generation_settings/n_predict","timings/predicted_n","nothing","content"]`,
		`"prompt":["Once","The"],"n_predict":6,"response_fields":["content","index"]`,
		`"prompt":"Once upon","n_predict":6,"response_fields":[]`,
		`"prompt":"Once upon","n_predict":6,"verbose":true,"timings_per_token":true`,
		`"prompt":"x","json_schema":{"type":"array","items":{"type":"boolean"},"minItems":2,"maxItems":2}`,
		`"prompt":"x","n_predict":9,"n_indent":2`,
		`"prompt":{"prompt_string":"Once"},"n_predict":2`,
		`"n_predict":6`,
	},
	"/infill": {
		`"input_prefix":"def f(","input_suffix":"return 1","n_predict":8`,
		`"input_prefix":"def f(","input_suffix":"","n_predict":8,"prompt":"x","input_extra":[{"filename":"a","text":"b"}],"return_tokens":true,"stop":["\n"]`,
		`"input_suffix":"","n_predict":8`,
	},
}

func TestWholeAnswersAreLlamaServersOwn(t *testing.T) {
	t.Parallel()
	template := filepath.Join(t.TempDir(), "thinker.jinja")
	if err := os.WriteFile(template, []byte(thinker), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"plain":   {},
		"thinker": {"--chat-template-file", template},
		"caller":  {"--chat-template-file", filepath.Join(llamatest.Root(), "cmd", "gateway", "testdata", "tools.jinja")},
	} {
		t.Run(name, func(t *testing.T) {
			args = append(args, "--parallel", "4", "--ctx-size", "4096", "--cache-ram", "0")
			server := llamatest.Start(t, nil, args...)
			client := upstream.New(server.Socket(), "", 1)
			t.Cleanup(client.Close)
			for path, bodies := range wholeRequests {
				for i, body := range bodies {
					t.Run(fmt.Sprint(path, i), func(t *testing.T) {
						compareWhole(t, bare{client: client}, path, body)
					})
				}
			}
		})
	}
}

func compareWhole(t *testing.T, w bare, path, fields string) {
	body := `{` + fields + `,"cache_prompt":false,"id_slot":1`
	if !strings.Contains(fields, `"temperature"`) {
		body += `,"temperature":0`
	}
	body += "}"
	status, want := w.post(t, path, []byte(body))
	gathers, gotStatus, got := w.gather(t, path, body)
	if !gathers {
		t.Log("is had whole")
	}
	if many := strings.Contains(fields, `"n_cmpl"`); many {
		got, want = slot.ReplaceAll(got, nil), slot.ReplaceAll(want, nil)
	}
	if gotStatus != status || !bytes.Equal(unvarying(got), unvarying(want)) {
		t.Errorf("%s %s\n got %d %s\nwant %d %s", path, body, gotStatus, unvarying(got), status, unvarying(want))
	}
}

func (b bare) post(t *testing.T, path string, body []byte) (int, []byte) {
	t.Helper()
	resp, err := b.Forward(t.Context(), path, body)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := relay.ReadAnswer(resp)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Status, text
}

// gather does what a Proxy does with a request, without the model's name, and reports
// whether it asks for a stream.
func (b bare) gather(t *testing.T, path, text string) (gathers bool, status int, answer []byte) {
	t.Helper()
	body, err := rawjson.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	r := requestFor(path, body)
	if err := r.readFields(); err != nil {
		t.Skip("refused before: ", err)
	}
	if len(r.Prompts) > 0 {
		answers := make([][]byte, len(r.Prompts))
		for i := range answers {
			gathers, status, answers[i] = b.gather(t, path, string(pieces.Prompt(body, r.Prompts[i]).Apply()))
		}
		answer, ok := r.API.Merge(answers, r.Choices)
		if !ok {
			t.Errorf("no answers: %s", answers)
		}
		return gathers, status, answer
	}
	if !r.Gathers {
		status, answer := b.post(t, path, []byte(text))
		return false, status, answer
	}
	resp, err := b.Forward(t.Context(), path, r.Body.Apply(r.API.AsStream(r.Body)...))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if !strings.HasPrefix(resp.ContentType, "text/event-stream") {
		text, err := relay.ReadAnswer(resp)
		if err != nil {
			t.Fatal(err)
		}
		return true, resp.Status, text
	}
	want := whole.Want{Asked: r.API.Asked(r.Body), Fields: r.Fields}
	a := whole.New(&r.API.Shape, want, &tally.Tally{Choices: r.Choices})
	a.Exact = true
	err = a.Read(&sse.Reader{From: resp.Body}, func() {})
	if err == nil {
		err = a.Complement(t.Context(), b)
	}
	if errors.Is(err, whole.ErrNotFromStream) || errors.Is(err, failure.ErrUnparsed) {
		status, answer := b.post(t, path, []byte(text))
		return true, status, answer
	}
	if err != nil {
		t.Fatal(err)
	}
	return true, resp.Status, a.Build()
}

func endpointAt(path string) *endpoint {
	for _, e := range endpoints {
		if e.path == path {
			return e
		}
	}
	return nil
}

var (
	slot    = regexp.MustCompile(`"id_slot":\d+`)
	varying = []struct {
		pattern *regexp.Regexp
		with    string
	}{
		{regexp.MustCompile(`"(id|call_id)":"[^"]*"`), `"$1":""`},
		{regexp.MustCompile(`"(created|created_at|completed_at)":\d+`), `"$1":0`},
		{regexp.MustCompile(`"((?:prompt|predicted)_(?:ms|per_token_ms|per_second))":[\d.e+-]+`), `"$1":0`},
		{regexp.MustCompile(`"model":"[^"]*"`), `"model":""`},
	}
)

// unvarying is an answer without what differs from one to the next.
func unvarying(text []byte) []byte {
	for _, v := range varying {
		text = v.pattern.ReplaceAll(text, []byte(v.with))
	}
	return text
}

func TestMergedPiecesAreLlamaServersOwn(t *testing.T) {
	t.Parallel()
	all := make([]string, 21)
	for i := range all {
		all[i] = fmt.Sprintf("%q", strings.Repeat("a text of words ", i%5)+fmt.Sprint("and ", i))
	}
	many := "[" + strings.Join(all, ",") + "]"
	for name, c := range map[string]struct {
		ranking bool
		args    []string
		path    string
		bodies  []string
	}{
		"embeddings": {false, []string{"--embeddings", "--pooling", "mean"}, "/v1/embeddings", []string{
			`{"model":"m","input":` + many + `}`, `{"model":"m","input":` + many + `,"encoding_format":"base64"}`,
			`{"content":` + many + `}`, `{"input":[1,2,3,4,5,6,7,8,9,10]}`, `{"input":[[1,2],"a",[3],[4],[5],[6],[7],[8],[9]]}`,
		}},
		"ranking": {true, []string{"--reranking"}, "/v1/rerank", []string{
			`{"query":"which?","documents":` + many + `}`, `{"query":"which?","documents":` + many + `,"top_n":5}`,
			`{"query":"which?","texts":` + many + `,"return_text":true}`, `{"query":"which?","documents":["a","b"],"top_n":1}`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			server := llamatest.StartPlain(t, append(c.args, "--model", llamatest.Base(), "--parallel", "1", "--ctx-size",
				"512")...)
			client := upstream.New(server.Socket(), "", 1)
			t.Cleanup(client.Close)
			for _, body := range c.bodies {
				_, want := bare{client: client}.post(t, c.path, []byte(body))
				if got := (bare{client: client}).merged(t, c.path, c.ranking, body); !bytes.Equal(got, want) {
					t.Errorf("%s\n got %s\nwant %s", body, got, want)
				}
			}
		})
	}
}

// merged asks for the pieces of a request and merges the answers.
func (b bare) merged(t *testing.T, path string, ranking bool, text string) []byte {
	t.Helper()
	body, err := rawjson.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	list := pieces.TextsOf(body, ranking)
	n, piece, err := list.Bodies(body)
	if err != nil {
		t.Fatal(err)
	}
	answers := make([][]byte, n)
	for i := range answers {
		var status int
		if status, answers[i] = b.post(t, path, piece(i).Apply()); status != http.StatusOK {
			t.Fatalf("%d %s", status, answers[i])
		}
	}
	merged, ok := list.Merge(answers)
	if !ok {
		t.Fatalf("no answers: %s", answers)
	}
	return merged
}
