package proxy

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/loragate/loragate/internal/rawjson"
)

// Rule says what a name means that clients use, and what is changed in their
// requests.
type Rule struct {
	Match   string         // a glob of names as clients write them; * is any text
	Model   string         // the model that is meant; "" is that of the name itself
	System  string         // goes before the system prompt of chats; "" is nothing
	Set     []rawjson.Edit // fields that are put in place of the client's
	Default []rawjson.Edit // fields that are added where the client has none
	Strip   []string       // fields that are taken out
}

// apply returns the body of a request to an endpoint changed as the rule says. It is done
// before anything is read of it but the model.
func (rule *Rule) apply(body rawjson.Object, path string) rawjson.Object {
	d := &draft{Object: body, path: path}
	for _, key := range rule.Strip {
		d.strip(key)
	}
	for _, e := range rule.Default {
		d.usual(e)
	}
	for _, e := range rule.Set {
		d.replace(e)
	}
	d.agree()
	changed, _ := rawjson.Scan(body.Apply(d.edits...)) // an edited object stays one
	if rule.System == "" {
		return changed
	}
	if e, ok := prompted(changed, path, rule.System); ok {
		changed, _ = rawjson.Scan(changed.Apply(e))
	}
	return changed
}

// prompted returns the edit that puts a system prompt before the request's own.
func prompted(body rawjson.Object, path, system string) (rawjson.Edit, bool) {
	switch path {
	case toResponses:
		return promptedText(body, "instructions", system)
	case toMessages:
		raw, _ := body.Raw("system")
		if bytes.HasPrefix(raw, []byte{'{'}) {
			raw = rawjson.List([][]byte{raw})
		}
		if bytes.HasPrefix(raw, []byte{'['}) {
			first := encodeJSON(map[string]string{"type": "text", "text": system})
			return rawjson.Edit{Key: "system", Value: withFirst(first, raw)}, true
		}
		return promptedText(body, "system", system)
	}
	raw, ok := body.Raw("messages")
	if !ok || raw[0] != '[' { // whoever checks it says what is wrong
		return rawjson.Edit{}, false
	}
	var head, rest []byte
	rawjson.Each(raw, func(message, after []byte) bool {
		head, rest = message, after
		return false
	})
	if own, ok := rawjson.Scan(head); ok && isSystem(own) {
		content := prefixed(own, "content", system)
		if parts, _ := own.Raw("content"); parts[0] == '[' {
			content = withFirst(encodeJSON(map[string]string{"type": "text", "text": system}), parts)
		}
		merged := own.Apply(rawjson.Edit{Key: "content", Value: content})
		return rawjson.Edit{Key: "messages", Value: slices.Concat([]byte{'['}, merged, rest)}, true
	}
	first := encodeJSON(map[string]string{"role": "system", "content": system})
	return rawjson.Edit{Key: "messages", Value: withFirst(first, raw)}, true
}

// promptedText is prompted for a field that has a text: what is none is left to whoever checks it.
func promptedText(body rawjson.Object, key, system string) (rawjson.Edit, bool) {
	if raw, given := body.Raw(key); given && raw[0] != '"' && string(raw) != "null" {
		return rawjson.Edit{}, false
	}
	return rawjson.Edit{Key: key, Value: prefixed(body, key, system)}, true
}

// isSystem reports whether a message is a system prompt: some templates take one only.
func isSystem(message rawjson.Object) bool {
	role, _ := message.Raw("role")
	content, _ := message.Raw("content")
	return (string(role) == `"system"` || string(role) == `"developer"`) && len(content) > 0 &&
		(content[0] == '"' || content[0] == '[')
}

// prefixed returns the text of a field with other text before it.
func prefixed(o rawjson.Object, key, before string) json.RawMessage {
	own := ""
	if _, err := o.Decode(key, &own); err == nil && own != "" {
		before += "\n\n" + own
	}
	return rawjson.String(before)
}

// withFirst puts an element before those of an array; of what is none it makes one with
// that element alone.
func withFirst(first, array []byte) json.RawMessage {
	rest := []byte{']'}
	rawjson.Each(array, func(element, after []byte) bool {
		rest = slices.Concat([]byte{','}, element, after)
		return false
	})
	return slices.Concat([]byte{'['}, first, rest)
}

func encodeJSON(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings always encode
	}
	return text
}
