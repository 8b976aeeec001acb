package rawjson

import "testing"

// TestUnmarshalTakesKeysAsTheyAre: encoding/json's takes them in any letters.
func TestUnmarshalTakesKeysAsTheyAre(t *testing.T) {
	for _, text := range []string{`{"Source":"x"}`, `{"SOURCE":"x"}`, `{"ſource":"x"}`} {
		var v struct {
			Source string `json:"source"`
		}
		if err := Unmarshal([]byte(text), &v); err != nil || v.Source != "" {
			t.Errorf("%s: %q, %v", text, v.Source, err)
		}
	}
	var v struct {
		Source string `json:"source"`
	}
	if err := Unmarshal([]byte(`{"source":"x","source":"y"}`), &v); err == nil {
		t.Error("a key that stands twice is taken")
	}
	if err := Unmarshal([]byte(`{"source":"x","other":[1]}`), &v); err != nil || v.Source != "x" {
		t.Errorf("%q, %v", v.Source, err)
	}
}
