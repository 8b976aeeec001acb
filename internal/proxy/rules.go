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
	var edits []rawjson.Edit
	take := func(key string) { edits = append(edits, without(key)...) }
	put := func(e rawjson.Edit) {
		take(e.Key)
		edits = append(edits, rawjson.Edit{Key: nameAt(path, e.Key), Value: e.Value})
	}
	for _, key := range rule.Strip {
		take(key)
	}
	for _, e := range rule.Default {
		if !gives(body, path, e.Key) {
			put(e)
		}
	}
	for _, e := range rule.Set {
		put(e)
	}
	if rule.System != "" {
		if e, ok := prompted(body, path, rule.System); ok {
			edits = append(edits, e)
		}
	}
	changed, _ := rawjson.Scan(body.Apply(last(edits)...)) // an edited object stays one
	return changed
}

// synonyms are the fields that have several names: a rule that has one of them means all. The
// first is what every API takes but those that are in ownNames.
var synonyms = [][]string{
	{"max_tokens", "max_completion_tokens", "max_output_tokens", "n_predict"},
	{"stop", "stop_sequences"},
	{"n", "n_cmpl"},
}

// tokensField bounds how long an answer may be, by its first name.
const tokensField = "max_tokens"

// ownNames are what APIs of their own call a field, by path and its first name.
var ownNames = map[string]map[string]string{
	"/v1/responses": {"max_tokens": "max_output_tokens"},
	"/v1/messages":  {"stop": "stop_sequences"},
	"/completion":   {"max_tokens": "n_predict"},
	"/infill":       {"max_tokens": "n_predict"},
}

// namesOf returns all names of a field.
func namesOf(key string) []string {
	for _, names := range synonyms {
		if slices.Contains(names, key) {
			return names
		}
	}
	return []string{key}
}

// nameAt is what an endpoint calls a field.
func nameAt(path, key string) string {
	first := namesOf(key)[0]
	if own := ownNames[path][first]; own != "" {
		return own
	}
	return first
}

// theirsAlone are names that no other API reads, by the path of the one that does.
var theirsAlone = map[string]string{"max_output_tokens": "/v1/responses", "stop_sequences": "/v1/messages"}

// gives reports whether a request to an endpoint says something of a field, under whichever name
// that is read there.
func gives(body rawjson.Object, path, key string) bool {
	return slices.ContainsFunc(namesOf(key), func(name string) bool {
		raw, given := body.Raw(name)
		only := theirsAlone[name]
		return given && string(raw) != "null" && (only == "" || only == path)
	})
}

// without takes a field out, under all its names.
func without(key string) (edits []rawjson.Edit) {
	for _, name := range namesOf(key) {
		edits = append(edits, rawjson.Edit{Key: name})
	}
	return edits
}

// last keeps the last edit of each key: what is set wins over what is stripped.
func last(edits []rawjson.Edit) (list []rawjson.Edit) {
	for i, e := range edits {
		later := false
		for _, other := range edits[i+1:] {
			later = later || other.Key == e.Key
		}
		if !later {
			list = append(list, e)
		}
	}
	return list
}

// prompted returns the edit that puts a system prompt before the request's own.
func prompted(body rawjson.Object, path, system string) (rawjson.Edit, bool) {
	switch path {
	case "/v1/responses":
		return rawjson.Edit{Key: "instructions", Value: prefixed(body, "instructions", system)}, true
	case "/v1/messages":
		if raw, ok := body.Raw("system"); ok && bytes.HasPrefix(raw, []byte{'['}) {
			first := encodeJSON(map[string]string{"type": "text", "text": system})
			return rawjson.Edit{Key: "system", Value: withFirst(first, raw)}, true
		}
		return rawjson.Edit{Key: "system", Value: prefixed(body, "system", system)}, true
	}
	raw, ok := body.Raw("messages")
	if !ok {
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

// isSystem reports whether a message is a system prompt: some templates take one only.
func isSystem(message rawjson.Object) bool {
	role, _ := message.Raw("role")
	content, _ := message.Raw("content")
	return (string(role) == `"system"` || string(role) == `"developer"`) && len(content) > 0 && (content[0] == '"' || content[0] == '[')
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
