package dialect

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/loragate/loragate/internal/proxy/responses"
	"github.com/loragate/loragate/internal/proxy/sse"
	"github.com/loragate/loragate/internal/proxy/tally"
)

var apis = []*API{Chat, Text, Responses, Native, Messages, Infill}

// FuzzRewrite feeds a stream to one rewriter, which remembers what it saw, and
// each of its events to a new one: they must agree, and what was JSON stays JSON.
func FuzzRewrite(f *testing.F) {
	for _, seed := range []string{
		"data: {\"model\":\"x\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: " +
			"{\"model\":\"x\",\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\n\ndata: [DONE]\n\n",
		"event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"a\"}\n\nevent: " +
			"response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"model\":\"x\"}}\n\n",
		"data: {\"content\":\"a\",\"stop\":false}\n\ndata: {\"content\":\"\\\"\",\"stop\":false}\n\ndata: " +
			"{\"content\":\"\",\"stop\":true,\"timings\":{\"predicted_n\":2}}\n\n",
		"data: {\"prompt_progress\":{\"total\":9,\"cache\":4,\"processed\":4},\"model\":\"x\"}\n\ndata: " +
			"{\"model\":\"x\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n",
		"data: {\"error\":{\"code\":500}}\n\n", ": comment\n\n", "data: {\n\n", "data: x\ndata: {}\n\n",
		"data: {\"model\":1}\r\n\r\n",
	} {
		for i := range apis {
			f.Add(uint8(i), []byte(seed))
			f.Add(uint8(i+len(apis)), []byte(seed))
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, stream []byte) {
		api := apis[int(which)%len(apis)]
		progress := int(which)/len(apis)%2 == 1
		name := &Renamer{Model: `a "name"`, API: api, Responded: &responses.Asked{}}
		all := Rewriter{Renamer: name, Hides: progress, Tally: &tally.Tally{}}
		for _, event := range bytes.SplitAfter(stream, []byte("\n\n")) {
			if !bytes.HasSuffix(event, []byte("\n\n")) {
				continue
			}
			got, kind := all.Rewrite(event)
			if api.Messages || api.Responses || len(got) == 0 {
				continue // its events follow from those before, or this one is not for the client
			}
			fresh := Rewriter{Renamer: all.Renamer, Hides: progress, Tally: &tally.Tally{}}
			want, wantKind := fresh.Rewrite(event)
			if kind != wantKind || !bytes.Equal(got, want) {
				t.Fatalf("%q became %q (%d) in a stream and %q (%d) alone", event, got, kind, want, wantKind)
			}
			_, before, ok := sse.Data(bytes.TrimRight(event, "\r\n"))
			if _, after, still := sse.Data(bytes.TrimRight(got, "\r\n")); ok && json.Valid(before) && kind == Data &&
				!(still && json.Valid(after)) {
				t.Fatalf("%q became %q, which is no JSON", event, got)
			}
		}
	})
}
