package bounds

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/rawjson"
)

// TestBoundsOfFields gives each field a value that is allowed at most, or common, and
// one beyond that.
func TestBoundsOfFields(t *testing.T) {
	b := New(Limits{Context: 1024, Grammar: 64 << 10, Fields: 64 << 10})
	list := func(n int, entry string) string {
		return "[" + strings.TrimSuffix(strings.Repeat(entry+",", n), ",") + "]"
	}
	quoted := func(n int) string { return `"` + strings.Repeat("x", n) + `"` }
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	example := `{"type":"function","function":{"name":"f","description":"as in {\"a\": [{\"b\": [1, {\"c\":","parameters":{"type":"object","properties":{"x":{"enum":["[[","{("]}}}}}`
	crossed := `{"type":"string","minLength":9,"maxLength":1}`
	for _, c := range []struct{ key, good, bad string }{
		{"repeat_last_n", "1024", "400000000"},
		{"repeat_last_n", "-1", "1e300"},
		{"dry_penalty_last_n", "0", "1025"},
		{"n_probs", "128", "1000000"},
		{"logprobs", "true", "129"},
		{"stop", `"x"`, list(257, `"x"`)},
		{"stop", list(4, `"x"`), quoted(70_000)},
		{"dry_sequence_breakers", list(64, `"x"`), list(10_000, `"x"`)},
		{"samplers", `["top_k","temperature"]`, list(10_000, `"penalties"`)},
		{"samplers", `"kfypmt"`, quoted(10_000)},
		{"logit_bias", `{"5":-100,"7":1}`, list(5000, "[5,1]")},
		{"logit_bias", `[["a",false]]`, `[[` + quoted(70_000) + `,1]]`},
		{"preserved_tokens", list(10, `"x"`), list(1000, `"x"`)},
		{"response_fields", list(10, `"x"`), list(1000, `"x"`)},
		{"message_delimiters", `[]`, list(1000, `{}`)},
		{"reasoning_budget_end_tags", `["</think>"]`, list(1000, `"x"`)},
		{"input", list(2048, `"x"`), list(2049, `"x"`)},
		{"documents", list(100, `"x"`), list(2049, `"x"`)},
		{"grammar_triggers", `[]`, `[{"type":2,"value":"(.*)*z"}]`},
		{"chat_parser", `""`, `"x"`},
		{"grammar", `"root ::= \"a\""`, `"root ::= \"a\"{3,1}"`},
		{"grammar", fmt.Sprintf("%q", "root ::= "+strings.Repeat(`":(" `, 130)),
			fmt.Sprintf("%q", `root ::= "`+strings.Repeat(")", 21000)+`" `+strings.Repeat("(", 21000))},
		{"grammar", `""`, `["root"]`},
		{"grammar", `null`, quoted(70_000)},
		{"json_schema", `{"enum":["[["]}`, crossed},
		{"response_format", `{"type":"json_object"}`, `{"type":"json_schema","json_schema":{"schema":` + crossed + `}}`},
		{"response_format", `{"type":"json_object","schema":{}}`, `{"type":"json_object","schema":` + crossed + `}`},
		{"tools", list(45, example), `[{"type":"function","function":{"name":"f","parameters":` + crossed + `}}]`},
		{"tools", `[{"name":"f","input_schema":{}}]`, `[{"name":"f","input_schema":` + crossed + `}]`},
		{"tools", `[{"type":"function","name":"f","parameters":null}]`,
			`[{"type":"function","name":"f","parameters":` + crossed + `}]`},
		{"tools", list(128, `{}`), list(600, `{}`)},
		{"messages", list(1024, `{"role":"user","content":"x"}`), list(1025, `{}`)},
		{"messages", deep(100), deep(200)},
		{"anything", deep(100), deep(200)},
		{"anything", quoted(60_000), quoted(70_000)},
		{"temperature", "1e300", strings.Repeat("9", 70_000)},
	} {
		for value, refused := range map[string]bool{c.good: false, c.bad: true} {
			body, err := rawjson.Parse([]byte(fmt.Sprintf(`{"model":"x",%q:%s}`, c.key, value)))
			if err != nil {
				t.Fatalf("%s: %v", c.key, err)
			}
			err = b.Check(body, "")
			var e *httpkit.Error
			if refused != (err != nil) || refused && (!errors.As(err, &e) || e.Status != 400 || !strings.HasPrefix(e.Param, c.key) ||
				!strings.Contains(e.Message, c.key)) {
				t.Errorf("%s: %.60s: %v", c.key, value, err)
			}
		}
	}
}

// TestSchemasAreNamed: an error of a schema has its path, and of a tool's the tool's name.
func TestSchemasAreNamed(t *testing.T) {
	b := New(Limits{Context: 1024, Grammar: 64 << 10, Fields: 64 << 10})
	const long = `{"type":"string","minLength":3000}`
	for body, want := range map[string][2]string{
		`{"tools":[{},{"function":{"name":"f","parameters":` + long + `}}]}`: {"tools[1].function.parameters", `of the tool "f", has a`},
		`{"tools":[{"name":"f","input_schema":` + long + `}]}`:               {"tools[0].input_schema", `of the tool "f", has a`},
		`{"response_format":{"json_schema":{"schema":` + long + `}}}`:        {"response_format.json_schema.schema", " has a"},
		`{"response_format":{"schema":` + long + `}}`:                        {"response_format.schema", " has a"},
	} {
		o, err := rawjson.Parse([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		var e *httpkit.Error
		if err := b.Check(o, ""); !errors.As(err, &e) || e.Param != want[0] || !strings.Contains(e.Message, want[0]) ||
			!strings.Contains(e.Message, want[1]) {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// TestValuesAreBounded counts what llama-server would build of a request, wherever it is.
func TestValuesAreBounded(t *testing.T) {
	b := New(Limits{Context: 8192, Grammar: 64 << 10, Fields: 64 << 10})
	list := func(n int, entry string) string {
		return "[" + strings.TrimSuffix(strings.Repeat(entry+",", n), ",") + "]"
	}
	call := `{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}`
	turn := `{"role":"assistant","content":null,"tool_calls":[` + call + `]}`
	for body, refused := range map[string]bool{
		`{"messages":[{"role":"assistant","tool_calls":` + list(20_000, call) + `}]}`:                 true,
		`{"messages":[{"role":"user","content":` + list(100_000, `{"type":"text","text":""}`) + `}]}`: true,
		`{"messages":[{"role":"user","content":"x","y":` + list(1_100_000, "1") + `}]}`:               true,
		`{"messages":` + list(5000, turn) + `}`:                                                       false,
		`{"functions":` + list(1_100_000, "1") + `}`:                                                  true,
		`{"functions":` + list(1_100_000, "1") + `,"functions":1}`:                                    true,
		`{"messages":[],"input":` + list(2, list(600_000, "1")) + `}`:                                 true,
		`{"prompt":` + list(1_100_000, "1") + `}`:                                                     false,
		`{"prompt":` + list(64, list(30_000, "1")) + `}`:                                              false,
		`{"prompt":[1,` + list(200_000, `""`) + `]}`:                                                  true,
		`{"prompt":[{},` + list(1_100_000, "1") + `]}`:                                                true,
		`{` + strings.Repeat(`"":1,`, 200_000) + `"a":1}`:                                             true,
	} {
		object, err := rawjson.Parse([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Check(object, "prompt"); refused != (err != nil) {
			t.Errorf("%.60s: %v", body, err)
		}
	}
}

// TestFieldsAreReadOnce, however many a body has, and of duplicates the last one counts.
func TestFieldsAreReadOnce(t *testing.T) {
	b := New(Limits{Context: 8192, Grammar: 64 << 10, Fields: 64 << 10})
	check := func(body string) error {
		object, err := rawjson.Parse([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		return b.Check(object, "")
	}
	var many strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&many, `"k%d":1,`, i)
	}
	began := time.Now()
	if err := check(`{` + many.String() + `"a":1}`); err == nil {
		t.Error("a hundred thousand fields are taken")
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("they took %s", took)
	}
	if err := check(`{"n_probs":1000,"a":1,"n_probs":1}`); err != nil {
		t.Errorf("the first of two counts: %v", err)
	}
	if err := check(`{"n_probs":1,"a":1,"n_probs":1000}`); err == nil {
		t.Error("the last of two does not count")
	}
}
