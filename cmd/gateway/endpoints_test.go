package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/llamatest"
)

// asked is one way to ask a model: which endpoint, and how.
type asked struct {
	name   string
	path   string
	body   func(model, prompt string) map[string]any
	text   func(answer map[string]any) string // of a whole answer
	deltas []string                           // the keys of a stream's event that lead to its text
	chat   bool                               // the prompt is a message
}

// dig follows keys and indices into decoded JSON; "" if there is nothing.
func dig(v any, path ...any) string {
	text, _ := at(v, path...).(string)
	return text
}

func userMessage(prompt string) []map[string]any {
	return []map[string]any{{"role": "user", "content": prompt}}
}

// ways are all endpoints that complete.
var ways = []asked{
	{"responses", "/v1/responses", func(model, prompt string) map[string]any {
		return map[string]any{"model": model, "input": prompt, "max_output_tokens": answerTokens, "temperature": 0}
	}, func(a map[string]any) string { return dig(a, "output", 0, "content", 0, "text") }, []string{"delta"}, true},
	{"messages", "/v1/messages", func(model, prompt string) map[string]any {
		return map[string]any{"model": model, "messages": userMessage(prompt), "max_tokens": answerTokens, "temperature": 0}
	}, func(a map[string]any) string { return dig(a, "content", 0, "text") }, []string{"delta", "text"}, true},
	{"completion", "/completion", func(model, prompt string) map[string]any {
		return map[string]any{"model": model, "prompt": prompt, "n_predict": answerTokens, "temperature": 0}
	}, func(a map[string]any) string { return dig(a, "content") }, []string{"content"}, false},
	{"chat", chatPath, func(model, prompt string) map[string]any {
		return map[string]any{"model": model, "messages": userMessage(prompt), "max_tokens": answerTokens, "temperature": 0}
	}, func(a map[string]any) string { return dig(a, "choices", 0, "message", "content") },
		[]string{"choices", "delta", "content"}, true},
}

// send asks and returns the text of the answer.
func (g *gatewayProcess) send(w asked, model, prompt string, stream bool) (string, error) {
	body := w.body(model, prompt)
	body["stream"] = stream
	text, err := json.Marshal(body)
	if err != nil {
		return "", err
	}
	resp, err := http.Post(g.url+w.path, "application/json", strings.NewReader(string(text)))
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %d", resp.StatusCode)
	}
	if !stream {
		var answer map[string]any
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
			return "", err
		}
		if answer["model"] != model {
			return "", fmt.Errorf("the answer is by %v", answer["model"])
		}
		return w.text(answer), nil
	}
	var all string
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		var event map[string]any
		if !ok || data == "[DONE]" {
			continue
		}
		if err := json.Unmarshal([]byte(data), &event); err != nil {
			return "", fmt.Errorf("%w in %s", err, data)
		}
		if event["error"] != nil {
			return "", fmt.Errorf("an error: %s", data)
		}
		var v any = event
		for _, key := range w.deltas {
			if key == "choices" {
				if list, _ := event["choices"].([]any); len(list) > 0 {
					v = list[0]
				}
				continue
			}
			m, _ := v.(map[string]any)
			v = m[key]
		}
		if piece, ok := v.(string); ok {
			all += piece
		}
	}
	return all, lines.Err()
}

// TestEndpointsContaminateNothing asks over all endpoints at once for adapters
// whose prompts begin alike, and compares with fresh servers.
func TestEndpointsContaminateNothing(t *testing.T) {
	t.Parallel()
	g := serve(t, realConfig(t, 2, 4))
	ref, rng := llamatest.NewReference(t), rand.New(rand.NewPCG(8, 9))
	files := map[string]string{"demo": "", "coding": llamatest.Adapters()["coding"],
		"legal": llamatest.Adapters()["legal"], "chat": llamatest.Adapters()["chat"]}
	names := []string{"demo", "coding", "legal", "chat"}
	type question struct {
		asked
		model, prompt string
		stream        bool
	}
	list := make([]question, 240)
	for i := range list {
		list[i] = question{ways[i%len(ways)], names[rng.IntN(len(names))],
			sharedPrefixes[rng.IntN(len(sharedPrefixes))] + sharedQuestions[rng.IntN(3)], rng.IntN(2) == 0}
	}
	var c tally
	each(8, len(list), func(i int) {
		q := list[i]
		got, err := g.send(q.asked, q.model, q.prompt, q.stream)
		want := ref.Complete(files[q.model], q.prompt, answerTokens)
		if q.chat {
			want = ref.Chat(files[q.model], q.prompt, answerTokens)
		}
		c.count(trial{model: q.name + " " + q.model, prompt: q.prompt, stream: q.stream}, want, got, err)
	})
	c.report(t)
}

// TestUtilities asks what needs no slot.
func TestUtilities(t *testing.T) {
	t.Parallel()
	g := serve(t, realConfig(t, 1, 2))
	for _, c := range []struct {
		path, body string
		status     int
		says       string
	}{
		{"/tokenize", `{"content":"What is rain?"}`, 200, `"tokens":[438,284,1229,39]`},
		{"/tokenize", `{"model":"coding","content":"What is rain?"}`, 200, `"tokens":[438,284,1229,39]`},
		{"/detokenize", `{"tokens":[438,284,1229,39]}`, 200, "What is rain?"},
		{"/apply-template", `{"messages":[{"role":"user","content":"Hi"}]}`, 200, "Hi"},
		{"/v1/messages/count_tokens", `{"model":"coding","messages":[{"role":"user","content":"What is rain?"}]}`, 200,
			`{"input_tokens":8}`},
		{"/v1/messages/count_tokens", `{"model":"nobody","messages":[]}`, 404,
			`{"error":{"message":"The model \"nobody\" does not exist.","type":"not_found_error"}`},
		{"/tokenize", `{"model":"nobody","content":"x"}`, 404, `"code":"model_not_found"`},
		{"/tokenize", `[`, 400, "invalid_request_error"},
		{"/completion", `{"prompt":"What is rain?","n_predict":3,"temperature":0}`, 200, `"model":"demo"`},
		{"/completion", `{"model":"coding","prompt":["What is rain?","What is a contract?"],"n_predict":3}`, 200, `[{`},
		{"/infill", `{"input_prefix":"a","input_suffix":"b"}`, 501, "Infill is not supported by this model"},
		{"/v1/messages", `{"model":"coding","max_tokens":0,"messages":[{"role":"user","content":"Hi"}]}`, 200,
			`"content":[]`},
		{"/v1/messages", `{"model":"coding","max_tokens":5,"messages":[{"role":"user","content":"` + strings.Repeat("word "+
			"", 2000) + `"}]}`, 400, `{"error":{"message":"`},
		{"/v1/messages", `{"model":"nobody","max_tokens":5,"messages":[{"role":"user","content":"Hi"}]}`, 404,
			`"request_id":"req_`},
		{"/v1/responses", `{"input":"Hi"}`, 400, "model"},
	} {
		status, text := g.post(c.path, c.body)
		if status != c.status || !strings.Contains(text, c.says) {
			t.Errorf("%s %.80s: %d %.300s, want %d with %s", c.path, c.body, status, text, c.status, c.says)
		}
	}
}

// TestStreamsAreLlamaServersOwn compares the events of streams with those of a
// llama-server without the gateway: none is added, lost or changed but for the
// model's name, whatever the gateway asks llama-server for by itself.
func TestStreamsAreLlamaServersOwn(t *testing.T) {
	t.Parallel()
	g := serve(t, realConfig(t, 1, 2))
	bare := llamatest.Start(t, nil, "--parallel", "2", "--ctx-size", "2048", "--cache-ram", "0")
	for _, way := range ways {
		if way.name == "messages" || way.name == "responses" {
			continue // translated; see internal/proxy/anthropic and internal/proxy/responses
		}
		for _, progress := range []bool{false, true} {
			body := way.body("demo", "What do you know of streams?")
			body["stream"], body["cache_prompt"] = true, false // what is cached may differ
			if progress {
				body["return_progress"] = true
			}
			text, err := json.Marshal(body)
			if err != nil {
				t.Fatal(err)
			}
			status, ours := g.post(way.path, string(text))
			resp, err := bare.Open(t.Context(), http.MethodPost, way.path, body)
			if err != nil {
				t.Fatal(err)
			}
			theirs, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || status != 200 || resp.StatusCode != 200 {
				t.Fatalf("%s: %d and %d, %v", way.name, status, resp.StatusCode, err)
			}
			got, want := normalized(t, ours), normalized(t, string(theirs))
			if !slices.Equal(got, want) {
				t.Errorf("%s, progress %v: got\n%s\nwant\n%s", way.name, progress, strings.Join(got, "\n"),
					strings.Join(want, "\n"))
			}
			if strings.Contains(ours, "prompt_progress") != progress {
				t.Errorf("%s, progress %v: %s", way.name, progress, ours)
			}
		}
	}
}

// normalized are the lines of a stream without what differs from one to the next.
func normalized(t *testing.T, stream string) (lines []string) {
	volatile := []string{"id", "item_id", "created", "created_at", "completed_at", "model", "timings",
		"generation_settings", "id_slot", "time_ms", "prompt"}
	var clean func(v any)
	clean = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for key, value := range v {
				if slices.Contains(volatile, key) {
					delete(v, key)
				} else {
					clean(value)
				}
			}
		case []any:
			for _, value := range v {
				clean(value)
			}
		}
	}
	for line := range strings.Lines(stream) {
		data, isData := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "data: ")
		if !isData || data == "[DONE]" {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
			continue
		}
		var event any
		if err := json.Unmarshal([]byte(data), &event); err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		clean(event)
		text, err := json.Marshal(event)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(text))
	}
	return lines
}
