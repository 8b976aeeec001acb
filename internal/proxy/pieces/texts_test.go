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
		if _, _, err := list.Bodies(object); refused != (err != nil) {
			t.Errorf("%.30s: %v", body, err)
		}
	}
}

// TestOnlyTheListIsCut: another one is in each piece, and so is bounded as all that is.
func TestOnlyTheListIsCut(t *testing.T) {
	large := `"` + strings.Repeat("x", maxShared) + `"`
	texts := `["a"` + strings.Repeat(`,"b"`, maxGroup) + `]`
	for body, ranking := range map[string]bool{
		`{"input":` + texts + `,"content":` + large + `}`:     false,
		`{"input":` + texts + `,"documents":` + large + `}`:   false,
		`{"documents":` + texts + `,"texts":` + large + `}`:   true,
		`{"documents":` + texts + `,"content":` + large + `}`: true,
	} {
		object, err := rawjson.Parse([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		list := TextsOf(object, ranking)
		if n, _, err := list.Bodies(object); err == nil {
			t.Errorf("%.60s is cut into %d pieces", body, n)
		}
	}
	object, err := rawjson.Parse([]byte(`{"input":` + texts + `,"content":"c"}`))
	if err != nil {
		t.Fatal(err)
	}
	list := TextsOf(object, false)
	n, piece, err := list.Bodies(object)
	if err != nil || n != 2 || string(piece(1).Apply()) != `{"input":["b"],"content":"c"}` {
		t.Errorf("%d pieces, %v", n, err)
	}
}
