package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/loragate/loragate/internal/llamatest"
)

// heldSchema is a line of the schemas that are tried: what becomes of one, and, if it is
// refused, at which keyword.
type heldSchema struct{ what, schema, at string }

func heldSchemas(t *testing.T) (all []heldSchema) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(llamatest.Root(), "internal", "schema", "testdata", "schemas.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if what, rest, ok := strings.Cut(line, " | "); ok && !strings.HasPrefix(line, "#") {
			schema, at, _ := strings.Cut(rest, " |")
			all = append(all, heldSchema{what, schema, strings.TrimSpace(at)})
		}
	}
	return all
}

// finished returns the text of an answer of each API, and whether it came to its own end.
func finished(t *testing.T, path, answer string) (string, bool) {
	t.Helper()
	var a struct {
		Choices []struct {
			Message struct{ Content string }
			Finish  string `json:"finish_reason"`
		}
		Content any
		Type    string `json:"stop_type"`
		Reason  string `json:"stop_reason"`
		Status  string
		Output  []struct{ Content []struct{ Text string } }
	}
	if err := json.Unmarshal([]byte(answer), &a); err != nil {
		t.Fatalf("%v: %s", err, answer)
	}
	switch path {
	case "/completion":
		return dig(a.Content), a.Type == "eos" || a.Type == "word"
	case "/v1/messages":
		return dig(a.Content, 0, "text"), a.Reason == "end_turn"
	case "/v1/responses":
		if len(a.Output) == 0 || len(a.Output[0].Content) == 0 {
			return "", false
		}
		text := a.Output[0].Content[0].Text
		return text, json.Valid([]byte(text)) // it tells of no end
	}
	return a.Choices[0].Message.Content, a.Choices[0].Finish == "stop"
}

// asking is how each API is asked for a schema.
var asking = map[string]string{
	chatPath: `{"model":"coding","messages":[{"role":"user","content":"Hi"}],"max_tokens":120,%s,` +
		`"response_format":{"type":"json_schema","json_schema":{"name":"a","strict":true,"schema":%s}}}`,
	"/completion": `{"model":"coding","prompt":"Hi","n_predict":120,%s,"json_schema":%s}`,
	"/v1/messages": `{"model":"coding","messages":[{"role":"user","content":"Hi"}],"max_tokens":120,%s,` +
		`"output_config":{"format":{"type":"json_schema","schema":%s}}}`,
	"/v1/responses": `{"model":"coding","input":"Hi","max_output_tokens":120,%s,` +
		`"text":{"format":{"type":"json_schema","name":"a","schema":%s}}}`,
}

// prefixes are where the schema is in a request of each API.
var prefixes = map[string]string{
	chatPath: "response_format.json_schema.schema", "/completion": "json_schema",
	"/v1/messages": "output_config.format.schema", "/v1/responses": "text.format.schema",
}

// TestAnswersSatisfyTheirSchemas asks for an answer to each of many schemas, at random and the
// likeliest one: each that is finished satisfies its schema, formats included. Those that
// cannot be held are refused at their keyword.
func TestAnswersSatisfyTheirSchemas(t *testing.T) {
	t.Parallel()
	g := serve(t, realConfig(t, 1, 4))
	list := heldSchemas(t)
	var asked, ended atomic.Int64
	each(4, len(list), func(i int) {
		s := list[i]
		path := chatPath
		if i%4 == 1 {
			path = []string{"/completion", "/v1/messages", "/v1/responses"}[i/4%3]
		}
		if strings.HasPrefix(s.what, "refused") {
			status, text := g.post(path, fmt.Sprintf(asking[path], `"temperature":0`, s.schema))
			at := strings.Trim(prefixes[path]+"."+s.at, ".")
			if status != http.StatusBadRequest || !strings.Contains(text, at) {
				t.Errorf("%s %s: %d %s, should name %s", path, s.schema, status, text, at)
			}
			return
		}
		c := jsonschema.NewCompiler()
		c.AssertFormat()
		c.UseRegexpEngine(func(text string) (jsonschema.Regexp, error) {
			return regexp.Compile(strings.ReplaceAll(text, `\u00`, `\x`))
		})
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(s.schema))
		if err == nil {
			if strings.Contains(s.schema, `"items":[`) || strings.Contains(s.schema, `"dependencies"`) {
				c.DefaultDraft(jsonschema.Draft7)
			}
			err = c.AddResource("https://example.com/s", doc)
		}
		if err != nil {
			t.Fatal(err)
		}
		compiled, err := c.Compile("https://example.com/s")
		if err != nil {
			t.Errorf("%s: %v", s.schema, err)
			return
		}
		for _, how := range []string{`"temperature":0`, `"temperature":1.5,"top_k":0,"min_p":0,"seed":2`} {
			status, text := g.post(path, fmt.Sprintf(asking[path], how, s.schema))
			asked.Add(1)
			if status != http.StatusOK {
				t.Errorf("%s %s: %d %s", path, s.schema, status, text)
				continue
			}
			said, ends := finished(t, path, text)
			if !ends {
				continue
			}
			ended.Add(1)
			value, err := jsonschema.UnmarshalJSON(bytes.NewReader([]byte(said)))
			if err == nil {
				err = compiled.Validate(value)
			}
			if err != nil {
				t.Errorf("%s %s\nis answered with %s\n%v", path, s.schema, said, err)
			}
		}
	})
	t.Logf("%d of %d answers are finished, of %d schemas", ended.Load(), asked.Load(), len(list))
	if ended.Load() < 200 {
		t.Errorf("of %d answers only %d are finished", asked.Load(), ended.Load())
	}
}
