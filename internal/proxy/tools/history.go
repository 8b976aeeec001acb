package tools

import (
	"bytes"
	"fmt"

	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/rawjson"
)

// history returns the messages of a chat with its calls of functions as calls of tools, and the
// functions' answers as those of tools; nil is that there are none.
func history(body rawjson.Object) ([]byte, error) {
	raw, _ := body.Raw("messages")
	if !bytes.Contains(raw, []byte(`"function`)) || len(raw) == 0 || raw[0] != '[' {
		return nil, nil
	}
	messages, err := elements(raw, maxMessages, "messages")
	if err != nil {
		return nil, err
	}
	var all [][]byte
	changed := false
	last := "" // the id of the call that has no answer yet
	for i, one := range messages {
		o, ok := rawjson.Scan(one)
		if !ok || !bytes.Contains(one, []byte(`"function`)) {
			all = append(all, one)
			continue
		}
		if role, _ := o.Raw("role"); string(role) == `"function"` {
			if last == "" {
				last = callID(i)
			}
			one = o.Apply(rawjson.Edit{Key: "role", Value: []byte(`"tool"`)},
				rawjson.Edit{Key: "tool_call_id", Value: rawjson.String(last)})
			changed, last = true, ""
		} else if call, given := o.Raw("function_call"); given && string(role) == `"assistant"` {
			called, err := asCall(o, call, i)
			if err != nil {
				return nil, err
			}
			if !o.Given("tool_calls") && string(call) != "null" {
				last = callID(i)
			}
			one, changed = called, true
		}
		all = append(all, one)
	}
	if !changed {
		return nil, nil
	}
	return rawjson.List(all), nil
}

func callID(i int) string { return fmt.Sprintf("call_%d", i) }

// asCall returns a message that calls a function as one that calls a tool.
func asCall(o rawjson.Object, call []byte, i int) ([]byte, error) {
	edits := []rawjson.Edit{{Key: "function_call"}}
	if string(call) == "null" || o.Given("tool_calls") {
		return o.Apply(edits...), nil
	}
	at := fmt.Sprintf("messages[%d].function_call", i)
	c, ok := rawjson.Scan(call)
	if !ok {
		return nil, httpkit.Invalid(at, "The field %q must be an object.", at)
	}
	for _, key := range []string{"name", "arguments"} {
		if raw, given := c.Raw(key); !given || raw[0] != '"' {
			return nil, httpkit.Invalid(at+"."+key, "The field %q must be a string.", at+"."+key)
		}
	}
	w := rawjson.Builder{}
	w.Member("id", rawjson.String(callID(i)))
	w.Member("type", []byte(`"function"`))
	w.Member("function", call)
	return o.Apply(append(edits, rawjson.Edit{Key: "tool_calls", Value: rawjson.List([][]byte{w.End()})})...), nil
}
