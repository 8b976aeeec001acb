package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/llamatest"
)

// varying are fields of events that differ from one request to the next, or by which slot
// and server had it.
var varying = []string{"id", "id_slot", "created", "model", "generation_settings", "time_ms"}

// plain takes out what varies.
func plain(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for _, key := range varying {
			delete(v, key)
		}
		for key := range v {
			v[key] = plain(v[key])
			if key == "timings" {
				v[key] = "told"
			}
		}
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
	}
	return value
}

// byChoice sorts a stream's events by the choice that they are of, and returns what it
// ends with and how many ids it has.
func byChoice(t *testing.T, text string) (choices map[float64][]any, done bool, ids int) {
	t.Helper()
	choices = map[float64][]any{}
	seen := map[any]bool{}
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok || data == "null" { // which llama-server begins with
			continue
		}
		if done {
			t.Errorf("after the end: %s", data)
		}
		if done = data == "[DONE]"; done {
			continue
		}
		var event map[string]any
		if err := json.Unmarshal([]byte(data), &event); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		if id, ok := event["id"]; ok {
			seen[id] = true
		}
		index, _ := event["index"].(float64)
		if list, ok := event["choices"].([]any); ok && len(list) == 1 {
			index = list[0].(map[string]any)["index"].(float64)
		}
		choices[index] = append(choices[index], plain(event))
	}
	return choices, done, len(seen)
}

// TestStreamedPromptsAreLlamaServersOwn compares the streams of several prompts, which run
// one by one, with those of a llama-server that gets them all: each choice has the same
// events in the same order.
func TestStreamedPromptsAreLlamaServersOwn(t *testing.T) {
	t.Parallel()
	g := serve(t, realConfig(t, 1, 4))
	adapter := llamatest.Adapters()["coding"]
	bare := llamatest.Start(t, []string{adapter}, "--parallel", "4", "--ctx-size", "4096", "--cache-ram", "0",
		"--threads", "1")
	for _, c := range []struct{ path, body string }{
		{"/v1/completions", `"prompt":["Once upon","The",[5,6,7],["a",9]],"max_tokens":7`},
		{"/v1/completions", `"prompt":["Once upon","The"],"max_tokens":6,"n_probs":1`},
		{"/v1/completions", `"prompt":["Once upon","The"],"max_tokens":6,"verbose":true,"return_progress":true`},
		{"/v1/completions", `"prompt":["Once upon","The"],"max_tokens":5,"n":2`},
		{"/v1/completions", `"prompt":["Once upon","The"],"max_tokens":40,"stop":["e"]`},
		{"/completion", `"prompt":["Once upon","The",[5,6]],"n_predict":6,"return_tokens":true`},
		{"/completion", `"prompt":["Once upon","The"],"n_predict":4,"n_cmpl":2`},
		{"/completion", `"prompt":["Once upon","The"],"n_predict":4,"response_fields":["content","index"]`},
		{"/completion", `"prompt":"Once upon","n_predict":4,"response_fields":["tokens_predicted"],"timings_per_token":true`},
	} {
		fields := c.body + `,"temperature":0,"cache_prompt":false,"stream":true`
		slot := `,"id_slot":0` // runs them one by one, as the gateway does
		if strings.Contains(c.body, `"n`) && !strings.Contains(c.body, `"n_predict":6`) {
			slot = ""
		}
		status, text := g.post(c.path, `{"model":"coding",`+fields+`}`)
		_, want, err := bare.Do("POST", c.path, json.RawMessage(`{"lora":[{"id":0,"scale":1}],`+fields+slot+`}`))
		if err != nil || status != http.StatusOK {
			t.Fatalf("%s: %d %s, %v", c.body, status, text, err)
		}
		got, done, ids := byChoice(t, text)
		wanted, ends, _ := byChoice(t, string(want))
		if !reflect.DeepEqual(got, wanted) || done != ends || ids > 1 {
			t.Errorf("%s %s\n got %s (%d ids)\nwant %s", c.path, c.body, text, ids, want)
		}
	}
}

// TestWhoLeavesStreamedPromptsStopsTheWork leaves 60 prompts at the first event of the
// second: llama-server, which would go on with all, has generated for no third.
func TestWhoLeavesStreamedPromptsStopsTheWork(t *testing.T) {
	t.Parallel()
	g := serve(t, realConfig(t, 1, 4))
	url := g.adminURL()
	before := g.metric(url, `llamacpp:tokens_predicted_total{worker="0"}`)
	const prompts, each = 60, 30
	body := fmt.Sprintf(`{"model":"coding","stream":true,"max_tokens":%d,"ignore_eos":true,"prompt":["Hi"%s]}`, each,
		strings.Repeat(`,"Hi there"`, prompts-1))
	llamatest.LeaveAt(t, g.url+"/v1/completions", body, `"index":1`)
	g.settles(url)
	if made := g.metric(url, `llamacpp:tokens_predicted_total{worker="0"}`) - before; made < each || made > 10*each {
		t.Errorf("%d tokens were generated, of %d prompts with %d each", made, prompts, each)
	}
}
