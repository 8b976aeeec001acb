// Package tools puts the tools of a request, and the choice among them, into the words of
// llama-server, which knows that there must be a call but not of what, and nothing of the
// functions that there were before tools.
package tools

import (
	"fmt"
	"slices"

	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/rawjson"
)

// Choice is what a request's tool_choice says.
type Choice struct {
	Mode string // auto, none or required; "" is not said
	// Only are the tools that there are to be, by name; nil is all of them. Where each name
	// stands in the request is in Paths.
	Only  []string
	Paths []string
	Once  bool // there is to be one call
}

// ReadChoice reads the tool_choice of OpenAI's APIs, in each of its forms. What is no string and
// no object is as if it were not there, as for llama-server. key is the field's name.
func ReadChoice(raw []byte, key string) (Choice, error) {
	if text := rawjson.Text(raw); text != "" {
		return mode(text, key)
	}
	o, ok := rawjson.Scan(raw)
	if !ok || o.Empty() {
		return Choice{}, nil
	}
	kind, _ := o.Raw("type")
	switch text := rawjson.Text(kind); text {
	case "function":
		name, path, err := named(o, key)
		return Choice{Mode: "required", Only: []string{name}, Paths: []string{path}, Once: true}, err
	case "allowed_tools":
		return allowed(o, key)
	case "auto", "none", "required", "any":
		return mode(text, key)
	case "":
		return Choice{}, httpkit.Invalid(key+".type", "The field %q must be function or allowed_tools.", key+".type")
	default:
		return Choice{}, httpkit.Invalid(key+".type", "There are no tools of the type %q here: the field %q must be function "+
			"or allowed_tools.", httpkit.Shorten(text), key+".type")
	}
}

func mode(text, key string) (Choice, error) {
	switch text {
	case "any":
		return Choice{Mode: "required"}, nil
	case "auto", "none", "required":
		return Choice{Mode: text}, nil
	}
	return Choice{}, httpkit.Invalid(key, "The field %q must be none, auto, required, or name a tool, and is %q.", key,
		httpkit.Shorten(text))
}

// named returns the name in {"type": "function"}: it stands there, or in "function".
func named(o rawjson.Object, at string) (name, path string, err error) {
	path = at + ".function.name"
	raw, ok := o.Path("function", "name")
	if !ok {
		if raw, ok = o.Raw("name"); ok {
			path = at + ".name"
		}
	}
	if len(raw) == 0 || raw[0] != '"' {
		return "", "", httpkit.Invalid(path, "The field %q must be the name of a tool.", path)
	}
	return rawjson.Text(raw), path, nil
}

// allowed reads the choice of some of the tools.
func allowed(o rawjson.Object, key string) (Choice, error) {
	inner, ok := o.Inner("allowed_tools")
	if ok {
		key += ".allowed_tools"
	} else {
		inner = o
	}
	c := Choice{Mode: "auto", Only: []string{}}
	if raw, given := inner.Raw("mode"); given && string(raw) != "null" {
		if c.Mode = rawjson.Text(raw); c.Mode != "auto" && c.Mode != "required" {
			return c, httpkit.Invalid(key+".mode", "The field %q must be auto or required.", key+".mode")
		}
	}
	raw, _ := inner.Raw("tools")
	list, err := elements(raw, maxTools, key+".tools")
	if err != nil {
		return c, err
	}
	for i, one := range list {
		at := fmt.Sprintf("%s.tools[%d]", key, i)
		tool, _ := rawjson.Scan(one)
		name, path, err := named(tool, at)
		if err != nil {
			return c, err
		}
		c.Only, c.Paths = append(c.Only, name), append(c.Paths, path)
	}
	if len(c.Only) == 0 {
		return c, httpkit.Invalid(key+".tools", "The field %q must be a list of tools.", key+".tools")
	}
	return c, nil
}

// Keep returns those of the tools that there are to be, in their own order; nameOf tells a
// tool's name. A name of none is refused.
func (c Choice) Keep(all [][]byte, nameOf func(tool []byte) string) ([][]byte, error) {
	if c.Only == nil {
		return all, nil
	}
	known := map[string]bool{}
	for _, tool := range all {
		known[nameOf(tool)] = true
	}
	wanted := map[string]bool{}
	for i, name := range c.Only {
		if !known[name] {
			return nil, httpkit.Invalid(c.Paths[i], "The field %q names the tool %q, which is not among the request's tools.",
				c.Paths[i], httpkit.Shorten(name))
		}
		wanted[name] = true
	}
	return slices.DeleteFunc(slices.Clone(all), func(tool []byte) bool { return !wanted[nameOf(tool)] }), nil
}

// Forced returns the body of a chat completion as llama-server takes it without the form that an
// answer is to have, where a tool must be called: there is no answer beside the call, and
// llama-server would go by the form and call nothing.
func Forced(body rawjson.Object) rawjson.Object {
	choice, _ := body.Raw("tool_choice")
	if string(choice) != `"required"` || !body.Given("tools") || !body.Given("response_format") {
		return body
	}
	body, _ = rawjson.Scan(body.Apply(rawjson.Edit{Key: "response_format"})) // an edited object stays one
	return body
}

// elements returns those of a list of no more than so many; at is where it stands.
func elements(raw []byte, most int, at string) (list [][]byte, err error) {
	rawjson.Each(raw, func(one, _ []byte) bool {
		list = append(list, one)
		return len(list) <= most
	})
	if len(list) > most {
		return nil, httpkit.Invalid(at, "The field %q has more than %d entries.", at, most)
	}
	return list, nil
}

// Bounds of what is looked at here, as of requests.
const (
	maxTools    = 512
	maxMessages = 8192
)
