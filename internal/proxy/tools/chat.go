package tools

import (
	"fmt"
	"slices"

	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/rawjson"
)

// Legacy reports whether a chat completion has functions in place of tools: its answer calls
// them the same way.
func Legacy(body rawjson.Object) bool {
	raw, _ := body.Raw("functions")
	return len(raw) > 0 && raw[0] == '[' && body.Given("functions") && !body.Given("tools")
}

// Chat returns the body of a chat completion as llama-server takes it: with the tools that
// there are to be, and functions and calls of them as tools.
func Chat(body rawjson.Object) (rawjson.Object, error) {
	var edits []rawjson.Edit
	list, choice, err := chosen(body)
	if err != nil {
		return body, err
	}
	if list != nil {
		edits = append(edits, *list)
	}
	if choice.Mode != "" {
		edits = append(edits, rawjson.Edit{Key: "tool_choice", Value: rawjson.String(choice.Mode)})
	}
	if Legacy(body) {
		edits = append(edits, rawjson.Edit{Key: "functions"}, rawjson.Edit{Key: "function_call"})
	}
	if Legacy(body) || choice.Once {
		edits = append(edits, rawjson.Edit{Key: "parallel_tool_calls", Value: []byte("false")})
	}
	messages, err := history(body)
	if err != nil {
		return body, err
	}
	if messages != nil {
		edits = append(edits, rawjson.Edit{Key: "messages", Value: messages})
	}
	if len(edits) == 0 {
		return body, nil
	}
	return rawjson.Parse(body.Apply(edits...))
}

// chosen returns the tools that there are to be, nil if they stay as they are, and the choice,
// likewise.
func chosen(body rawjson.Object) (*rawjson.Edit, Choice, error) {
	raw, _ := body.Raw("tools")
	choiceKey := "tool_choice"
	var list [][]byte
	var err error
	changed := false
	if Legacy(body) {
		raw, _ = body.Raw("functions")
		choiceKey, changed = "function_call", true
		list, err = functions(raw)
	} else {
		list, changed, err = checked(raw)
	}
	if err != nil {
		return nil, Choice{}, err
	}
	said, _ := body.Raw(choiceKey)
	c, err := readChoice(said, choiceKey)
	if err != nil {
		return nil, Choice{}, err
	}
	kept, err := c.Keep(list, nameOf)
	if err != nil {
		return nil, Choice{}, err
	}
	if c.Mode == rawjson.Text(said) && choiceKey == "tool_choice" {
		c.Mode = ""
	}
	if !changed && len(kept) == len(list) {
		return nil, c, nil
	}
	return &rawjson.Edit{Key: "tools", Value: rawjson.List(kept)}, c, nil
}

// readChoice reads tool_choice, or function_call, which has no types.
func readChoice(raw []byte, key string) (Choice, error) {
	if key == "tool_choice" {
		return ReadChoice(raw, key)
	}
	o, ok := rawjson.Scan(raw)
	if !ok {
		if text := rawjson.Text(raw); text != "" && text != "auto" && text != "none" {
			return Choice{}, httpkit.Invalid(key, "The field %q must be none, auto, or have the name of a function.", key)
		}
		return ReadChoice(raw, key)
	}
	name, given := o.Raw("name")
	if !given || name[0] != '"' {
		return Choice{}, httpkit.Invalid(key+".name", "The field %q must be the name of a function.", key+".name")
	}
	return Choice{Mode: "required", Only: []string{rawjson.Text(name)}, Paths: []string{key + ".name"}}, nil
}

func nameOf(tool []byte) string {
	o, _ := rawjson.Scan(tool)
	raw, _ := o.Path("function", "name")
	return rawjson.Text(raw)
}

// functions returns functions as tools.
func functions(raw []byte) (list [][]byte, err error) {
	all, err := elements(raw, maxTools, "functions")
	if err != nil {
		return nil, err
	}
	for i, one := range all {
		function, _, err := function(one, fmt.Sprintf("functions[%d]", i))
		if err != nil {
			return nil, err
		}
		list = append(list, slices.Concat([]byte(`{"type":"function","function":`), function, []byte("}")))
	}
	return list, nil
}

// checked returns tools without the nulls in optional fields, which llama-server takes for
// mistakes, and refuses those that it would fail with.
func checked(raw []byte) (list [][]byte, changed bool, err error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, false, nil
	}
	if raw[0] != '[' {
		return nil, false, httpkit.Invalid("tools", "The field \"tools\" must be a list of tools.")
	}
	all, err := elements(raw, maxTools, "tools")
	if err != nil {
		return nil, false, err
	}
	for i, one := range all {
		at := fmt.Sprintf("tools[%d]", i)
		o, ok := rawjson.Scan(one)
		if !ok {
			return nil, false, httpkit.Invalid(at, "The field %q must be an object.", at)
		}
		switch kind, _ := o.Raw("type"); string(kind) {
		case `"function"`:
		case `"custom"`:
			return nil, false, httpkit.Invalid(at+".type", "Custom tools are not to be had here: the field %q must be function; "+
				"one with a parameter of type string takes any text.", at+".type")
		default:
			return nil, false, httpkit.Invalid(at+".type", "The field %q must be function: no other tools are to be had here.",
				at+".type")
		}
		own, ok := o.Raw("function")
		if !ok {
			return nil, false, httpkit.Invalid(at+".function", "The field %q is missing.", at+".function")
		}
		function, less, err := function(own, at+".function")
		if err != nil {
			return nil, false, err
		}
		if less {
			changed = true
			one = o.Apply(rawjson.Edit{Key: "function", Value: function})
		}
		list = append(list, one)
	}
	return list, changed, nil
}

// function checks what there is of a function, and takes nulls out.
func function(raw []byte, at string) (text []byte, changed bool, err error) {
	o, ok := rawjson.Scan(raw)
	if !ok {
		return nil, false, httpkit.Invalid(at, "The field %q must be an object.", at)
	}
	name, given := o.Raw("name")
	if !given || name[0] != '"' {
		return nil, false, httpkit.Invalid(at+".name", "The field %q must be the function's name.", at+".name")
	}
	var edits []rawjson.Edit
	for _, field := range []struct {
		key   string
		first byte
		what  string
	}{{"description", '"', "a string"}, {"parameters", '{', "a JSON schema, which is an object"}} {
		value, given := o.Raw(field.key)
		switch {
		case !given:
		case string(value) == "null":
			edits = append(edits, rawjson.Edit{Key: field.key})
		case value[0] != field.first:
			path := at + "." + field.key
			return nil, false, httpkit.Invalid(path, "The field %q must be %s.", path, field.what)
		}
	}
	if edits == nil {
		return raw, false, nil
	}
	return o.Apply(edits...), true, nil
}
