package proxy

import (
	"runtime"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/proxy/bounds"
	"github.com/loragate/loragate/internal/proxy/prefix"
	"github.com/loragate/loragate/internal/rawjson"
)

// TestBodiesAreNotUnfolded looks at bodies of many small values: what is looked up in
// them takes a part of their own size, not many times that.
func TestBodiesAreNotUnfolded(t *testing.T) {
	const size = 1 << 20
	many := func(one string) string { return "[" + one + strings.Repeat(","+one, size/(len(one)+1)) + "]" }
	vocabulary, checker := bounds.Vocabulary{Longest: 16}, bounds.New(bounds.Limits{})
	for path, bodies := range map[string][]string{
		"/v1/completions": {`{"prompt":` + many("1") + `}`, `{"prompt":` + many(`"x"`) + `}`,
			`{"prompt":` + many("[1]") + `}`, `{"prompt":` + many("{}") + `}`},
		"/v1/chat/completions": {`{"messages":` + many("1") + `,"x":"source"}`,
			`{"messages":` + many(`{"source":[]}`) + `}`, `{"messages":[` + many(`"_url"`) + `]}`,
			`{"messages":` + many(`1`) + `,"tools":` + many(`1`) + `}`, `{"messages":` + many(`"function"`) + `}`,
			`{"messages":[],"functions":` + many(`{"name":"a"}`) + `}`},
		"/v1/responses": {`{"input":` + many(`{"image_url":{}}`) + `}`,
			`{"input":"` + strings.Repeat("x", size) + `"}`, `{"input":` + many("null") + `}`,
			`{"input":[{"role":"user","content":` + many("1") + `}]}`, `{"input":"x","metadata":{"x":` + many("1") + `}}`},
		"/v1/messages": {`{"max_tokens":1,"messages":` + many("null") + `}`,
			`{"max_tokens":1,"messages":[{"role":"user","content":` + many("1") + `}]}`,
			`{"max_tokens":1,"messages":[{"role":"user","content":"x"}],"thinking":{"type":"enabled"},"chat_template_kwargs":{"x":` + many("1") + `}}`},
	} {
		for _, text := range bodies {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			body, err := rawjson.Parse([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			_ = checker.Check(body, "")
			r := requestFor(path, body)
			if r.Body, r.Responded, err = r.API.Translate(r.Body); err != nil {
				continue
			}
			if r.readFields() == nil {
				prefix.Hashes("", r.Body, r.API.Prompts)
				_ = vocabulary.CheckFits(r.Body, r.API.Prompts, r.Prompts != nil, 1<<30)
			}
			runtime.ReadMemStats(&after)
			if took := after.TotalAlloc - before.TotalAlloc; took > 6*size {
				t.Errorf("%s %.40s: %d bytes are taken for one of %d", path, text, took, len(text))
			}
		}
	}
}

// TestPromptsThatCannotFit are known without a worker; those that might are left to it.
func TestPromptsThatCannotFit(t *testing.T) {
	vocabulary := bounds.Vocabulary{Longest: 4}
	word := func(n int) string { return strings.Repeat("x", n) }
	ids := func(n int) string { return strings.TrimSuffix(strings.Repeat("1,", n), ",") }
	for _, c := range []struct {
		path, body string
		refused    bool
	}{
		{"/v1/completions", `{"prompt":"` + word(40) + `"}`, false},
		{"/v1/completions", `{"prompt":"` + word(41) + `"}`, true},
		{"/completion", `{"prompt":[` + ids(10) + `]}`, false}, {"/completion", `{"prompt":[` + ids(11) + `]}`, true},
		{"/completion", `{"prompt":[[` + ids(10) + `],[` + ids(10) + `]]}`, false},
		{"/completion", `{"prompt":[[1],[` + ids(11) + `]]}`, true},
		{"/completion", `{"prompt":[` + ids(6) + `,"` + word(20) + `"]}`, true},
		{"/completion", `{"prompt":["` + word(40) + `","` + word(40) + `"]}`, false},
		{"/completion", `{"prompt":["a","` + word(41) + `"]}`, true}, {"/completion", `{"prompt":[` + word(0) + `]}`, false},
		{"/completion", `{"prompt":{"prompt_string":"` + word(99) + `","multimodal_data":["x"]}}`, false},
		{"/v1/completions", `{"prompt":"` + strings.Repeat(`x \n\u0020`, 12) + `"}`, false},
		{"/v1/completions", `{"prompt":"` + strings.Repeat(`\u0009`, 41) + `"}`, false},
		{"/v1/completions", `{"prompt":"` + strings.Repeat(`\u4e00`, 41) + `"}`, true},
		{"/v1/chat/completions", `{"messages":[{"role":"user","content":"` + word(20) + `"},{"role":"system","content":"` + word(21) + `"}]}`, true},
		{"/v1/chat/completions", `{"messages":[{"role":"user","content":[{"type":"text","text":"` + word(41) + `"}]}]}`,
			true},
		{"/v1/chat/completions", `{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:` + word(99) + `"}}]}]}`, false},
		{"/v1/chat/completions", `{"messages":[{"role":"assistant","content":"<think>` + word(99) + `</think>"}]}`, false},
		{"/v1/chat/completions", `{"messages":[{"role":"assistant","content":"` + word(41) + `"}]}`, true},
		{"/v1/responses", `{"input":"` + word(41) + `"}`, true},
		{"/v1/responses", `{"input":[{"role":"user","content":[{"type":"input_text","text":"` + word(41) + `"}]}]}`, true},
		{"/infill", `{"input_prefix":"` + word(99) + `"}`, false},
	} {
		body, err := rawjson.Parse([]byte(c.body))
		if err != nil {
			t.Fatal(c.body, err)
		}
		r := requestFor(c.path, body)
		if r.Body, r.Responded, err = r.API.Translate(body); err != nil {
			t.Fatal(c.body, err)
		}
		if err := r.readFields(); err != nil {
			t.Fatal(c.body, err)
		}
		err = vocabulary.CheckFits(r.Body, r.API.Prompts, r.Prompts != nil, 10)
		if (err != nil) != c.refused || c.refused && err.(*httpkit.Error).Code != "context_length_exceeded" {
			t.Errorf("%s %s: %v", c.path, c.body, err)
		}
	}
	body, _ := rawjson.Parse([]byte(`{"prompt":"` + word(1000) + `"}`))
	if err := (bounds.Vocabulary{}).CheckFits(body, []string{"prompt"}, false, 10); err != nil {
		t.Errorf("no vocabulary: %v", err)
	}
	if err := vocabulary.CheckFits(body, []string{"prompt"}, false, 0); err != nil {
		t.Errorf("no worker yet: %v", err)
	}
}

// requestFor is a request of which no more is known than where it came and its body.
func requestFor(path string, body rawjson.Object) *request {
	r := &request{endpoint: endpointAt(path)}
	r.Renamer.API, r.Body = r.endpoint.API, body
	return r
}
