package anthropic

import (
	"encoding/json"
	"testing"

	"github.com/loragate/loragate/internal/rawjson"
)

// FuzzChat translates anything that is a JSON object: what is taken is one again,
// with messages.
func FuzzChat(f *testing.F) {
	for _, seed := range []string{
		`{"max_tokens":5,"messages":[{"role":"user","content":"Hi"}]}`,
		`{"max_tokens":5,"system":[{"type":"text","text":"x"}],"tools":[{"name":"f","input_schema":{}}],"tool_choice":{"type":"tool","name":"f"},"thinking":{"type":"enabled"},"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"1","name":"f","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":"x"},{"type":"image","source":{"type":"url","url":"u"}}]}]}`,
		`{"messages":null,"max_tokens":1}`,
		`{"max_tokens":5,"messages":[{}],"messages":[{"role":"user","content":null}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		o, err := rawjson.Parse(text)
		if err != nil {
			return
		}
		out, err := Chat(o)
		if err != nil {
			return
		}
		var chat struct{ Messages []map[string]any }
		if err := json.Unmarshal(out, &chat); err != nil || len(chat.Messages) == 0 {
			t.Fatalf("%s became %s: %v", text, out, err)
		}
	})
}
