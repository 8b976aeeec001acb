package dialect

import (
	"fmt"
	"strings"
	"testing"

	"github.com/loragate/loragate/internal/proxy/tally"
)

const unparsedEvent = `data: {"error":{"code":500,"type":"server_error",` +
	`"message":"The model produced output that does not match the expected peg-native format"}}` + "\n\n"

// chunk is an event of a choice.
func chunk(id string, index int, delta, finish string) string {
	return fmt.Sprintf(`data: {"choices":[{"finish_reason":%s,"index":%d,"delta":%s}],"id":"%s","model":"m"}`+"\n\n",
		finish, index, delta, id)
}

// rewritten is what a client gets of the events of two streams, where the second takes over from
// one that could not be taken apart, and the kind of the last one.
func rewritten(w *Rewriter, events ...string) (out string, last Kind) {
	var all strings.Builder
	for _, event := range events {
		var text []byte
		text, last = w.Rewrite([]byte(event))
		all.Write(text)
	}
	return all.String(), last
}

// TestChoicesThatAreToldAgain has a stream of two choices begin anew when one of them is no call:
// what the client has of each goes on, a call stands if it was told whole, and is text if not.
func TestChoicesThatAreToldAgain(t *testing.T) {
	const call = `{"tool_calls":[{"index":0,"id":"c","type":"function","function":{"name":"w","arguments":"{}"}}]}`
	role := `{"role":"assistant","content":null}`
	text := func(s string) string { return fmt.Sprintf(`{"content":%q}`, s) }
	first := []string{
		chunk("a", 0, role, "null"), chunk("a", 0, text("one"), "null"), chunk("a", 1, role, "null"),
		chunk("a", 1, text("two"), "null"), chunk("a", 0, call, "null"),
	}
	second := []string{
		chunk("b", 1, role, "null"), chunk("b", 1, text("tw"), "null"), chunk("b", 0, role, "null"),
		chunk("b", 0, text("one"), "null"), chunk("b", 0, text("{w}"), "null"), chunk("b", 1, text("o!"), "null"),
		chunk("b", 1, `{}`, `"stop"`), chunk("b", 0, `{}`, `"length"`),
		`data: {"choices":[],"id":"b","usage":{"total_tokens":5}}` + "\n\n", "data: [DONE]\n\n",
	}
	for name, c := range map[string]struct {
		more []string // of the first stream
		want string
	}{
		"a call that was begun": {nil, chunk("a", 0, text("{w}"), "null") + chunk("a", 1, text("!"), "null") +
			chunk("a", 1, `{}`, `"stop"`) + chunk("a", 0, `{}`, `"length"`)},
		"a call that stands": {[]string{chunk("a", 0, `{}`, `"tool_calls"`)}, chunk("a", 0, call, "null") +
			chunk("a", 0, `{}`, `"tool_calls"`) + chunk("a", 1, text("!"), "null") + chunk("a", 1, `{}`, `"stop"`)},
	} {
		w := &Rewriter{Renamer: &Renamer{Model: "m", API: Chat}, Tally: &tally.Tally{Choices: 2}, Keeps: true}
		begun, _ := rewritten(w, first...)
		if want := strings.Join(first[:4], ""); begun != want {
			t.Errorf("%s: the first stream is\n%s\nwant\n%s", name, begun, want)
		}
		out, kind := rewritten(w, append(c.more, unparsedEvent)...)
		if kind != Unparsed {
			t.Fatalf("%s: the end is %d %s", name, kind, out)
		}
		rest, kind := rewritten(w, second...)
		want := c.want + strings.Replace(second[8], `"b"`, `"a"`, 1) + second[9]
		if kind != Done || out+rest != want {
			t.Errorf("%s: %d\n%s\nwant\n%s", name, kind, out+rest, want)
		}
	}
}
