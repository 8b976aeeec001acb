package dialect

import (
	"fmt"
	"testing"

	"github.com/loragate/loragate/internal/pool"
	"github.com/loragate/loragate/internal/proxy/responses"
	"github.com/loragate/loragate/internal/proxy/sse"
	"github.com/loragate/loragate/internal/proxy/tally"
	"github.com/loragate/loragate/internal/rawjson"
)

// TestRewriteAgreesWithItself compares the quick way, which later events of a
// stream take, with the careful one that the first takes.
func TestRewriteAgreesWithItself(t *testing.T) {
	const first = `data: {"choices":[{"delta":{"content":"x"}}],"model":"base","object":"chunk"}`
	like := func(text string) string {
		return `data: {"choices":[{"delta":{"content":"` + text + `"}}],"model":"base","object":"chunk"}`
	}
	events := []string{
		like("plain"), like(""), like(`\n\t`), like(`a \"quote\"`), like(`\\`), like(`x"}}],"model":"base","y":"`),
		`data: {"choices":[{"delta":{"content":"a \"model\":\"base\" b"}}],"model":"base"}`,
		`data: {"model":"base","choices":[{"delta":{"content":"\\"}}]}`,
		`data: {"choices":[],"model":"base","timings":{"cache_n":3,"prompt_n":4,"predicted_n":5}}`,
		`data: {"choices":[],"model":"base","usage":{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12}}`,
		`data: {"inner":{"model":"base"},"model":"base"}`,
		`data: {"choices":[],"model":"other"}`,
		`data: {"choices":[], "model" : "base"}`,
		`data: {"error":{"code":500,"message":"m"},"model":"base"}`,
		`data: [DONE]`,
		`data: not JSON "model":`,
		`: comment`,
	}
	for _, event := range events {
		event += "\n\n"
		r := &Renamer{Model: `my "own" name`, API: Chat}
		careful := Rewriter{Renamer: r, Tally: &tally.Tally{}}
		want, wantKind := careful.Rewrite([]byte(event))
		quick := Rewriter{Renamer: r, Tally: &tally.Tally{}}
		quick.Rewrite([]byte(first + "\n\n"))
		*quick.Tally = tally.Tally{}
		got, kind := quick.Rewrite([]byte(event))
		if string(got) != string(want) || kind != wantKind {
			t.Errorf("%s\n got  %q\n want %q", event, got, want)
		}
		if a, b := fmt.Sprint(quick.Tally.Usage()), fmt.Sprint(careful.Tally.Usage()); a != b {
			t.Errorf("%s counted as %s, want %s", event, a, b)
		}
	}
}

func BenchmarkRewrite(b *testing.B) {
	event := []byte(`data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":" word"}}],"created":1795000000,` +
		`"id":"chatcmpl-0123456789abcdefghijklmnopqrstuv","model":"base","system_fingerprint":"b11669","object":"chat.completion.chunk"}` + "\n\n")
	w := Rewriter{Renamer: &Renamer{Model: "coding", API: Chat}, Tally: &tally.Tally{}}
	b.ReportAllocs()
	for b.Loop() {
		w.Rewrite(event)
	}
	if _, ok := rawjson.Scan(event[len(sse.DataPrefix):]); !ok {
		b.Fatal("not JSON")
	}
}

// TestResponsesAgreeWithThemselves compares the quick way of texts with the careful one, which
// chunks go that differ in more than the text.
func TestResponsesAgreeWithThemselves(t *testing.T) {
	stream := func(differs bool) (out string) {
		w := Rewriter{Renamer: &Renamer{Model: "coding", API: Responses, Responded: &responses.Asked{}}, Tally: &tally.Tally{}}
		for i, delta := range []string{
			`"reasoning_content":"a"`, `"reasoning_content":"b \\"`, `"reasoning_content":"c"`, `"content":"d"`, `"content":"e"`,
			`"content":"\"f\""`, `"content":""`, `"content":"g"`,
			`"tool_calls":[{"index":0,"id":"x","type":"function","function":{"name":"n","arguments":"{"}}]`,
			`"tool_calls":[{"index":0,"function":{"arguments":"}"}}]`, `"tool_calls":[{"index":0,"function":{"arguments":"!"}}]`,
		} {
			more := ""
			if differs {
				more = fmt.Sprintf(`,"x":%d`, i)
			}
			got, _ := w.Rewrite([]byte(`data: {"choices":[{"delta":{` + delta + `}}],"created":7,"id":"chatcmpl-1"` + more + "}\n\n"))
			out += string(got)
		}
		got, kind := w.Rewrite([]byte("data: [DONE]\n\n"))
		if u := w.Tally.Usage(); kind != Done || u.Completion != 10 {
			t.Errorf("kind %d, %+v", kind, u)
		}
		return out + string(got)
	}
	if quick, careful := stream(false), stream(true); quick != careful {
		t.Errorf("got\n%s\nwant\n%s", quick, careful)
	}
}

func BenchmarkRespond(b *testing.B) {
	event := []byte(`data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":" word"}}],"created":1795000000,` +
		`"id":"chatcmpl-0123456789abcdefghijklmnopqrstuv","model":"base","system_fingerprint":"b11669","object":"chat.completion.chunk"}` + "\n\n")
	w := Rewriter{Renamer: &Renamer{Model: "coding", API: Responses, Responded: &responses.Asked{}}, Tally: &tally.Tally{}}
	b.ReportAllocs()
	for b.Loop() {
		w.Rewrite(event)
	}
}

// TestProgressIsCounted feeds the events that tell how much of a prompt has been
// read: they count, and are for clients that asked only.
func TestProgressIsCounted(t *testing.T) {
	const (
		begun = `data: {"choices":[{"delta":{"role":"assistant","content":null}}],"model":"base","prompt_progress":{"total":9,"cache":4,"processed":4,"time_ms":0}}` + "\n\n"
		done  = `data: {"choices":[{"delta":{"role":"assistant","content":null}}],"model":"base","prompt_progress":{"total":9,"cache":4,"processed":9,"time_ms":1}}` + "\n\n"
		text  = `data: {"choices":[{"delta":{"content":"a"}}],"model":"base"}` + "\n\n"
	)
	for _, ours := range []bool{true, false} {
		w := Rewriter{Renamer: &Renamer{Model: "base", API: Chat}, Hides: ours, Tally: &tally.Tally{}}
		for _, event := range []string{begun, done, text} {
			want := event
			if ours && event != text {
				want = ""
			}
			if got, kind := w.Rewrite([]byte(event)); string(got) != want || kind != Data {
				t.Errorf("ours %v: %q became %q", ours, event, got)
			}
		}
		if u := w.Tally.Usage(); u != (pool.Usage{Prompt: 9, Cached: 4, Completion: 1}) {
			t.Errorf("counted %+v", u)
		}
	}
}
