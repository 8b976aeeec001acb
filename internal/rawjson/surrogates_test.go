package rawjson

import (
	"encoding/json"
	"testing"
)

// TestMendSurrogates: halves that stand alone are replaced, in texts and keys; all else stays.
func TestMendSurrogates(t *testing.T) {
	for text, want := range map[string]string{
		`"Hi \ud83d"`:            `"Hi \ufffd"`,
		`"\uDC00 x"`:             `"\ufffd x"`,
		`"\ud83d\ude00"`:         `"\ud83d\ude00"`,
		`"\ud83d\ud83d\ude00"`:   `"\ufffd\ud83d\ude00"`,
		`"\ud83d\n\ude00"`:       `"\ufffd\n\ufffd"`,
		`"\\ud83d"`:              `"\\ud83d"`,
		`"\\\ud83d"`:             `"\\\ufffd"`,
		`{"\ud83d":["\udfff"]}`:  `{"\ufffd":["\ufffd"]}`,
		`"\u00e9\ud7ff\ue000"`:   `"\u00e9\ud7ff\ue000"`,
		`"\ud83`:                 `"\ud83`,
		`"\`:                     `"\`,
		`"\ud83d`:                `"\ufffd`,
		`"\ud83d\u"`:             `"\ufffd\u"`,
		`"\ud83d\`:               `"\ufffd\`,
		`"plain \n \" \u0041 \"`: `"plain \n \" \u0041 \"`,
	} {
		got := []byte(text)
		MendSurrogates(got)
		if string(got) != want {
			t.Errorf("%s became %s, not %s", text, got, want)
		}
		if json.Valid([]byte(text)) != json.Valid(got) {
			t.Errorf("%s became %s", text, got)
		}
	}
}
