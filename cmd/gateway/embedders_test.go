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
	g := serve(t, realConfig(t, 1, 2)+fmt.Sprintf(`
embedders:
  - {name: small, path: %s, args: [--pooling, mean]}
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
	llamatest.StartPlain(t, "--model", llamatest.Base(), "--embeddings", "--pooling", "mean", "--parallel", "1", "--ctx-size", "512",
		"--batch-size", "512", "--ubatch-size", "512").Must(t, "POST", "/v1/embeddings", map[string]any{"input": inputs}, &want)
	body, err := json.Marshal(map[string]any{"model": "small", "input": inputs})
	if err != nil {
		t.Fatal(err)
	}
	each(4, 8, func(int) {
		resp, text, err := g.as("", "POST", "/v1/embeddings", string(body))
		var got answer
		if err != nil || resp.StatusCode != 200 || json.Unmarshal([]byte(text), &got) != nil || got.Model != "small" || got.Usage.Prompt != want.Usage.Prompt || len(got.Data) != 3 {
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
		{"/v1/embeddings", `{"model":"small"}`, 400, "input"},
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
