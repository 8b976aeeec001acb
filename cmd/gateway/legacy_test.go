package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/llamatest"
)

// completion is an answer of the older API, or an event of one.
type completion struct {
	Choices []struct {
		Text     string
		Index    int
		Finish   *string `json:"finish_reason"`
		Logprobs *struct {
			Tokens []string
			Token  []float64            `json:"token_logprobs"`
			Top    []map[string]float64 `json:"top_logprobs"`
			Offset []int                `json:"text_offset"`
		}
	}
	Usage *struct {
		Prompt     int `json:"prompt_tokens"`
		Completion int `json:"completion_tokens"`
	}
}

// complete asks for a completion, whole or streamed, of which it returns the events.
func (g *gatewayProcess) complete(path, body string) (events []completion, raw string) {
	g.t.Helper()
	a := askGateway(g.t, g, http.MethodPost, path, []byte(body))
	if a.status != http.StatusOK {
		g.t.Fatalf("%s: status %d: %s", body, a.status, a.text)
	}
	texts := []string{a.text}
	if a.stream {
		texts = nil
		for _, line := range strings.Split(a.text, "\n") {
			if data, is := strings.CutPrefix(line, "data: "); is && data != "[DONE]" {
				texts = append(texts, data)
			}
		}
	}
	for _, text := range texts {
		var c completion
		if err := json.Unmarshal([]byte(text), &c); err != nil {
			g.t.Fatalf("%v: %s", err, text)
		}
		events = append(events, c)
	}
	return events, a.text
}

const legacyPath = "/v1/completions"

// TestLegacyLogprobs: probabilities are in the older form, whole and streamed the same, and their places are the
// text's.
func TestLegacyLogprobs(t *testing.T) {
	t.Parallel()
	g := serve(t, realConfig(t, 1, 2))
	for _, top := range []int{0, 1, 3} {
		body := fmt.Sprintf(`{"model":"coding","prompt":"Write é","max_tokens":16,"temperature":0,"logprobs":%d`, top)
		answers, _ := g.complete(legacyPath, body+"}")
		whole := answers[0].Choices[0]
		runes := []rune(whole.Text)
		for i, token := range whole.Logprobs.Tokens {
			at := whole.Logprobs.Offset[i]
			if rest := string(runes[min(at, len(runes)):]); !strings.HasPrefix(rest, token) {
				t.Errorf("%d: the token %q is not at %d in %q", top, token, at, whole.Text)
			}
			if n := len(whole.Logprobs.Top[i]); n < max(1, top) || n > top+1 {
				t.Errorf("%d: %d tokens in a place", top, n)
			}
			if whole.Logprobs.Top[i][token] != whole.Logprobs.Token[i] {
				t.Errorf("%d: %q is not among the likeliest with its own value", top, token)
			}
		}
		events, _ := g.complete(legacyPath, body+`,"stream":true}`)
		var tokens []string
		var offsets []int
		for _, e := range events {
			if l := e.Choices[0].Logprobs; l != nil {
				tokens, offsets = append(tokens, l.Tokens...), append(offsets, l.Offset...)
			}
		}
		if !slices.Equal(tokens, whole.Logprobs.Tokens) || !slices.Equal(offsets, whole.Logprobs.Offset) {
			t.Errorf("%d: streamed %q at %v, whole %q at %v", top, tokens, offsets, whole.Logprobs.Tokens,
				whole.Logprobs.Offset)
		}
	}
}

// TestEcho: the prompt comes before the text, whatever it is given as, and alone where nothing is asked for.
func TestEcho(t *testing.T) {
	t.Parallel()
	g := serve(t, realConfig(t, 1, 2))
	status, answer := g.post("/tokenize", `{"content":"Once upon"}`)
	_, ids, _ := strings.Cut(answer, `"tokens":`)
	if status != http.StatusOK {
		t.Fatal(answer)
	}
	for _, c := range []struct{ body, prompt string }{
		{`"prompt":"Once upon","max_tokens":6`, "Once upon"},
		{`"prompt":["Once upon"],"max_tokens":6`, "Once upon"},
		{`"prompt":` + strings.TrimSuffix(strings.TrimSpace(ids), "}") + `,"max_tokens":6`, "Once upon"},
		{`"prompt":"a\"b é","max_tokens":0`, "a\"b é"},
		{`"prompt":["Once upon","Once upon"],"max_tokens":6,"n":2`, "Once upon"},
	} {
		plain, _ := g.complete(legacyPath, `{"model":"coding","temperature":0,`+c.body+"}")
		want := ""
		for _, choice := range plain[0].Choices {
			if want += c.prompt; !strings.Contains(c.body, `"max_tokens":0`) {
				want += choice.Text
			}
		}
		for _, more := range []string{"}", `,"stream":true}`} {
			events, _ := g.complete(legacyPath, `{"model":"coding","temperature":0,"echo":true,`+c.body+more)
			texts := map[int]string{}
			for _, e := range events {
				for _, choice := range e.Choices {
					texts[choice.Index] += choice.Text
				}
			}
			got := ""
			for i := range len(texts) {
				got += texts[i]
			}
			if got != want {
				t.Errorf("%s%s says %q, want %q", c.body, more, got, want)
			}
		}
	}
}

// TestSuffix: text goes between the prompt and the suffix as /infill has it, in the older API's form; a base that
// has no tokens for that is told.
func TestSuffix(t *testing.T) {
	t.Parallel()
	const fim = `"--override-kv", "tokenizer.ggml.fim_pre_token_id=int:100", "--override-kv",
  "tokenizer.ggml.fim_suf_token_id=int:101", "--override-kv", "tokenizer.ggml.fim_mid_token_id=int:102"`
	g := serve(t, strings.Replace(realConfig(t, 1, 2), `"--threads", "1"`, `"--threads", "1", `+fim, 1))
	const body = `{"model":"coding","prompt":"def f(","suffix":" return","max_tokens":6,"temperature":0`
	var own struct{ Content string }
	_, answer := g.post("/infill", `{"model":"coding","input_prefix":"def f(","input_suffix":" return","n_predict":6,"temperature":0}`)
	if err := json.Unmarshal([]byte(answer), &own); err != nil || own.Content == "" {
		t.Fatalf("%v: %s", err, answer)
	}
	for more, want := range map[string]struct {
		choices []string
		tokens  int
	}{
		``:                            {[]string{own.Content}, 6},
		`,"echo":true`:                {[]string{"def f(" + own.Content}, 6},
		`,"n":2`:                      {[]string{own.Content, own.Content}, 12},
		`,"best_of":2`:                {[]string{own.Content}, 12},
		`,"logprobs":1`:               {[]string{own.Content}, 6},
		`,"stream":true`:              {[]string{own.Content}, 6},
		`,"n":2,"stream":true`:        {[]string{own.Content, own.Content}, 12},
		`,"logprobs":1,"stream":true`: {[]string{own.Content}, 6},
	} {
		events, raw := g.complete(legacyPath, body+more+`,"stream_options":{"include_usage":true}}`)
		texts := make([]string, len(want.choices))
		for _, e := range events {
			for _, choice := range e.Choices {
				texts[choice.Index] += choice.Text
				if strings.Contains(more, "logprobs") && choice.Text != "" && choice.Logprobs == nil {
					t.Errorf("%s: no probabilities in %s", more, raw)
				}
			}
		}
		last := events[len(events)-1]
		if !slices.Equal(texts, want.choices) || last.Usage == nil || last.Usage.Completion != want.tokens {
			t.Errorf("%s: %q, want %q and %d tokens: %s", more, texts, want.choices, want.tokens, raw)
		}
		if strings.Contains(more, "stream") && !strings.HasSuffix(raw, "\n\ndata: [DONE]\n\n") {
			t.Errorf("%s ends with %q", more, raw[max(0, len(raw)-60):])
		}
	}
	plain := serve(t, realConfig(t, 1, 1))
	if status, answer := plain.post(legacyPath, body+"}"); status != http.StatusBadRequest ||
		!strings.Contains(answer, `"param":"suffix"`) {
		t.Errorf("a base without: %d %s", status, answer)
	}
}

// TestUsageOfStreams: it is one event for all choices and prompts, the last one, and null in the others.
func TestUsageOfStreams(t *testing.T) {
	t.Parallel()
	g := serve(t, realConfig(t, 1, 2))
	const user = `"messages":[{"role":"user","content":"Hi"}]`
	for _, c := range []struct{ path, body string }{
		{chatPath, user}, {chatPath, user + `,"n":2`}, {legacyPath, `"prompt":"Hi"`}, {legacyPath, `"prompt":"Hi","n":2`},
		{legacyPath, `"prompt":["Hi","Ho there"]`}, {legacyPath, `"prompt":["Hi","Ho there"],"n":2,"echo":true`},
	} {
		body := `{"model":"coding","max_tokens":4,"ignore_eos":true,` + c.body
		whole, _ := g.complete(c.path, body+"}")
		events, raw := g.complete(c.path, body+`,"stream":true,"stream_options":{"include_usage":true}}`)
		for i, e := range events {
			last := i == len(events)-1
			if (e.Usage != nil) != last || (len(e.Choices) == 0) != last {
				t.Errorf("%s: event %d of %d: %s", c.body, i, len(events), raw)
			}
		}
		if last := events[len(events)-1]; last.Usage == nil || *last.Usage != *whole[0].Usage {
			t.Errorf("%s: %+v, whole %+v", c.body, last.Usage, whole[0].Usage)
		}
		if n := strings.Count(raw, `"usage":null`); n != len(events)-1 {
			t.Errorf("%s: %d events say that usage is null, of %d", c.body, n, len(events))
		}
	}
	// llama-server's own API: a stream without what tells its end is whole all the same.
	if _, raw := g.complete("/completion", `{"model":"coding","prompt":"Hi","n_predict":3,"stream":true,`+
		`"response_fields":["content"]}`); !strings.HasSuffix(raw, "data: {\"content\":\"\"}\n\n") {
		t.Error(raw)
	}
	line := g.wait("the request", func(l map[string]any) bool { return l["msg"] == "request" && l["path"] == "/completion" })
	if line["error"] != nil || line["completion_tokens"] != 3.0 {
		t.Errorf("it is recorded as %v", line)
	}
}

// TestTopLogprobs: of no likeliest tokens a chat tells none, and of its own all the same.
func TestTopLogprobs(t *testing.T) {
	t.Parallel()
	g := serve(t, realConfig(t, 1, 1))
	const body = `{"model":"coding","messages":[{"role":"user","content":"Hi"}],"max_tokens":4,"logprobs":true,"top_logprobs":`
	for _, more := range []string{"0}", `0,"stream":true}`, `0.0,"tools":[{"type":"function","function":{"name":"f"}}]}`} {
		a := askGateway(t, g, http.MethodPost, chatPath, []byte(body+more))
		if a.status != http.StatusOK || !strings.Contains(a.text, `"top_logprobs":[]`) ||
			strings.Contains(a.text, `"top_logprobs":[{`) || !strings.Contains(a.text, `"logprob":`) {
			t.Errorf("%s: %d %s", more, a.status, a.text)
		}
	}
}

// TestDimensions: embeddings are as long as asked for.
func TestDimensions(t *testing.T) {
	t.Parallel()
	g := serve(t, realConfig(t, 1, 1)+fmt.Sprintf("embedders: [{name: small, path: %s, args: [--pooling, mean]}]\n",
		llamatest.Base()))
	var answer struct {
		Data []struct{ Embedding []float64 }
	}
	status, text := g.post("/v1/embeddings", `{"model":"","input":["a","b"],"dimensions":7,"encoding_format":null}`)
	if err := json.Unmarshal([]byte(text), &answer); err != nil || status != http.StatusOK {
		t.Fatalf("%d %s", status, text)
	}
	for _, one := range answer.Data {
		sum := 0.0
		for _, x := range one.Embedding {
			sum += x * x
		}
		if len(one.Embedding) != 7 || sum < 0.999 || sum > 1.001 {
			t.Errorf("%v, of the square length %f", one.Embedding, sum)
		}
	}
	for body, param := range map[string]string{
		`"dimensions":0`: "dimensions", `"dimensions":5000`: "dimensions", `"encoding_format":"hex"`: "encoding_format",
	} {
		if status, text := g.post("/v1/embeddings", `{"input":"a",`+body+"}"); status != http.StatusBadRequest ||
			!strings.Contains(text, `"param":"`+param+`"`) {
			t.Errorf("%s: %d %s", body, status, text)
		}
	}
	if status, text := g.post("/v1/embeddings", `{"input":"`+strings.Repeat("hello world ", 2000)+`"}`); status !=
		http.StatusBadRequest || !strings.Contains(text, "context_length_exceeded") {
		t.Errorf("too long: %d %s", status, text)
	}
}

// TestMaxTokens: the configured bound is for requests that name none, in each API, and can be changed.
func TestMaxTokens(t *testing.T) {
	t.Parallel()
	config := realConfig(t, 1, 1) + "catalog: {max_tokens: 3}\n"
	file := write(t, config)
	g := run(t, "serve", "--config", file)
	g.url, _ = g.says("ready")["url"].(string)
	const user = `"messages":[{"role":"user","content":"Hi"}],"temperature":0,"ignore_eos":true`
	bodies := map[string]string{
		chatPath: user, legacyPath: `"prompt":"Hi"`, "/completion": `"prompt":"Hi"`, "/v1/messages": user,
		"/v1/responses": `"input":"Hi"`,
	}
	used := func(path, more string) float64 {
		t.Helper()
		id := fmt.Sprintf("%s-%d", strings.ReplaceAll(path, "/", ""), time.Now().UnixNano())
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, g.url+path,
			strings.NewReader(`{"model":"demo","ignore_eos":true,`+bodies[path]+more+"}"))
		req.Header.Set("X-Request-Id", id)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		line := g.wait("the request", func(l map[string]any) bool { return l["request_id"] == id })
		n, _ := line["completion_tokens"].(float64)
		return n
	}
	names := map[string]string{"/v1/responses": "max_output_tokens", "/completion": "n_predict"}
	for path := range bodies {
		if n := used(path, ""); n != 3 {
			t.Errorf("%s generates %v tokens where none are named", path, n)
		}
		name := names[path]
		if name == "" {
			name = "max_tokens"
		}
		if n := used(path, `,"`+name+`":5`); n != 5 {
			t.Errorf("%s generates %v tokens of 5", path, n)
		}
	}
	if err := os.WriteFile(file, []byte(strings.Replace(config, "max_tokens: 3", "max_tokens: 6", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	g.says("the configuration has changed")
	if n := used(chatPath, ""); n != 6 {
		t.Errorf("%v tokens after the change", n)
	}
}
