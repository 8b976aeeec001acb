package main

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/llamatest"
)

// TestEmbeddings serves the demo's base as an embedder, too, and compares with a
// llama-server of its own.
func TestEmbeddings(t *testing.T) {
	t.Parallel()
	g := serve(t, realConfig(t, 1, 2)+fmt.Sprintf(`
embedders:
  - {name: small, path: %s, args: [--pooling, mean]}
rules:
  - {match: text-embedding-*, model: small, set: '{"encoding_format": "float"}'}
  - {match: gone-*, model: nothing}
`, llamatest.Base()))
	type answer struct {
		Model string
		Data  []struct{ Embedding []float64 }
		Usage struct {
			Prompt int `json:"prompt_tokens"`
		}
	}
	inputs := []string{"What is rain?", "How do I sort a list?", strings.Repeat("a long text ", 60)}
	var want answer
	llamatest.StartPlain(t, "--model", llamatest.Base(), "--embeddings", "--pooling", "mean", "--parallel", "1",
		"--ctx-size", "512",
		"--batch-size", "512", "--ubatch-size", "512").Must(t, "POST", "/v1/embeddings", map[string]any{"input": inputs},
		&want)
	body, err := json.Marshal(map[string]any{"model": "small", "input": inputs})
	if err != nil {
		t.Fatal(err)
	}
	each(4, 8, func(int) {
		resp, text, err := g.as("", "POST", "/v1/embeddings", string(body))
		var got answer
		if err != nil || resp.StatusCode != 200 || json.Unmarshal([]byte(text), &got) != nil || got.Model != "small" ||
			got.Usage.Prompt != want.Usage.Prompt || len(got.Data) != 3 {
			t.Errorf("%v, %.300s", err, text)
			return
		}
		for i := range got.Data {
			if off := cosine(got.Data[i].Embedding, want.Data[i].Embedding); off < 0.999 {
				t.Errorf("embedding %d is %f like the reference", i, off)
			}
		}
	})
	for _, c := range []struct {
		path, body string
		status     int
		says       string
	}{
		{"/v1/embeddings", `{"input":"a"}`, 200, `"model":"small"`}, // the only one
		{"/v1/embeddings", `{"model":"coding","input":"a"}`, 404, "coding"},
		{"/v1/embeddings", `{"model":"","input":"a"}`, 200, `"model":"small"`},
		{"/v1/embeddings", `{"model":"text-embedding-3-small","input":"a","encoding_format":"base64"}`, 200,
			`"model":"text-embedding-3-small"`},
		{"/v1/embeddings", `{"model":"text-embedding-3-small","input":"a","encoding_format":"base64"}`, 200, `"embedding":[`},
		{"/v1/embeddings", `{"model":"gone-1","input":"a"}`, 404, "gone-1"},
		{"/embeddings", `{"model":"small","input":"a"}`, 200, `[{"index":0,"embedding":[[`}, // llama-server's own form
		{"/embedding", `{"content":["a","b","c","d","e","f","g","h","i"]}`, 200, `{"index":8,"embedding":[[`},
		{"/v1/embeddings", `{"model":"small"}`, 400, "input"},
		{"/v1/embeddings", `{"input":["a",[4095]]}`, 200, `"index":1`},
		{"/v1/embeddings", `{"input":["a",[-1]]}`, 400, `"param":"input"`},
		{"/v1/embeddings", `{"input":[4096]}`, 400, "from 0 to 4095"},
		{"/v1/embeddings", `{"content":"a","dimensions":3}`, 400, `"param":"dimensions"`},
		{"/v1/embeddings", `{"content":[1.5]}`, 400, `"param":"content"`},
		{"/v1/embeddings", `{"input":"` + strings.Repeat("a ", 2000) + `"}`, 400, `"code":"context_length_exceeded"`},
		{"/v1/embeddings", `{"input":{"prompt_string":"a","multimodal_data":["x"]}}`, 400, `"param":"input"`},
		{"/v1/rerank", `{"query":"a","documents":["b"]}`, 501, "no model for reranking"},
		{chatPath, chat("small", "Hi", ""), 404, "model_not_found"},
	} {
		if status, text := g.post(c.path, c.body); status != c.status || !strings.Contains(text, c.says) {
			t.Errorf("%s %s: %d %.300s", c.path, c.body, status, text)
		}
	}
	_, text, err := g.as("", "GET", "/v1/models", "")
	if err != nil || !slices.Contains(models(t, text), "small") {
		t.Errorf("%s, %v", text, err)
	}
}

// TestReranking compares with a llama-server of its own. The demo's base is no model
// for reranking: its scores mean nothing, but they are the same.
func TestReranking(t *testing.T) {
	t.Parallel()
	g := serve(t, realConfig(t, 1, 2)+fmt.Sprintf(`
embedders:
  - {name: order, path: %s, kind: reranking}
`, llamatest.Base()))
	type answer struct {
		Model   string
		Results []struct {
			Index int
			Score float64 `json:"relevance_score"`
		}
		Usage struct {
			Prompt int `json:"prompt_tokens"`
		}
	}
	ask := map[string]any{"query": "Where is Tokyo?",
		"documents": []string{"Japan is a country", "Hello there", "A contract binds"}, "top_n": 2}
	var want answer
	llamatest.StartPlain(t, "--model", llamatest.Base(), "--reranking", "--parallel", "1", "--ctx-size", "512").Must(t,
		"POST", "/v1/rerank", ask, &want)
	for _, path := range []string{"/v1/rerank", "/v1/reranking"} {
		ask["model"] = "order"
		body, err := json.Marshal(ask)
		if err != nil {
			t.Fatal(err)
		}
		status, text := g.post(path, string(body))
		var got answer
		if err := json.Unmarshal([]byte(text), &got); err != nil || status != 200 || got.Model != "order" ||
			len(got.Results) != 2 || got.Usage != want.Usage {
			t.Fatalf("%s: %d %s, %v; want %+v", path, status, text, err, want)
		}
		for i, r := range got.Results {
			if w := want.Results[i]; r.Index != w.Index || math.Abs(r.Score-w.Score) > 0.01*math.Abs(w.Score) {
				t.Errorf("%s: %+v, want %+v", path, got.Results, want.Results)
			}
		}
	}
	for _, c := range []struct{ body, says string }{
		{`{"model":"order","query":"a"}`, "documents"},
		{`{"model":"order","query":"a","documents":["b"],"top_n":-1}`, `"param":"top_n"`},
		{`{"model":"order","query":"a","documents":["b"],"top_n":2147483648}`, `"param":"top_n"`},
		{`{"model":"order","query":"a","documents":[[-1]]}`, `"param":"documents"`},
	} {
		if status, text := g.post("/v1/rerank", c.body); status != 400 || !strings.Contains(text, c.says) {
			t.Errorf("%s: %d %s", c.body, status, text)
		}
	}
}

func cosine(a, b []float64) float64 {
	if len(a) != len(b) || len(a) == 0 {
		return 0
	}
	var ab, aa, bb float64
	for i := range a {
		ab, aa, bb = ab+a[i]*b[i], aa+a[i]*a[i], bb+b[i]*b[i]
	}
	return ab / math.Sqrt(aa*bb)
}
