package dialect

import (
	"testing"

	"github.com/loragate/loragate/internal/rawjson"
)

// TestFormatOfResponses: the Responses API has the schema of an answer in another
// place than llama-server looks for it.
func TestFormatOfResponses(t *testing.T) {
	for body, want := range map[string]string{
		`{"input":"x"}`:                                      `{"input":"x"}`,
		`{"text":null,"input":"x"}`:                          `{"text":null,"input":"x"}`,
		`{"text":{"verbosity":"low"}}`:                       `{"text":{"verbosity":"low"}}`,
		`{"text":{"format":{"type":"text"}}}`:                `{"text":{"format":{"type":"text"}},"response_format":{"type":"text"}}`,
		`{"text":{"format":{"type":"json_object"}},"a":0.0}`: `{"text":{"format":{"type":"json_object"}},"a":0.0,"response_format":{"type":"json_object"}}`,
		`{"text":{"format":{"type":"json_schema","name":"n","schema":{"b":1.0}}}}`: `{"text":{"format":{"type":"json_schema","name":"n","schema":{"b":1.0}}},` +
			`"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"b":1.0}}}}`,
	} {
		object, err := rawjson.Parse([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Responses.Translate(object); err != nil || string(got.Apply()) != want {
			t.Errorf("%s became %s, %v", body, got.Apply(), err)
		}
	}
	object, _ := rawjson.Parse([]byte(`{"text":"x"}`))
	if _, err := Responses.Translate(object); err == nil {
		t.Error("a text that is no object is accepted")
	}
}
