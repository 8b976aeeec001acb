package main

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/llamatest"
)

// TestVLLMClients loads, replaces and unloads an adapter through vLLM's
// endpoints, and asks for it as soon as each of them has answered.
func TestVLLMClients(t *testing.T) {
	t.Parallel()
	config, _ := liveConfig(t, 1, "")
	g, h := serve(t, config+"catalog: {vllm_endpoints: true}\n"), newHistory()
	ref, c := llamatest.NewReference(t), tally{}
	tr := trial{model: "fresh", prompt: sharedQuestions[0], chat: true}
	ask := func(digest, file string) {
		t.Helper()
		h.may(tr.model, digest)
		h.must(tr.model)
		s, err := g.answer(tr, h)
		if err != nil {
			t.Fatal(err)
		}
		if tr.file = file; file != "" {
			c.count(tr, tr.want(ref), s.text, nil)
		}
	}
	call := func(path, body string, want int) {
		t.Helper()
		status, text := g.post(path, body)
		if status != want || status == http.StatusOK && !strings.HasPrefix(text, "Success: ") {
			t.Fatalf("%s %s: %d %s, want %d", path, body, status, text, want)
		}
	}
	const load, unload = "/v1/load_lora_adapter", "/v1/unload_lora_adapter"
	ask(unknown, "")
	for seed := 1; seed <= 2; seed++ {
		file := llamatest.Variant(t, fmt.Sprintf("seed%d", seed), seed)
		call(load, fmt.Sprintf(`{"lora_name":"fresh","lora_path":%q,"load_inplace":true}`, file), http.StatusOK)
		ask(digestOf(t, file), file)
		call(load, fmt.Sprintf(`{"lora_name":"fresh","lora_path":%q}`, file), http.StatusBadRequest)
	}
	for fault, file := range llamatest.Broken(t) {
		call(load, fmt.Sprintf(`{"lora_name":%q,"lora_path":%q}`, fault, file), http.StatusBadRequest)
	}
	gone := filepath.Join(t.TempDir(), "gone")
	call(load, fmt.Sprintf(`{"lora_name":"gone","lora_path":%q}`, gone), http.StatusNotFound)
	call(unload, `{"lora_name":"fresh"}`, http.StatusOK)
	ask(unknown, "")
	call(unload, `{"lora_name":"fresh"}`, http.StatusNotFound)
	if len(c.wrong) > 0 || c.equal+c.roundoff != 2 {
		t.Errorf("%d answers are equal, %d but for rounding, wrong are %q", c.equal, c.roundoff, c.wrong)
	}
}
