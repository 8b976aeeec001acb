package proxy

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/auth"
	"github.com/loragate/loragate/internal/pool"
	"github.com/loragate/loragate/internal/rawjson"
)

// knowing is a pool that tells the context, and nothing else.
type knowing struct {
	Pool
	context int
}

func (k knowing) Facts() pool.Facts { return pool.Facts{Context: k.context} }

// TestBodiesAreNotUnfolded looks at bodies of many small values: what is looked up in
// them takes a part of their own size, not many times that.
func TestBodiesAreNotUnfolded(t *testing.T) {
	const size = 1 << 20
	many := func(one string) string { return "[" + one + strings.Repeat(","+one, size/(len(one)+1)) + "]" }
	p := New(Options{Pool: knowing{context: 1 << 30}, Vocabulary: Vocabulary{Longest: 16}})
	for path, bodies := range map[string][]string{
		"/v1/completions":      {`{"prompt":` + many("1") + `}`, `{"prompt":` + many(`"x"`) + `}`, `{"prompt":` + many("[1]") + `}`, `{"prompt":` + many("{}") + `}`},
		"/v1/chat/completions": {`{"messages":` + many("1") + `,"x":"source"}`, `{"messages":` + many(`{"source":[]}`) + `}`, `{"messages":[` + many(`"_url"`) + `]}`},
		"/v1/responses":        {`{"input":` + many(`{"image_url":{}}`) + `}`, `{"input":"` + strings.Repeat("x", size) + `"}`},
		"/v1/messages":         {`{"max_tokens":1,"messages":` + many("null") + `}`, `{"max_tokens":1,"messages":[{"role":"user","content":` + many("1") + `}]}`, `{"max_tokens":1,"messages":[{"role":"user","content":"x"}],"thinking":{"type":"enabled"},"chat_template_kwargs":{"x":` + many("1") + `}}`},
	} {
		for _, text := range bodies {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			body, err := rawjson.Parse([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			r := &request{body: body, principal: &auth.Principal{}}
			for _, e := range endpoints {
				if e.path == path {
					r.endpoint = e
				}
			}
			_ = p.checkMedia(body)
			if r.endpoint.messages && r.translate() != nil {
				continue
			}
			if r.readFields() == nil {
				r.prefixes()
				_ = p.checkFits(r)
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
	p := New(Options{Pool: knowing{context: 10}, Vocabulary: Vocabulary{Longest: 4}})
	word := func(n int) string { return strings.Repeat("x", n) }
	ids := func(n int) string { return strings.TrimSuffix(strings.Repeat("1,", n), ",") }
	for _, c := range []struct {
		path, body string
		refused    bool
	}{
		{"/v1/completions", `{"prompt":"` + word(40) + `"}`, false}, {"/v1/completions", `{"prompt":"` + word(41) + `"}`, true},
		{"/completion", `{"prompt":[` + ids(10) + `]}`, false}, {"/completion", `{"prompt":[` + ids(11) + `]}`, true},
		{"/completion", `{"prompt":[[` + ids(10) + `],[` + ids(10) + `]]}`, false}, {"/completion", `{"prompt":[[1],[` + ids(11) + `]]}`, true},
		{"/completion", `{"prompt":[` + ids(6) + `,"` + word(20) + `"]}`, true}, {"/completion", `{"prompt":["` + word(40) + `","` + word(40) + `"]}`, false},
		{"/completion", `{"prompt":["a","` + word(41) + `"]}`, true}, {"/completion", `{"prompt":[` + word(0) + `]}`, false},
		{"/completion", `{"prompt":{"prompt_string":"` + word(99) + `","multimodal_data":["x"]}}`, false},
		{"/v1/completions", `{"prompt":"` + strings.Repeat(`x \n\u0020`, 12) + `"}`, false},
		{"/v1/completions", `{"prompt":"` + strings.Repeat(`\u0009`, 41) + `"}`, false}, {"/v1/completions", `{"prompt":"` + strings.Repeat(`\u4e00`, 41) + `"}`, true},
		{"/v1/chat/completions", `{"messages":[{"role":"user","content":"` + word(20) + `"},{"role":"system","content":"` + word(21) + `"}]}`, true},
		{"/v1/chat/completions", `{"messages":[{"role":"user","content":[{"type":"text","text":"` + word(41) + `"}]}]}`, true},
		{"/v1/chat/completions", `{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:` + word(99) + `"}}]}]}`, false},
		{"/v1/chat/completions", `{"messages":[{"role":"assistant","content":"<think>` + word(99) + `</think>"}]}`, false},
		{"/v1/chat/completions", `{"messages":[{"role":"assistant","content":"` + word(41) + `"}]}`, true},
		{"/v1/responses", `{"input":"` + word(41) + `"}`, true}, {"/v1/responses", `{"input":[{"role":"user","content":[{"type":"input_text","text":"` + word(41) + `"}]}]}`, true},
		{"/infill", `{"input_prefix":"` + word(99) + `"}`, false},
	} {
		body, err := rawjson.Parse([]byte(c.body))
		if err != nil {
			t.Fatal(c.body, err)
		}
		r := &request{body: body}
		for _, e := range endpoints {
			if e.path == c.path {
				r.endpoint = e
			}
		}
		if err := r.readFields(); err != nil {
			t.Fatal(c.body, err)
		}
		err = p.checkFits(r)
		if (err != nil) != c.refused || c.refused && err.(*apiError).Code != "context_length_exceeded" {
			t.Errorf("%s %s: %v", c.path, c.body, err)
		}
	}
	for name, opts := range map[string]Options{"no vocabulary": {Pool: knowing{context: 10}}, "no worker yet": {Pool: knowing{}, Vocabulary: Vocabulary{Longest: 4}}} {
		body, _ := rawjson.Parse([]byte(`{"prompt":"` + word(1000) + `"}`))
		if err := New(opts).checkFits(&request{body: body, endpoint: endpoints[1]}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRoomForBodies counts.
func TestRoomForBodies(t *testing.T) {
	p := New(Options{Memory: factor * 1000})
	read := func(n int, length int64) (*record, error) {
		rec := &record{}
		text, err := p.readHeld(rec, bytes.NewReader(make([]byte, n)), length)
		if err == nil && len(text) != n {
			t.Errorf("%d of %d bytes", len(text), n)
		}
		return rec, err
	}
	for _, known := range []bool{true, false} {
		length := func(n int64) int64 {
			if known {
				return n
			}
			return -1
		}
		first, err := read(600, length(600))
		if err != nil || first.held != 600 {
			t.Fatal(first.held, err)
		}
		second, err := read(401, length(401))
		if err != errFull {
			t.Errorf("over it: %v", err)
		}
		p.bodies.give(second.held)
		third, err := read(400, length(400))
		if err != nil {
			t.Error(err)
		}
		p.bodies.give(first.held + third.held)
		if now := p.bodies.now.Load(); now != 0 {
			t.Error(fmt.Sprint(now, " bytes are left"))
		}
	}
}
