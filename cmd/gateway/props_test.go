package main

import (
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"testing"

	"github.com/loragate/loragate/internal/llamatest"
)

// TestProps compares with a llama-server of its own what its clients look up.
func TestProps(t *testing.T) {
	t.Parallel()
	g := serve(t, realConfig(t, 2, 2))
	var want map[string]any
	llamatest.StartPlain(t, "--model", llamatest.Base(), "--parallel", "2", "--ctx-size", "2048").Must(t, "GET", "/props",
		nil, &want)
	told := func(path string) (got map[string]any) {
		t.Helper()
		resp, text, err := g.as("", "GET", path, "")
		if err != nil || resp.StatusCode != http.StatusOK || json.Unmarshal([]byte(text), &got) != nil {
			t.Fatalf("%s: %v %s", path, err, text)
		}
		return got
	}
	got := told("/props")
	for key, value := range map[string]any{
		"model_alias": "demo", "model_path": "demo", "total_slots": 4.0, "ui": false, "endpoint_slots": false,
		"endpoint_metrics": false,
	} {
		if got[key] != value {
			t.Errorf("%s is %v, want %v", key, got[key], value)
		}
		delete(want, key)
		delete(got, key)
	}
	delete(want, "media_marker") // each makes up its own
	settings := func(props map[string]any) map[string]any {
		return props["default_generation_settings"].(map[string]any)
	}
	delete(settings(got)["params"].(map[string]any), "lora") // of the adapters
	delete(settings(want)["params"].(map[string]any), "lora")
	for key := range maps.Keys(want) {
		if !reflect.DeepEqual(got[key], want[key]) {
			t.Errorf("%s is %v, want %v", key, got[key], want[key])
		}
	}
	if got := told("/props?model=coding"); got["model_alias"] != "coding" {
		t.Errorf("asked for coding it tells of %v", got["model_alias"])
	}
	if resp, text, err := g.as("", "GET", "/props?model=nope", ""); err != nil || resp.StatusCode != 404 {
		t.Errorf("%v %s", err, text)
	}
	if a, b := told("/props")["media_marker"], told("/props")["media_marker"]; a == nil || a != b {
		t.Errorf("pictures have the markers %v and %v", a, b)
	}
}
