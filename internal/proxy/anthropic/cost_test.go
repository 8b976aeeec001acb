package anthropic

import (
	"runtime"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/rawjson"
)

// TestCostIsThatOfTheBytes translates bodies of many turns and of deep ones: what they take is
// in proportion to their length.
func TestCostIsThatOfTheBytes(t *testing.T) {
	const many, deep = 4000, 1600
	long := strings.Repeat("x", 256<<10)
	nested := func(open, end string) string {
		return `{"messages":[{"role":"user","content":[{"type":"text","text":"Hi","content":` +
			strings.Repeat(open, deep) + `"` + long + `"` + strings.Repeat(end, deep) + `}]}]}`
	}
	for what, body := range map[string]string{
		"turns": `{"messages":[{"role":"user","content":"` + long + `"}` +
			strings.Repeat(`,{"role":"user","content":"y"}`, many) + `]}`,
		"thoughts": `{"messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"` + long + `"}` +
			strings.Repeat(`,{"type":"thinking","thinking":"y"}`, many) + `]}]}`,
		"contents": nested(`[{"type":"text","text":"","content":`, `}]`),
		"sources":  nested(`[{"type":"document","source":{"type":"content","content":`, `}}]`),
	} {
		t.Run(what, func(t *testing.T) {
			o, err := rawjson.Parse([]byte(body))
			if err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err = Chat(o)
			runtime.ReadMemStats(&after)
			if err != nil {
				t.Error(err)
			}
			if took, most := after.TotalAlloc-before.TotalAlloc, 64*uint64(len(body)); took > most {
				t.Errorf("%d bytes of a body took %d bytes, more than %d", len(body), took, most)
			}
		})
	}
}

// TestTurnsWithoutWords add nothing to the turns beside them.
func TestTurnsWithoutWords(t *testing.T) {
	for body, want := range map[string]string{
		`{"max_tokens":1,"messages":[{"role":"user","content":""},{"role":"user","content":"a"},` +
			`{"role":"user","content":""}]}`: `` +
			`{"max_tokens":1,"messages":[{"role":"user","content":"a"}]}`,
		`{"max_tokens":1,"messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"t"}]},` +
			`{"role":"assistant","content":"a"}]}`: `` +
			`{"max_tokens":1,"messages":[{"role":"assistant","content":"a","reasoning_content":"t"}]}`,
		`{"max_tokens":1,"messages":[{"role":"user","content":""}]}`: `` +
			`{"max_tokens":1,"messages":[{"role":"user","content":""}]}`,
	} {
		o, err := rawjson.Parse([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Chat(o); err != nil || string(got) != want {
			t.Errorf("%s became %s, %v", body, got, err)
		}
	}
}
