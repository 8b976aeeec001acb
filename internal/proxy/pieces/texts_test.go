package pieces

import (
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/rawjson"
)

// TestSharedFieldsAreBounded is of what every piece of a request is sent with.
func TestSharedFieldsAreBounded(t *testing.T) {
	long := strings.Repeat("x", 600_000)
	for body, refused := range map[string]bool{
		`{"query":"x","documents":["` + long + `","y"]}`:  false,
		`{"query":"` + long + `","documents":["x","y"]}`:  true,
		`{"suffix":"` + long + `","input":["x","y"]}`:     true,
		`{"suffix":"` + long + `","suffix":"","input":1}`: true,
	} {
		object, err := rawjson.Parse([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		list := Texts{}
		if _, err := list.Bodies(object); refused != (err != nil) {
			t.Errorf("%.30s: %v", body, err)
		}
	}
}
