package fields

import (
	"fmt"
	"slices"
	"strings"

	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/rawjson"
)

// Model is what is known of a model that reads messages. The zero value knows nothing.
type Model struct {
	Inputs   []string // what it reads: "text", "image", "audio"
	Template string   // of its chats
}

// roles are those that every client may use, whatever a template makes of them.
var roles = []string{"system", "developer", "user", "assistant", "tool", "function"}

// knows reports whether a role, a JSON string, means something: others than the usual ones a template may name.
func (m Model) knows(raw []byte) bool {
	for _, usual := range roles {
		if string(rawjson.Inside(raw)) == usual {
			return true
		}
	}
	role := rawjson.Text(raw)
	return role != "" && (m.Template == "" || strings.Contains(m.Template, `"`+role+`"`) ||
		strings.Contains(m.Template, `'`+role+`'`))
}

// reads reports whether the model takes in something beside text.
func (m Model) reads(input string) bool {
	return len(m.Inputs) == 0 || slices.Contains(m.Inputs, input)
}

// Messages refuses messages of a chat that llama-server could make nothing of, by the paths of
// their fields, and takes out the nulls in them. It returns the body as it is if there are none.
func Messages(body rawjson.Object, m Model) (rawjson.Object, error) {
	raw, given := body.Raw("messages")
	if !given {
		return body, httpkit.Invalid("messages", "The field \"messages\" is missing.")
	}
	var all [][]byte
	changed, n := false, 0
	var bad *wrong
	isList := rawjson.Each(raw, func(element, _ []byte) bool {
		var plain []byte
		if plain, bad = m.message(element); plain != nil {
			if !changed {
				changed, all = true, rawjson.Elements(raw)
			}
			all[n] = plain
		}
		if bad != nil {
			bad.within("messages", n)
		}
		n++
		return bad == nil
	})
	switch {
	case !isList:
		return body, httpkit.Invalid("messages", "The field \"messages\" must be a list of messages.")
	case bad != nil:
		return body, httpkit.Invalid(bad.path, bad.says, bad.path)
	case !changed:
		return body, nil
	}
	body, _ = rawjson.Scan(body.Apply(rawjson.Edit{Key: "messages", Value: rawjson.List(all)}))
	return body, nil
}

// optional are the fields of a message that are strings, or as good as not there if they are null.
var optional = []string{"name", "tool_call_id", "reasoning_content"}

// wrong is a mistake in a message. Where it is, is put together on its way out: that there is one
// is rare.
type wrong struct {
	path string
	says string // with a place for the path
}

// within says that what is wrong is in the n-th value of a list.
func (w *wrong) within(list string, n int) { w.path = fmt.Sprintf("%s[%d]%s", list, n, w.path) }

// must is what is wrong with a value that is to be something else.
func must(path, what string) *wrong { return &wrong{path, "The field %q must " + what + "."} }

// message is the check of one. It returns the message without its nulls if it has some.
func (m Model) message(raw []byte) (plain []byte, bad *wrong) {
	message, ok := rawjson.Scan(raw)
	if !ok {
		return nil, must("", "be an object with a role and content")
	}
	value, _ := message.Raw("role")
	if len(value) == 0 || value[0] != '"' {
		return nil, must(".role", "be a string, one of "+strings.Join(roles, ", "))
	}
	if !m.knows(value) {
		return nil, must(".role", "be one of "+strings.Join(roles, ", "))
	}
	var edits []rawjson.Edit
	for _, key := range optional {
		value, given := message.Raw(key)
		switch {
		case !given:
		case string(value) == "null":
			edits = append(edits, rawjson.Edit{Key: key})
		case value[0] != '"':
			return nil, must("."+key, "be a string")
		}
	}
	calls, bad := toolCalls(message, &edits)
	if _, says := message.Raw("content"); calls && !says && slices.ContainsFunc(edits, noCalls) {
		edits = append(edits, rawjson.Edit{Key: "content", Value: []byte(`""`)})
	}
	if bad == nil {
		bad = m.content(string(value) == `"assistant"`, message, calls)
	}
	if bad != nil {
		return nil, bad
	}
	if len(edits) > 0 {
		plain = message.Apply(edits...)
	}
	return plain, nil
}

// content is the check of what a message says; calls is whether it calls tools.
func (m Model) content(assistant bool, message rawjson.Object, calls bool) (bad *wrong) {
	const at = ".content"
	content, given := message.Raw("content")
	switch {
	case !given && assistant && calls:
		return nil
	case !given && assistant:
		return &wrong{at, "The field %q is missing: an assistant's message has content or tool_calls."}
	case !given:
		return &wrong{at, "The field %q is missing."}
	case content[0] == '"' || string(content) == "null":
		return nil
	}
	n := 0
	isList := rawjson.Each(content, func(part, _ []byte) bool {
		if bad = m.part(part); bad != nil {
			bad.within(at, n)
		}
		n++
		return bad == nil
	})
	if !isList {
		return must(at, "be a string or a list of parts")
	}
	return bad
}

// media are the parts beside text, with what a model must read for them and the field that
// holds what they are of.
var media = map[string]struct{ input, holder string }{
	"image_url": {"image", "image_url"}, "input_audio": {"audio", "input_audio"}, "input_video": {"video", "input_video"},
}

// part is the check of one part of a message's content.
func (m Model) part(raw []byte) *wrong {
	part, ok := rawjson.Scan(raw)
	if !ok {
		return must("", "be an object with a type")
	}
	value, _ := part.Raw("type")
	kind := rawjson.Text(value)
	if kind == "text" {
		if words, _ := part.Raw("text"); len(words) == 0 || words[0] != '"' {
			return must(".text", "be a string")
		}
		return nil
	}
	medium, known := media[kind]
	switch holder, _ := part.Raw(medium.holder); {
	case !known:
		return must(".type", "be text, image_url or input_audio")
	case !m.reads(medium.input):
		return &wrong{"", "The field %q has " + medium.input + " input, which the model does not read: it reads " +
			strings.Join(m.Inputs, " and ") + "."}
	case len(holder) == 0 || holder[0] != '{':
		return must("."+medium.holder, "be an object")
	}
	return nil
}

// noCalls reports whether an edit takes calls out that are null: a message of these alone says nothing,
// to llama-server as well.
func noCalls(e rawjson.Edit) bool { return e.Key == "tool_calls" && e.Value == nil }

// toolCalls is the check of the calls in a message's history; any is whether the message has the
// field. Nulls that are to be taken out are added to the edits.
func toolCalls(message rawjson.Object, edits *[]rawjson.Edit) (any bool, bad *wrong) {
	const key = "tool_calls"
	raw, given := message.Raw(key)
	switch {
	case !given:
		return false, nil
	case string(raw) == "null":
		*edits = append(*edits, rawjson.Edit{Key: key})
		return true, nil
	}
	var plain [][]byte
	changed := false
	isList := rawjson.Each(raw, func(element, _ []byte) bool {
		var call []byte
		if call, bad = toolCall(element); call != nil {
			changed, element = true, call
		}
		if bad != nil {
			bad.within("."+key, len(plain))
		}
		plain = append(plain, element)
		return bad == nil
	})
	if !isList {
		return false, must("."+key, "be a list of calls")
	}
	if changed {
		*edits = append(*edits, rawjson.Edit{Key: key, Value: rawjson.List(plain)})
	}
	return true, bad
}

// toolCall is the check of one. It returns the call without its nulls if it has some.
func toolCall(raw []byte) (plain []byte, bad *wrong) {
	call, ok := rawjson.Scan(raw)
	if !ok {
		return nil, must("", "be an object")
	}
	if kind, _ := call.Raw("type"); string(kind) != `"function"` {
		return nil, must(".type", "be function")
	}
	function, ok := call.Inner("function")
	if !ok {
		return nil, must(".function", "be an object with a name and arguments")
	}
	if name, _ := function.Raw("name"); len(name) == 0 || name[0] != '"' {
		return nil, must(".function.name", "be a string")
	}
	if _, given := function.Raw("arguments"); !given {
		return nil, must(".function.arguments", "be a string of JSON")
	}
	switch id, given := call.Raw("id"); {
	case given && string(id) == "null":
		return call.Apply(rawjson.Edit{Key: "id"}), nil
	case given && id[0] != '"':
		return nil, must(".id", "be a string")
	}
	return nil, nil
}
