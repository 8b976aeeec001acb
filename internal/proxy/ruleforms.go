package proxy

import (
	"encoding/json"
	"slices"

	"github.com/loragate/loragate/internal/rawjson"
)

// The endpoints whose APIs have names of their own.
const (
	toChat      = "/v1/chat/completions"
	toTexts     = "/v1/completions"
	toResponses = "/v1/responses"
	toMessages  = "/v1/messages"
	toNative    = "/completion"
	toInfill    = "/infill"
)

// formatAt returns the form of answers that a rule asks for, under one of its names, as an endpoint
// has it; nil where that is any text.
func formatAt(path, name string, value json.RawMessage) json.RawMessage {
	schema, kind, inner := value, `"json_schema"`, rawjson.Object{}
	if name != "json_schema" {
		o, ok := rawjson.Scan(value)
		if !ok {
			return value // whoever checks it says what is wrong
		}
		raw, _ := o.Raw("type")
		kind, inner = string(raw), o
		if chat, ok := o.Inner("json_schema"); ok {
			inner = chat
		}
		schema, _ = inner.Raw("schema")
	}
	if len(schema) == 0 || string(schema) == "null" {
		schema = []byte("{}") // any JSON
	}
	switch {
	case kind != `"json_schema"` && kind != `"json_object"`:
		return nil
	case path == toTexts || path == toNative || path == toInfill:
		return schema
	case path == toMessages:
		return object("type", []byte(`"json_schema"`), "schema", schema)
	case kind == `"json_object"` && (path == toChat || string(schema) == "{}"):
		return value
	}
	title, given := inner.Raw("name")
	if !given {
		title = []byte(`"output"`)
	}
	strict, given := inner.Raw("strict")
	if !given {
		strict = []byte("true")
	}
	if path == toResponses {
		return object("type", []byte(`"json_schema"`), "name", title, "strict", strict, "schema", schema)
	}
	return object("type", []byte(`"json_schema"`),
		"json_schema", object("name", title, "strict", strict, "schema", schema))
}

// choiceAt returns the choice of tools that a rule makes as an endpoint has it. What has no other
// form stays as it is.
func choiceAt(path, _ string, value json.RawMessage) json.RawMessage {
	mode, tool := rawjson.Text(value), json.RawMessage(nil)
	if o, ok := rawjson.Scan(value); ok {
		kind, _ := o.Raw("type")
		mode = rawjson.Text(kind)
		if name, given := o.Path("function", "name"); given {
			tool = name
		} else if name, given := o.Raw("name"); given {
			tool = name
		}
	}
	switch {
	case tool != nil && path == toMessages:
		return object("type", []byte(`"tool"`), "name", tool)
	case tool != nil && path == toResponses:
		return object("type", []byte(`"function"`), "name", tool)
	case tool != nil:
		return object("type", []byte(`"function"`), "function", object("name", tool))
	case path == toMessages && mode == "required":
		mode = "any"
	case path != toMessages && mode == "any":
		mode = "required"
	}
	switch {
	case !slices.Contains([]string{"auto", "none", "required", "any"}, mode):
		return value
	case path == toMessages:
		return object("type", rawjson.String(mode))
	}
	return rawjson.String(mode)
}

// toolsAt returns the tools that a rule has as an endpoint has them.
func toolsAt(path, _ string, value json.RawMessage) json.RawMessage {
	var all [][]byte
	isList := rawjson.Each(value, func(tool, _ []byte) bool {
		all = append(all, toolAt(path, tool))
		return true
	})
	if !isList {
		return value
	}
	return rawjson.List(all)
}

// toolAt returns a tool as an endpoint has it, as it is if it is no function.
func toolAt(path string, tool json.RawMessage) json.RawMessage {
	o, ok := rawjson.Scan(tool)
	if !ok {
		return tool
	}
	if inner, ok := o.Inner("function"); ok {
		o = inner
	} else if kind, given := o.Raw("type"); given && string(kind) != `"function"` && string(kind) != `"custom"` {
		return tool
	}
	schema, given := o.Raw("input_schema")
	if !given {
		schema, _ = o.Raw("parameters")
	}
	w := rawjson.Builder{}
	if path == toResponses {
		w.Member("type", []byte(`"function"`))
	}
	w.Copy(o, "name")
	w.Copy(o, "description")
	switch {
	case schema == nil:
	case path == toMessages:
		w.Member("input_schema", schema)
	default:
		w.Member("parameters", schema)
		w.Copy(o, "strict")
	}
	if path == toMessages || path == toResponses {
		return w.End()
	}
	return object("type", []byte(`"function"`), "function", w.End())
}

// object returns an object of keys and their values, which are JSON.
func object(members ...any) json.RawMessage {
	w := rawjson.Builder{}
	for i := 0; i < len(members); i += 2 {
		switch value := members[i+1].(type) {
		case json.RawMessage:
			w.Member(members[i].(string), value)
		case []byte:
			w.Member(members[i].(string), value)
		}
	}
	return w.End()
}
