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

// knows reports whether a role means something: others than the usual ones a template may name.
func (m Model) knows(role string) bool {
	return slices.Contains(roles, role) || m.Template == "" ||
		strings.Contains(m.Template, `"`+role+`"`) || strings.Contains(m.Template, `'`+role+`'`)
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
	var err error
	isList := rawjson.Each(raw, func(element, _ []byte) bool {
		var plain []byte
		if plain, err = m.message(n, element); plain != nil {
			if !changed {
				changed, all = true, rawjson.Elements(raw)
			}
			all[n] = plain
		}
		n++
		return err == nil
	})
	switch {
	case !isList:
		return body, httpkit.Invalid("messages", "The field \"messages\" must be a list of messages.")
	case err != nil || !changed:
		return body, err
	}
	body, _ = rawjson.Scan(body.Apply(rawjson.Edit{Key: "messages", Value: rawjson.List(all)}))
	return body, nil
}

// optional are the fields of a message that are strings, or as good as not there if they are null.
var optional = []string{"name", "tool_call_id", "reasoning_content"}

// message is the check of one. It returns the message without its nulls if it has some.
func (m Model) message(n int, raw []byte) (plain []byte, err error) {
	at := fmt.Sprintf("messages[%d]", n)
	message, ok := rawjson.Scan(raw)
	if !ok {
		return nil, must(at, "be an object with a role and content")
	}
	value, _ := message.Raw("role")
	if len(value) == 0 || value[0] != '"' {
		return nil, must(at+".role", "be a string, one of "+strings.Join(roles, ", "))
	}
	role := rawjson.Text(value)
	if role == "" || !m.knows(role) {
		return nil, must(at+".role", "be one of "+strings.Join(roles, ", "))
	}
	var edits []rawjson.Edit
	for _, key := range optional {
		value, given := message.Raw(key)
		switch {
		case !given:
		case string(value) == "null":
			edits = append(edits, rawjson.Edit{Key: key})
		case value[0] != '"':
			return nil, must(at+"."+key, "be a string")
		}
	}
	calls, err := toolCalls(at, message, &edits)
	if err != nil {
		return nil, err
	}
	if err := m.content(at, role, message, calls); err != nil {
		return nil, err
	}
	if len(edits) > 0 {
		plain = message.Apply(edits...)
	}
	return plain, nil
}

// content is the check of what a message says; calls is whether it calls tools.
func (m Model) content(at, role string, message rawjson.Object, calls bool) (err error) {
	at += ".content"
	content, given := message.Raw("content")
	switch {
	case !given && role == "assistant" && calls:
		return nil
	case !given && role == "assistant":
		return httpkit.Invalid(at, "The field %q is missing: an assistant's message has content or tool_calls.", at)
	case !given:
		return httpkit.Invalid(at, "The field %q is missing.", at)
	case content[0] == '"' || string(content) == "null":
		return nil
	}
	n := 0
	isList := rawjson.Each(content, func(part, _ []byte) bool {
		err = m.part(fmt.Sprintf("%s[%d]", at, n), part)
		n++
		return err == nil
	})
	if !isList {
		return must(at, "be a string or a list of parts")
	}
	return err
}

// media are the parts beside text, with what a model must read for them and the field that
// holds what they are of.
var media = map[string]struct{ input, holder string }{
	"image_url": {"image", "image_url"}, "input_audio": {"audio", "input_audio"}, "input_video": {"video", "input_video"},
}

// part is the check of one part of a message's content.
func (m Model) part(at string, raw []byte) error {
	part, ok := rawjson.Scan(raw)
	if !ok {
		return must(at, "be an object with a type")
	}
	value, _ := part.Raw("type")
	kind := rawjson.Text(value)
	if kind == "text" {
		if words, _ := part.Raw("text"); len(words) == 0 || words[0] != '"' {
			return must(at+".text", "be a string")
		}
		return nil
	}
	medium, known := media[kind]
	switch holder, _ := part.Raw(medium.holder); {
	case !known:
		return must(at+".type", "be text, image_url or input_audio")
	case !m.reads(medium.input):
		return httpkit.Invalid(at, "The field %q has %s input, which the model does not read: it reads %s.", at,
			medium.input, strings.Join(m.Inputs, " and "))
	case len(holder) == 0 || holder[0] != '{':
		return must(at+"."+medium.holder, "be an object")
	}
	return nil
}

// toolCalls is the check of the calls in a message's history; any is whether the message has the
// field. Nulls that are to be taken out are added to the edits.
func toolCalls(at string, message rawjson.Object, edits *[]rawjson.Edit) (any bool, err error) {
	const key = "tool_calls"
	raw, given := message.Raw(key)
	switch {
	case !given:
		return false, nil
	case string(raw) == "null":
		*edits = append(*edits, rawjson.Edit{Key: key})
		return false, nil
	}
	var plain [][]byte
	changed := false
	isList := rawjson.Each(raw, func(element, _ []byte) bool {
		call := element
		if call, err = toolCall(fmt.Sprintf("%s.%s[%d]", at, key, len(plain)), element); call != nil {
			changed, element = true, call
		}
		plain = append(plain, element)
		return err == nil
	})
	if !isList {
		return false, must(at+"."+key, "be a list of calls")
	}
	if changed {
		*edits = append(*edits, rawjson.Edit{Key: key, Value: rawjson.List(plain)})
	}
	return true, err
}

// toolCall is the check of one. It returns the call without its nulls if it has some.
func toolCall(at string, raw []byte) (plain []byte, err error) {
	call, ok := rawjson.Scan(raw)
	if !ok {
		return nil, must(at, "be an object")
	}
	if kind, _ := call.Raw("type"); string(kind) != `"function"` {
		return nil, must(at+".type", "be function")
	}
	function, ok := call.Inner("function")
	if !ok {
		return nil, must(at+".function", "be an object with a name and arguments")
	}
	if name, _ := function.Raw("name"); len(name) == 0 || name[0] != '"' {
		return nil, must(at+".function.name", "be a string")
	}
	if _, given := function.Raw("arguments"); !given {
		return nil, must(at+".function.arguments", "be a string of JSON")
	}
	switch id, given := call.Raw("id"); {
	case given && string(id) == "null":
		return call.Apply(rawjson.Edit{Key: "id"}), nil
	case given && id[0] != '"':
		return nil, must(at+".id", "be a string")
	}
	return nil, nil
}

func must(at, what string) error { return httpkit.Invalid(at, "The field %q must %s.", at, what) }
