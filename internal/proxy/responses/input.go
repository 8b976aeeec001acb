package responses

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/loragate/loragate/internal/rawjson"
)

// chatMessage is a message of a chat completion.
type chatMessage struct {
	role      string
	content   json.RawMessage
	reasoning strings.Builder
	calls     [][]byte
	answers   string // the call whose result it is

	parts   []json.RawMessage // of an assistant's content, as far as it has come
	prompts []json.RawMessage // what a system prompt is put together of
}

// append adds the message to a text. One that only calls tools has no content.
func (m *chatMessage) append(out []byte) []byte {
	if m.role == assistant && (len(m.parts) > 0 || len(m.calls) == 0) {
		m.content = content(m.parts)
	}
	if len(m.prompts) > 1 {
		m.content = together(m.prompts)
	}
	out = append(append(append(out, `{"role":"`...), m.role...), '"')
	if m.content != nil {
		out = append(append(out, `,"content":`...), m.content...)
	}
	if m.reasoning.Len() > 0 {
		out = append(append(out, `,"reasoning_content":`...), rawjson.String(m.reasoning.String())...)
	}
	if len(m.calls) > 0 {
		out = append(append(out, `,"tool_calls":`...), rawjson.List(m.calls)...)
	}
	if m.answers != "" {
		out = append(append(out, `,"tool_call_id":`...), rawjson.String(m.answers)...)
	}
	return append(out, '}')
}

const assistant = "assistant"

// conversation is what a request's input comes to.
type conversation struct {
	all   []*chatMessage
	names names // of the tools that were called
}

// assistant returns the turn of the assistant's that the next item of his belongs to: what he
// thinks, says and calls in turn is one message, as to llama-server.
func (c *conversation) assistant() *chatMessage {
	if n := len(c.all); n == 0 || c.all[n-1].role != assistant {
		c.all = append(c.all, &chatMessage{role: assistant})
	}
	return c.all[len(c.all)-1]
}

// messages puts the input, and the instructions before it, into the words of a chat.
func (c *chat) messages() error {
	talk := conversation{names: c.names}
	if instructions := c.raw("instructions"); instructions != nil {
		if instructions[0] != '"' {
			return wrong("instructions", "must be a string")
		}
		talk.prompt("system", instructions)
	}
	switch input := c.raw("input"); {
	case input == nil:
		return wrong("input", "is required: a string or a list of items")
	case input[0] == '"':
		talk.all = append(talk.all, &chatMessage{role: "user", content: input})
	case input[0] == '[':
		if err := c.each("input", talk.add); err != nil {
			return err
		}
	default:
		return wrong("input", "must be a string or a list of items")
	}
	all := append(make([]byte, 0, len(c.raw("input"))+len(c.raw("instructions"))+128), '[')
	for i, m := range talk.all {
		if i > 0 {
			all = append(all, ',')
		}
		all = m.append(all)
	}
	c.set("messages", append(all, ']'))
	return nil
}

// ranThere are items of tools that ran at OpenAI, in an earlier turn: they are left out.
var ranThere = []string{
	"web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call", "mcp_list_tools",
	"mcp_call", "mcp_approval_request", "mcp_approval_response", "compaction",
}

// add takes in an item of the input.
func (c *conversation) add(item node) error {
	kind, err := item.text("type")
	if err != nil {
		return err
	}
	if kind == "" && item.raw("role") == nil && item.raw("content") == nil {
		return wrong(item.path("type"), `is required: "message", "function_call", "function_call_output" or "reasoning"`)
	}
	switch kind {
	case "", "message":
		return c.message(item)
	case "function_call", "custom_tool_call":
		return c.call(item, kind)
	case "function_call_output", "custom_tool_call_output":
		return c.result(item)
	case "reasoning":
		return c.thought(item)
	case "item_reference":
		return wrong(item.at, "is an item_reference, which is not to be had here: items are not stored. "+
			"Send the item itself (clients do with `store: false`)")
	}
	if slices.Contains(ranThere, kind) {
		return nil
	}
	return wrong(item.path("type"), "is %q, which is not to be had here", short(kind))
}

// message takes in what somebody says.
func (c *conversation) message(item node) error {
	role, err := item.text("role")
	if err != nil {
		return err
	}
	if !slices.Contains([]string{"user", "assistant", "system", "developer"}, role) {
		return wrong(item.path("role"), `must be "user", "assistant", "system" or "developer"`)
	}
	parts, err := item.parts("content")
	if err != nil {
		return err
	}
	if role == assistant {
		turn := c.assistant()
		turn.parts = append(turn.parts, parts...)
		return nil
	}
	if role == "user" {
		c.all = append(c.all, &chatMessage{role: role, content: content(parts)})
	} else {
		c.prompt(role, content(parts))
	}
	return nil
}

// prompt takes in a system prompt. Those before all else are one message: many templates take no
// more.
func (c *conversation) prompt(role string, content json.RawMessage) {
	if len(c.all) == 1 && len(c.all[0].prompts) > 0 {
		c.all[0].prompts = append(c.all[0].prompts, content)
		return
	}
	c.all = append(c.all, &chatMessage{role: role, content: content, prompts: []json.RawMessage{content}})
}

// together is the content of several messages as one: a string if all are.
func together(contents []json.RawMessage) json.RawMessage {
	var texts [][]byte
	var all []json.RawMessage
	for _, one := range contents {
		if one[0] != '"' {
			for _, part := range rawjson.Elements(one) {
				all = append(all, part)
			}
			continue
		}
		if text := rawjson.Inside(one); len(text) > 0 {
			texts, all = append(texts, text), append(all, plain(one))
		}
	}
	if len(texts) == len(all) {
		return rawjson.Quoted(bytes.Join(texts, []byte(`\n\n`)))
	}
	return content(all)
}

// call takes in the call of a tool.
func (c *conversation) call(item node, kind string) error {
	name, err := item.required("name")
	if err != nil {
		return err
	}
	id, err := item.required("call_id")
	if err != nil {
		return err
	}
	arguments := ""
	if kind == "custom_tool_call" {
		var input string
		input, err = item.text("input")
		arguments = customArguments(input)
	} else {
		arguments, err = item.text("arguments")
	}
	if err != nil {
		return err
	}
	call := rawjson.Builder{}
	function := rawjson.Builder{}
	name = c.names.named(identity{rawjson.Text(item.raw("namespace")), name})
	function.Member("name", rawjson.String(name))
	function.Member("arguments", rawjson.String(arguments))
	call.Member("id", rawjson.String(id))
	call.Member("type", []byte(`"function"`))
	call.Member("function", function.End())
	turn := c.assistant()
	turn.calls = append(turn.calls, call.End())
	return nil
}

// result takes in what a tool has answered.
func (c *conversation) result(item node) error {
	id, err := item.required("call_id")
	if err != nil {
		return err
	}
	if item.raw("output") == nil {
		return wrong(item.path("output"), "is required: a string or a list of parts")
	}
	parts, err := item.parts("output")
	if err != nil {
		return err
	}
	c.all = append(c.all, &chatMessage{role: "tool", content: content(parts), answers: id})
	return nil
}

// thought takes in what the model has thought: as it was, or else its summary. What only OpenAI
// can read is left out.
func (c *conversation) thought(item node) error {
	var all [2]strings.Builder
	for i, key := range []string{"content", "summary"} {
		err := item.each(key, func(part node) error {
			text, err := part.text("text")
			all[i].WriteString(text)
			return err
		})
		if err != nil {
			return err
		}
	}
	text := all[0].String()
	if text == "" {
		text = all[1].String()
	}
	if text != "" {
		c.assistant().reasoning.WriteString(text)
	}
	return nil
}

// content is what parts come to: one text is a string, which every template takes.
func content(parts []json.RawMessage) json.RawMessage {
	switch {
	case len(parts) == 0:
		return []byte(`""`)
	case len(parts) == 1:
		if text, ok := bytes.CutPrefix(parts[0], []byte(textPart)); ok {
			return text[:len(text)-1]
		}
	}
	raw := make([][]byte, len(parts))
	for i, p := range parts {
		raw[i] = p
	}
	return rawjson.List(raw)
}

const textPart = `{"type":"text","text":`

// plain is a part that is a text, of a JSON string.
func plain(text []byte) json.RawMessage { return slices.Concat([]byte(textPart), text, []byte{'}'}) }

// parts returns what a field has of content, in the words of a chat: a string is one part.
func (n node) parts(key string) (parts []json.RawMessage, err error) {
	raw := n.raw(key)
	switch {
	case raw == nil:
		return nil, nil
	case raw[0] == '"':
		return []json.RawMessage{plain(raw)}, nil
	case raw[0] != '[':
		return nil, wrong(n.path(key), "must be a string or a list of parts")
	}
	err = n.each(key, func(part node) error {
		one, err := part.part()
		parts = append(parts, one)
		return err
	})
	return parts, err
}

// part puts one part of content into the words of a chat.
func (n node) part() (json.RawMessage, error) {
	kind, err := n.required("type")
	if err != nil {
		return nil, err
	}
	key := "text"
	switch kind {
	case "input_text", "output_text", "text", "summary_text", "reasoning_text":
	case "refusal":
		key = "refusal"
	case "input_image":
		return n.image()
	case "input_file":
		return n.file()
	case "input_audio":
		audio, given, err := n.inner("input_audio")
		if err == nil && !given {
			err = wrong(n.path("input_audio"), "is required: an object")
		}
		return slices.Concat([]byte(`{"type":"input_audio","input_audio":`), audio.Apply(), []byte{'}'}), err
	default:
		return nil, wrong(n.path("type"), "must be input_text, input_image, input_file, output_text or refusal, not %q",
			short(kind))
	}
	raw := n.raw(key)
	if raw == nil || raw[0] != '"' {
		return nil, wrong(n.path(key), "is required: a string")
	}
	return plain(raw), nil
}

func (n node) image() (json.RawMessage, error) {
	raw := n.raw("image_url")
	switch {
	case raw != nil && raw[0] == '"':
		return slices.Concat([]byte(`{"type":"image_url","image_url":{"url":`), raw, []byte(`}}`)), nil
	case raw == nil && n.raw("file_id") != nil:
		return nil, wrong(n.path("file_id"), "is not to be had here: files are not stored. Use image_url")
	}
	return nil, wrong(n.path("image_url"), "is required: a string, as a data: URL")
}

// file returns a file that is text as such, under its name.
func (n node) file() (json.RawMessage, error) {
	for _, key := range []string{"file_id", "file_url"} {
		if n.raw(key) != nil {
			return nil, wrong(n.path(key), "is not to be had here: files are not stored or fetched. Use file_data")
		}
	}
	data, err := n.required("file_data")
	if err != nil {
		return nil, err
	}
	name, err := n.text("filename")
	if err != nil {
		return nil, err
	}
	if rest, is := strings.CutPrefix(data, "data:"); is {
		_, data, _ = strings.Cut(rest, ",")
	}
	text, err := base64.StdEncoding.DecodeString(data)
	if err != nil {
		return nil, wrong(n.path("file_data"), "must be base64, as a data: URL")
	}
	if !utf8.Valid(text) || bytes.IndexByte(text, 0) >= 0 || bytes.HasPrefix(text, []byte("%PDF-")) {
		return nil, wrong(n.path("file_data"), "is of a file that is no text; only texts are to be had here")
	}
	if name != "" {
		name += "\n"
	}
	return plain(rawjson.String(name + string(text))), nil
}
