package rawjson

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func parse(t *testing.T, text string) Object {
	t.Helper()
	o, err := Parse([]byte(text))
	if err != nil {
		t.Fatalf("Parse(%s): %v", text, err)
	}
	return o
}

func TestApply(t *testing.T) {
	set := func(key, value string) Edit { return Edit{key, json.RawMessage(value)} }
	drop := func(key string) Edit { return Edit{Key: key} }
	tests := []struct {
		name, in string
		edits    []Edit
		want     string
	}{
		{"replace keeps the rest", `{ "z": 0, "model" : "a", "n":1e400, "z2":-0 }`, []Edit{set("model", `"b"`)},
			`{ "z": 0, "model" : "b", "n":1e400, "z2":-0 }`},
		{"append", `{"a":1}`, []Edit{set("b", `[2]`)}, `{"a":1,"b":[2]}`},
		{"append to empty", `{}`, []Edit{set("b", `2`)}, `{"b":2}`},
		{"append to empty with space", `{ }`, []Edit{set("b", `2`)}, `{"b":2 }`},
		{"drop first", `{"a":1,"b":2}`, []Edit{drop("a")}, `{"b":2}`},
		{"drop last", `{"a":1,"b":2}`, []Edit{drop("b")}, `{"a":1}`},
		{"drop only", `{"a":1}`, []Edit{drop("a")}, `{}`},
		{"drop all", `{"a":1, "b":2}`, []Edit{drop("a"), drop("b")}, `{}`},
		{"drop what is not there", `{"a":1}`, []Edit{drop("b")}, `{"a":1}`},
		{"duplicates become one", `{"m":1,"x":2,"m":3}`, []Edit{set("m", `9`)}, `{"m":9,"x":2}`},
		{"duplicates go", `{"m":1,"x":2,"m":3}`, []Edit{drop("m")}, `{"x":2}`},
		{"other duplicates stay", `{"x":1,"x":2}`, []Edit{set("m", `9`)}, `{"x":1,"x":2,"m":9}`},
		{"escaped key", `{"\u006dodel":"a"}`, []Edit{set("model", `"b"`)}, `{"\u006dodel":"b"}`},
		{"escapes in values", `{"a":"\\\"}{,","b":1}`, []Edit{set("b", `2`)}, `{"a":"\\\"}{,","b":2}`},
		{"nested key is another", `{"a":{"m":1},"m":2}`, []Edit{set("m", `3`)}, `{"a":{"m":1},"m":3}`},
		{"case counts", `{"Model":"a"}`, []Edit{set("model", `"b"`)}, `{"Model":"a","model":"b"}`},
		{"space around", " {\n\t\"a\" : [ 1 , 2 ] \n} ", []Edit{set("b", `2`)}, " {\n\t\"a\" : [ 1 , 2 ],\"b\":2 \n} "},
		{"no edits", `{"a":1}`, nil, `{"a":1}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(parse(t, tt.in).Apply(tt.edits...)); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestLastDuplicateCounts(t *testing.T) {
	var model string
	if ok, err := parse(t, `{"model":"a","model":"b"}`).Decode("model", &model); !ok || err != nil || model != "b" {
		t.Errorf("got %q, %v, %v; llama-server takes the last one", model, ok, err)
	}
}

func TestInner(t *testing.T) {
	o, err := Parse([]byte(`{"a":{"b":1},"c":[{}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if inner, ok := o.Inner("a"); !ok || len(inner.Keys()) != 1 {
		t.Errorf("%v, %v", inner, ok)
	}
	for _, key := range []string{"b", "c"} {
		if inner, ok := o.Inner(key); ok || !inner.Empty() {
			t.Errorf("%s: %v", key, inner)
		}
	}
}

func TestDecode(t *testing.T) {
	o := parse(t, `{"s":"x","null":null,"n":1}`)
	var s string
	if ok, err := o.Decode("null", &s); ok || err != nil {
		t.Errorf("null: %v, %v; want as if missing", ok, err)
	}
	if ok, err := o.Decode("none", &s); ok || err != nil {
		t.Errorf("missing: %v, %v", ok, err)
	}
	if ok, err := o.Decode("n", &s); !ok || err == nil {
		t.Errorf("number as string: %v, %v; want an error", ok, err)
	}
}

// TestDecodeIsUnmarshal holds the short ways of Decode against the decoder.
func TestDecodeIsUnmarshal(t *testing.T) {
	for _, value := range []string{`"x"`, `""`, `"a b~"`, `"a\u0041\""`, `"\\"`, `"é"`, "\"\xff\"", "\"\x7f\"", `true`,
		`false`, `1`, `{}`, `["x"]`} {
		o, ok := Scan([]byte(`{"v":` + value + `}`))
		if !ok {
			t.Fatal(value)
		}
		text, wantText := "before", "before"
		_, err := o.Decode("v", &text)
		if wantErr := json.Unmarshal([]byte(value), &wantText); text != wantText || (err == nil) != (wantErr == nil) {
			t.Errorf("%s is %q, %v; want %q, %v", value, text, err, wantText, wantErr)
		}
		yes, wantYes := true, true
		_, err = o.Decode("v", &yes)
		if wantErr := json.Unmarshal([]byte(value), &wantYes); yes != wantYes || (err == nil) != (wantErr == nil) {
			t.Errorf("%s is %t, %v; want %t, %v", value, yes, err, wantYes, wantErr)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{``, `{`, `{"a":}`, `{"a":1,}`, `{"a":1}x`, "\xff", `{'a':1}`, `{"a":NaN}`} {
		if _, err := Parse([]byte(text)); err == nil || errors.Is(err, ErrNotObject) {
			t.Errorf("Parse(%q) = %v, want a syntax error", text, err)
		}
	}
	for _, text := range []string{`[]`, `1`, `null`, `"x"`, ` [{}] `} {
		if _, err := Parse([]byte(text)); !errors.Is(err, ErrNotObject) {
			t.Errorf("Parse(%q) = %v, want ErrNotObject", text, err)
		}
	}
	deep := strings.Repeat("[", 1_000_000)
	if _, err := Parse([]byte(`{"a":` + deep)); err == nil {
		t.Error("a million open brackets pass")
	}
}

// FuzzApply compares edits of the text with edits of the decoded object.
func FuzzApply(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"model":"a"}`, `{"a":1,"model":"x","model":[{"b":"}"}]}`, ` { "m\u006fdel" : null , "z":"\\" } `,
		`{"":0}`, `{"a":{"model":1}}`, `[1]`, `{"a"`, `{"a":1 "b":2}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		Scan(text) // must not panic, whatever it is
		o, err := Parse(text)
		if err != nil {
			return
		}
		var want map[string]any
		if err := json.Unmarshal(text, &want); err != nil {
			t.Skip() // a number that Go cannot hold
		}
		want["model"], want["lora"] = "b", float64(1)
		delete(want, "id_slot")
		out := o.Apply(Edit{"model", []byte(`"b"`)}, Edit{"lora", []byte(`1`)}, Edit{Key: "id_slot"})
		var got map[string]any
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("%s became %s: %v", text, out, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%s became %s", text, out)
		}
		again, err := Parse(out)
		if err != nil {
			t.Fatal(err)
		}
		count := 0
		for i := range again.members {
			if again.is(&again.members[i], "model") {
				count++
			}
		}
		if count != 1 {
			t.Fatalf("%d times \"model\" in %s", count, out)
		}
	})
}

func TestMembers(t *testing.T) {
	o := parse(t, `{"a":1,"\u0062c":[2],"a":null}`)
	var keys, values []string
	for key, raw := range o.Members() {
		keys, values = append(keys, string(key)), append(values, string(raw))
	}
	if got := strings.Join(keys, " ") + ": " + strings.Join(values, " "); got != "a bc a: 1 [2] null" {
		t.Error(got)
	}
	for range o.Members() {
		break
	}
}
