package tools

import "github.com/loragate/loragate/internal/rawjson"

// Functions returns an answer, or an event of one, in which tools are called as functions were:
// the first call of each choice, for there was but one.
func Functions(answer []byte) []byte {
	o, ok := rawjson.Scan(answer)
	if !ok {
		return answer
	}
	raw, ok := o.Raw("choices")
	if !ok {
		return answer
	}
	var choices [][]byte
	changed := false
	for _, one := range rawjson.Elements(raw) {
		choice, ok := rawjson.Scan(one)
		if !ok {
			return answer
		}
		var edits []rawjson.Edit
		if finish, _ := choice.Raw("finish_reason"); string(finish) == `"tool_calls"` {
			edits = append(edits, rawjson.Edit{Key: "finish_reason", Value: []byte(`"function_call"`)})
		}
		for _, key := range []string{"message", "delta"} {
			inner, ok := choice.Inner(key)
			if calls, given := inner.Raw("tool_calls"); ok && given {
				edits = append(edits, rawjson.Edit{Key: key, Value: called(inner, calls)})
			}
		}
		if edits != nil {
			one, changed = choice.Apply(edits...), true
		}
		choices = append(choices, one)
	}
	if !changed {
		return answer
	}
	return o.Apply(rawjson.Edit{Key: "choices", Value: rawjson.List(choices)})
}

// called returns a message, or what an event adds to one, with the call of a function.
func called(message rawjson.Object, calls []byte) []byte {
	edits := []rawjson.Edit{{Key: "tool_calls"}}
	rawjson.Each(calls, func(first, _ []byte) bool {
		call, _ := rawjson.Scan(first)
		index, given := call.Raw("index")
		if function, ok := call.Raw("function"); ok && (!given || string(index) == "0") {
			edits = append(edits, rawjson.Edit{Key: "function_call", Value: function})
		}
		return false
	})
	if content, _ := message.Raw("content"); string(content) == `""` {
		edits = append(edits, rawjson.Edit{Key: "content", Value: []byte("null")})
	}
	return message.Apply(edits...)
}
