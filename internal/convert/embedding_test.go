package convert

import (
	"net/http"
	"path/filepath"
	"testing"

	"github.com/loragate/loragate/internal/llamatest"
	"github.com/loragate/loragate/internal/randgguf"
)

// embeddingAdapter returns the folder of an adapter for randgguf's tiny model
// that changes the embedding, or the output.
func embeddingAdapter(t *testing.T, output bool) string {
	t.Helper()
	const module, rank = "base_model.model.model.embed_tokens", 8
	shapes := map[string][]int{module + embedA: {rank, randgguf.Tiny.Vocab},
		module + embedB: {randgguf.Tiny.Embedding, rank}}
	if output {
		shapes = map[string][]int{
			"base_model.model.lm_head" + loraA: {rank, randgguf.Tiny.Embedding},
			"base_model.model.lm_head" + loraB: {randgguf.Tiny.Vocab, rank},
		}
	}
	parts := f32Parts(shapes)
	return folder(t, plain(object{"r": rank, "lora_alpha": rank}), safetensors(t, parts, dataOf(parts, 0.3)))
}

// TestEmbeddingsAreServed asks a real llama-server with LoRA on the embedding
// and on the output.
func TestEmbeddingsAreServed(t *testing.T) {
	base := filepath.Join(t.TempDir(), "base.gguf")
	if err := randgguf.WriteBase(base, randgguf.Tiny, 1); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for name, adapter := range map[string]string{
		"base": "", "embedding": converted(t, embeddingAdapter(t, false), base),
		"output": converted(t, embeddingAdapter(t, true), base),
	} {
		args := []string{"--model", base, "--cache-ram", "0", "--parallel", "1", "--ctx-size", "256"}
		if adapter != "" {
			args = append(args, "--lora", adapter)
		}
		var answer struct{ Content string }
		llamatest.StartPlain(t, args...).Must(t, http.MethodPost, "/completion",
			object{"prompt": "What is rain?", "n_predict": 24, "temperature": 0}, &answer)
		if answer.Content == "" || seen[answer.Content] {
			t.Errorf("%s answers %q, like another one or nothing", name, answer.Content)
		}
		seen[answer.Content] = true
	}
}

// TestTiedEmbeddingsAreRefused: llama-server aborts at the first with one and
// does not start with the other.
func TestTiedEmbeddingsAreRefused(t *testing.T) {
	base := baseOf(t, "llama", "output")
	for _, shapes := range []map[string][]int{
		{"base_model.model.model.embed_tokens" + embedA: {2, vocabulary},
			"base_model.model.model.embed_tokens" + embedB: {hidden, 2}},
		{"base_model.model.lm_head" + loraA: {2, hidden}, "base_model.model.lm_head" + loraB: {vocabulary, 2}},
	} {
		expect(t, attempt(t, folder(t, plain(nil), soundFile(t, shapes)), base), "tied_embeddings",
			"the base uses one matrix as embedding and as output")
	}
}

// TestGemma3DropsRowsWithoutToken tests that an embedding that was padded for
// training is cut to the base's.
func TestGemma3DropsRowsWithoutToken(t *testing.T) {
	const more = vocabulary + 24
	const module = "base_model.model.model.embed_tokens"
	parts := f32Parts(sound(map[string][]int{module + embedA: {2, more}, module + embedB: {hidden, 2}}))
	data := dataOf(parts, 1)
	got := readGGUF(t, converted(t, folder(t, plain(nil), safetensors(t, parts, data)), baseOf(t, "gemma3")))
	a := got.tensors["token_embd.weight.lora_a"]
	if a.shape[0] != 2 || a.shape[1] != vocabulary {
		t.Fatalf("shape %v", a.shape)
	}
	at := parts[module+embedA].Offsets[0]
	stored := values{kind: parserF32, data: data[at : at+2*more*4]}.floats(t)
	for i, x := range a.floats(t) {
		if want := stored[i%2*more+i/2]; x != want {
			t.Fatalf("element %d is %v, want %v", i, x, want)
		}
	}
}
