package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/adminapi"
	"github.com/loragate/loragate/internal/llamatest"
)

// TestCompositions asks for sums, named and not, beside their parts.
func TestCompositions(t *testing.T) {
	t.Parallel()
	config, _ := liveConfig(t, 1, "")
	g := serve(t, config+`
compositions:
  - {name: support, aliases: [help], parts: [{adapter: chat, scale: 0.7}, {adapter: legal, scale: 0.3}]}
`)
	client, files := g.admins(), llamatest.Variants(t, 3) // whose answers change with every scale
	for i, name := range []string{"chat", "legal", "coding"} {
		if _, err := client.Put(t.Context(), name, adminapi.PutRequest{Source: files[i]}, true); err != nil {
			t.Fatal(err)
		}
	}
	type part struct {
		ID    int     `json:"id"`
		Scale float64 `json:"scale"`
	}
	ref := llamatest.Start(t, files, "--parallel", "1", "--ctx-size", "512", "--cache-ram", "0")
	cases := map[string][]part{
		"support": {{0, .7}, {1, .3}}, "help": {{0, .7}, {1, .3}}, "legal@0.3+chat@0.7": {{0, .7}, {1, .3}},
		"coding": {{2, 1}}, "coding@0.8": {{2, .8}}, "coding@0.7+chat@0.3": {{2, .7}, {0, .3}}, "coding@0": {},
		"coding+legal": {{2, 1}, {1, 1}}, "chat@-1.5": {{0, -1.5}}, "demo": {},
	}
	answers := map[string]bool{}
	for range 2 { // the second round meets the first one's KV
		for _, model := range slices.Sorted(maps.Keys(cases)) {
			lora := []part{{0, 0}, {1, 0}, {2, 0}}
			for _, p := range cases[model] {
				lora[p.ID] = p
			}
			var want answerText
			ref.Must(t, "POST", chatPath, map[string]any{
				"messages":   []map[string]string{{"role": "user", "content": sharedQuestions[0]}},
				"max_tokens": answerTokens, "temperature": 0, "cache_prompt": false, "lora": lora,
			}, &want)
			got, err := trial{model: model, prompt: sharedQuestions[0], chat: true}.ask(g)
			if err != nil || got != want.text() {
				t.Errorf("%s: %q, %v; want %q", model, got, err, want.text())
			}
			answers[got] = true
		}
	}
	if len(answers) != 7 {
		t.Errorf("%d different answers, want 7: one for each different sum", len(answers))
	}
	for model, status := range map[string]int{
		"coding@": 400, "coding@x": 400, "coding@0.5+nobody@1": 404, "support@0.5": 400, "@0.5": 400, "demo@0.5": 400,
	} {
		if got, text := g.post(chatPath, chat(model, "Hi", "")); got != status {
			t.Errorf("%s: %d %s, want %d", model, got, text, status)
		}
	}
}

// TestConfigurationIsReloaded changes the file of a running gateway.
func TestConfigurationIsReloaded(t *testing.T) {
	t.Parallel()
	files := llamatest.Variants(t, 2)
	config := fakeConfig(t, 1, "")
	file := write(t, config)
	g := run(t, "serve", "--config", file)
	g.url, _ = g.says("ready")["url"].(string)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	edit := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	serves := func(want map[string]int) {
		t.Helper()
		for model, status := range want {
			if got, text := g.post(chatPath, chat(model, "Hi", "")); got != status {
				t.Errorf("%s: %d %s, want %d", model, got, text, status)
			}
		}
	}
	inList := func(entries string) string {
		return strings.Replace(config, "adapters: {", "adapters: {list: ["+entries+"], ", 1)
	}
	awaits := func(model string) {
		t.Helper()
		g.wait(model+" added", func(l map[string]any) bool { return l["msg"] == "adapter added" && l["name"] == model })
	}
	first := fmt.Sprintf("{name: mine, path: %s, aliases: [other]}", files[0])
	edit(inList(first))
	change := g.says("the configuration has changed")
	if text := fmt.Sprint(change["changes"]); !strings.Contains(text, "mine") {
		t.Errorf("the change is logged as %s", text)
	}
	awaits("mine")
	serves(map[string]int{"mine": 200, "other": 200, "coding": 200})

	// One good and one bad entry: neither is taken.
	edit(inList(first + fmt.Sprintf(", {name: second, path: %s}, {name: coding, path: %s}", files[1], files[1])))
	refusal := g.says("the configuration is refused, the one before stays in force")
	if text := fmt.Sprint(refusal["error"]); !strings.Contains(text, `"coding" is taken`) {
		t.Errorf("refused with %s", text)
	}
	serves(map[string]int{"mine": 200, "other": 200, "second": 404, "coding": 200})

	edit(inList(fmt.Sprintf("{name: second, path: %s}", files[1])))
	awaits("second")
	serves(map[string]int{"mine": 404, "other": 404, "second": 200, "coding": 200})
}

// TestMoreAdaptersThanFit asks for 200 adapters, some of them often and most
// rarely, of two workers that hold 16 each.
func TestMoreAdaptersThanFit(t *testing.T) {
	t.Parallel()
	const adapters, requests, clients, most = 200, 400, 8, 16
	config, dir := liveConfig(t, 2, fmt.Sprintf(", max_loaded: %d", most))
	files := llamatest.Variants(t, adapters)
	names := make([]string, adapters)
	for i, file := range files {
		names[i] = strings.TrimSuffix(filepath.Base(file), ".gguf")
		if err := os.Symlink(file, filepath.Join(dir, filepath.Base(file))); err != nil {
			t.Fatal(err)
		}
	}
	g := serve(t, config)
	ref := llamatest.NewCrowd(t, files)
	zipf := rand.NewZipf(rand.New(rand.NewPCG(11, 12)), 1.2, 1, adapters-1)
	trace := make([]int, requests)
	for i := range trace {
		trace[i] = int(zipf.Uint64())
	}
	var c tally
	each(clients, requests, func(i int) {
		tr := trial{model: names[trace[i]], file: files[trace[i]], prompt: sharedQuestions[i%3], chat: true, stream: i%2 == 0}
		got, err := tr.ask(g)
		c.count(tr, tr.want(ref), got, err)
	})
	c.report(t)
	url := g.adminURL()
	hits, misses := g.metric(url, `loragate_adapter_requests_total{loaded="hit"}`),
		g.metric(url, `loragate_adapter_requests_total{loaded="miss"}`)
	reloads := g.metric(url, "loragate_reloads_total")
	t.Logf("%d requests for %d adapters: %d hits, %d misses (hit rate %.0f %%), %d reloads",
		requests, adapters, hits, misses, 100*float64(hits)/float64(hits+misses), reloads)
	if hits+misses != requests || misses == 0 || reloads == 0 || reloads > misses {
		t.Errorf("%d hits, %d misses, %d reloads of %d requests: the trace tests nothing, or they are miscounted", hits,
			misses, reloads, requests)
	}
	state, err := adminState(g.adminURL())
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range state.Workers {
		if len(w.Loaded) > most {
			t.Errorf("worker %d has loaded %d adapters, and may %d", w.ID, len(w.Loaded), most)
		}
	}
}
