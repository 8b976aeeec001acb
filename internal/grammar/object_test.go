package grammar

import (
	"testing"

	"github.com/loragate/loragate/internal/rawjson"
)

// TestFieldsStandOnce: of a key that stands twice the last value counts, in the first one's place.
func TestFieldsStandOnce(t *testing.T) {
	o, ok := rawjson.Scan([]byte(`{"a":1,"b":2,"a":3,"c":4}`))
	if !ok {
		t.Fatal("it is an object")
	}
	got := ""
	for _, f := range fieldsOf(o) {
		got += f.key + string(f.value) + " "
	}
	if want := "a3 b2 c4 "; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
