package rawjson

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestWalk(t *testing.T) {
	for text, want := range map[string]string{
		`{"a":1,"b":["x",{"c":null}],"d":{}}`: `{ k"a" 1 k"b" [ "x" { k"c" null } ] k"d" { } }`,
		` [ true , "a:b,]" , [[]] ] `:         `[ true "a:b,]" [ [ ] ] ]`,
		`"\"{"`:                               `"\"{"`, `5`: `5`, `{"a\"b" : {"a":"b"}}`: `{ k"a\"b" { k"a" "b" } }`,
	} {
		var got []string
		Walk([]byte(text), func(tok Token) bool {
			piece := string(tok.Raw)
			if tok.Kind == Key {
				piece = "k" + piece
			}
			got = append(got, piece)
			return true
		})
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q", text, got)
		}
	}
	seen := 0
	Walk([]byte("[1,2,3]"), func(Token) bool { seen++; return seen < 2 })
	if seen != 2 {
		t.Error(seen)
	}
}

func TestEach(t *testing.T) {
	for text, want := range map[string]string{`[1, "a,b" ,{"x":[1,2]}]`: `1|"a,b"|{"x":[1,2]}`, `[]`: "", ` [ ] `: "",
		`[ [] ]`: "[]"} {
		var got []string
		ok := Each([]byte(text), func(element, rest []byte) bool {
			got = append(got, string(element))
			return true
		})
		if !ok || strings.Join(got, "|") != want {
			t.Errorf("%s: %q, %t", text, got, ok)
		}
	}
	if Each([]byte(`{"a":1}`), func(_, _ []byte) bool { t.Error("an element of an object"); return true }) {
		t.Error("an object is an array")
	}
}

// FuzzStringBytes holds the count below what a decoder finds.
func FuzzStringBytes(f *testing.F) {
	for _, text := range []string{`"a b"`, `"\u0020\u000a\u0041\n\\"`, `"\ud83d\ude00é"`, `"\u00e9"`, `""`, `"\u002"`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var decoded string
		if !strings.HasPrefix(text, `"`) || !strings.HasSuffix(text, `"`) || json.Unmarshal([]byte(text), &decoded) != nil {
			return
		}
		n := len(strings.Map(func(r rune) rune {
			if strings.ContainsRune(" \t\r\n\f", r) {
				return -1
			}
			return r
		}, decoded))
		if got := StringBytes([]byte(text)); got > n {
			t.Errorf("%s has %d bytes, %d were counted", text, n, got)
		}
	})
}

func TestText(t *testing.T) {
	for raw, want := range map[string]string{`"a b"`: "a b", `"\u0041\n\""`: "A\n\"", `""`: "", `5`: "", `null`: "",
		`["a"]`: "", "": ""} {
		if got := Text([]byte(raw)); got != want {
			t.Errorf("%s: %q, want %q", raw, got, want)
		}
	}
}
