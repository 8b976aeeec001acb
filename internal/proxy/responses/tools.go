package responses

import (
	"cmp"
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/rawjson"
)

// short keeps a client's words from filling an error.
func short(s string) string { return httpkit.Shorten(s) }

// tool is one of those that the model may call.
type tool struct {
	identity

	kind string
	node node
}

const (
	functionTool = "function"
	customTool   = "custom"
	namespace    = "namespace" // has functions and custom tools in it
)

// customKey is the only argument of the function that a custom tool, which takes a text, is to
// llama-server.
const customKey = "input"

const customSchema = `{"type":"object","properties":{"` + customKey + `":{"type":"string"}},"required":["` + customKey +
	`"],"additionalProperties":false}`

// customArguments are the arguments of that function.
func customArguments(input string) string { return string(encode(map[string]string{customKey: input})) }

// customInput returns what a custom tool is called with, of arguments that may be cut.
func customInput(arguments string) string {
	o, err := rawjson.Parse([]byte(arguments))
	if err != nil {
		return cutInput(arguments)
	}
	raw, _ := o.Raw(customKey)
	return rawjson.Text(raw)
}

// cutInput is customInput for arguments that end before the text does: what there is of it.
func cutInput(arguments string) string {
	start := customStart.FindString(arguments)
	if start == "" {
		return ""
	}
	text := arguments[len(start):]
	end := 0
	for end < len(text) && text[end] != '"' {
		n := 1
		if text[end] == '\\' {
			n = len(`\n`)
			if strings.HasPrefix(text[end:], `\u`) {
				n = len(`\uffff`)
			}
		}
		if end+n > len(text) {
			break // in the middle of it
		}
		end += n
	}
	return rawjson.Text([]byte(`"` + text[:end] + `"`))
}

// customStart is how such arguments begin, up to the text.
var customStart = regexp.MustCompile(`^\s*\{\s*"` + customKey + `"\s*:\s*"`)

// tools takes in the tools, and which of them are to be used. Those that are not to be had here are
// left out where others are offered beside them, as llama-server does: clients offer what they have
// without being asked, as codex a search in the web. Where nothing else is offered they are refused.
func (c *chat) tools() error {
	var absent error
	err := c.each("tools", func(n node) error {
		why, err := n.absent()
		switch {
		case err != nil:
			return err
		case why != nil:
			absent = cmp.Or(absent, why)
			return nil
		}
		return c.tool(n, "")
	})
	if err != nil {
		return err
	}
	if absent != nil && len(c.list) == 0 {
		return absent
	}
	c.names = nameAll(c.list)
	for _, t := range c.list {
		c.asked.add(t, c.names.of[t.identity])
	}
	if err := c.choice(); err != nil {
		return err
	}
	if len(c.list) == 0 {
		return nil
	}
	all := make([][]byte, len(c.list))
	for i, t := range c.list {
		all[i] = t.chat(c.names.of[t.identity])
	}
	c.set("tools", rawjson.List(all))
	return nil
}

// absent returns why a tool is not to be had here, nil if it is.
func (n node) absent() (why, err error) {
	kind, err := n.required("type")
	if err != nil {
		return nil, err
	}
	switch kind {
	case functionTool, namespace:
		return nil, nil
	case customTool:
		return n.constrained()
	}
	return wrong(n.path("type"), "is %q, which runs at OpenAI and is not to be had here: only functions and custom tools are",
		short(kind)), nil
}

// constrained returns why a custom tool is not to be had here: its input must be of a grammar.
func (n node) constrained() (why, err error) {
	format, given, err := n.inner("format")
	if err != nil || !given {
		return nil, err
	}
	kind, err := format.text("type")
	if err == nil && kind != "" && kind != "text" {
		why = wrong(format.path("type"), "must be \"text\": grammars of custom tools are not to be had here")
	}
	return why, err
}

// tool takes in one of them, of a namespace or of none.
func (c *chat) tool(n node, within string) error {
	t := tool{kind: rawjson.Text(n.raw("type")), node: n}
	var err error
	if t.name, err = n.required("name"); err != nil {
		return err
	}
	switch {
	case t.kind == namespace && within != "":
		return wrong(n.path("type"), "must be %q or %q", functionTool, customTool)
	case t.kind == namespace:
		return n.each("tools", func(inner node) error {
			why, err := inner.absent()
			if err != nil || why != nil {
				return cmp.Or(err, why)
			}
			return c.tool(inner, t.name)
		})
	case t.kind == functionTool:
		if _, _, err := n.inner("parameters"); err != nil {
			return err
		}
	}
	t.namespace = within
	c.list = append(c.list, t)
	return nil
}

// chat returns a tool in the words of a chat, under the name that the model is to have.
func (t tool) chat(name string) []byte {
	function := rawjson.Builder{}
	function.Member("name", rawjson.String(name))
	if t.kind == customTool {
		function.Copy(t.node.Object, "description")
		function.Member("parameters", []byte(customSchema))
	} else {
		for _, key := range []string{"description", "parameters", "strict"} {
			if raw := t.node.raw(key); raw != nil {
				function.Member(key, raw)
			}
		}
	}
	return slices.Concat([]byte(`{"type":"function","function":`), function.End(), []byte{'}'})
}

// choice has tools be used as asked. One that is forced by its name is the only one that there
// is: llama-server can force a call, but not of which of them.
func (c *chat) choice() error {
	raw := c.raw("tool_choice")
	if raw == nil {
		return nil
	}
	if raw[0] == '"' {
		if how := rawjson.Text(raw); how != "auto" && how != "none" && how != "required" {
			return wrong("tool_choice", `must be "auto", "none", "required" or an object`)
		}
		c.set("tool_choice", raw)
		return nil
	}
	n, _, err := c.inner("tool_choice")
	if err != nil {
		return wrong("tool_choice", `must be "auto", "none", "required" or an object`)
	}
	kind, err := n.required("type")
	if err != nil {
		return err
	}
	switch kind {
	case functionTool, customTool:
		if err := c.restrict([]node{n}); err != nil {
			return err
		}
		c.set("tool_choice", []byte(`"required"`))
		return nil
	case "allowed_tools":
		return c.allow(n)
	}
	return wrong(n.path("type"), "is %q, which is not to be had here: it must be function, custom or allowed_tools",
		short(kind))
}

// allow leaves the model some of the tools only.
func (c *chat) allow(n node) error {
	mode, err := n.text("mode")
	switch {
	case err != nil:
		return err
	case mode == "":
		mode = "auto"
	case mode != "auto" && mode != "required":
		return wrong(n.path("mode"), `must be "auto" or "required"`)
	}
	var allowed []node
	if err := n.each("tools", func(one node) error { allowed = append(allowed, one); return nil }); err != nil {
		return err
	}
	if len(allowed) == 0 {
		return wrong(n.path("tools"), "is required: a list of tools")
	}
	if err := c.restrict(allowed); err != nil {
		return err
	}
	c.set("tool_choice", rawjson.String(mode))
	return nil
}

// echoed returns the tools as a response tells them: with what OpenAI's types want of each.
func (n node) echoed() (json.RawMessage, error) {
	var all [][]byte
	err := n.each("tools", func(t node) error {
		if why, err := t.absent(); why != nil || err != nil {
			return err
		}
		if string(t.raw("type")) != `"function"` {
			all = append(all, t.Apply())
			return nil
		}
		edits := []rawjson.Edit{}
		for _, key := range []string{"description", "parameters", "strict"} {
			if t.raw(key) == nil {
				edits = append(edits, rawjson.Edit{Key: key, Value: []byte("null")})
			}
		}
		all = append(all, t.Apply(edits...))
		return nil
	})
	return rawjson.List(all), err
}
