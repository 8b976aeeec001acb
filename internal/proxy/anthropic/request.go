// Package anthropic puts requests of Anthropic's Messages API into the terms of
// OpenAI's chat completions, and the answers back. llama-server has the Messages
// API itself, but drops the fields there that choose an adapter and a slot.
package anthropic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/loragate/loragate/internal/rawjson"
)

// RequestError says what is wrong with a request.
type RequestError struct {
	Field   string
	Message string
}

func (e *RequestError) Error() string { return e.Message }

func wrong(field, format string, args ...any) *RequestError {
	return &RequestError{Field: field, Message: field + ": " + fmt.Sprintf(format, args...)}
}

// message is one of a conversation.
type message struct {
	Role    string  `json:"role"`
	Content content `json:"content"`
}

// content is a string, which stands for one block of text, or a list of blocks.
type content []block

func (c *content) UnmarshalJSON(text []byte) error {
	if bytes.HasPrefix(text, []byte{'"'}) {
		b := block{Type: "text"}
		if err := rawjson.Unmarshal(text, &b.Text); err != nil {
			return err
		}
		*c = content{b}
		return nil
	}
	return rawjson.Unmarshal(text, (*[]block)(c))
}

// block is one piece of a message; which fields count depends on its type.
type block struct {
	Type      string          `json:"type"`
	Text      string          `json:"text"`
	Thinking  string          `json:"thinking"`
	Source    *source         `json:"source"`
	ID        string          `json:"id"`
	Name      string          `json:"name"`
	Input     json.RawMessage `json:"input"`
	ToolUseID string          `json:"tool_use_id"`
	Content   content         `json:"content"`
	IsError   bool            `json:"is_error"`
}

// source is an image.
type source struct {
	Type      string `json:"type"`
	MediaType string `json:"media_type"`
	Data      string `json:"data"`
	URL       string `json:"url"`
}

type tool struct {
	Type        string          `json:"type"`
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Schema      json.RawMessage `json:"input_schema"`
}

// chatMessage is a message in OpenAI's terms.
type chatMessage struct {
	Role       string     `json:"role"`
	Content    any        `json:"content,omitempty"` // a string or a []chatPart
	Reasoning  string     `json:"reasoning_content,omitempty"`
	ToolCalls  []chatCall `json:"tool_calls,omitempty"`
	ToolCallID string     `json:"tool_call_id,omitempty"`
}

type chatPart struct {
	Type  string     `json:"type"`
	Text  string     `json:"text,omitempty"`
	Image *chatImage `json:"image_url,omitempty"`
}

type chatImage struct {
	URL string `json:"url"`
}

type chatCall struct {
	ID       string       `json:"id"`
	Type     string       `json:"type"`
	Function chatFunction `json:"function"`
}

type chatFunction struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

// messagesOnly are fields of the Messages API that a chat completion does not have, or has
// another meaning for.
var messagesOnly = []string{
	"system", "tools", "tool_choice", "stop_sequences", "metadata", "thinking", "output_config", "n", "n_cmpl",
}

// Chat returns the body of a chat completion that asks for the same. Fields that
// neither API gives another meaning stay as they are. The error is a
// *RequestError.
func Chat(body rawjson.Object) ([]byte, error) {
	var r struct {
		messages []message
		system   content
		tools    []tool
		choice   *toolChoice
		limit    int
		stream   bool
	}
	for _, f := range []struct {
		key string
		to  any
	}{{"messages", &r.messages}, {"system", &r.system}, {"tools", &r.tools}, {"tool_choice", &r.choice},
		{"max_tokens", &r.limit}, {"stream", &r.stream}} {
		if _, err := body.Decode(f.key, f.to); err != nil {
			return nil, wrong(f.key, "is not what the Messages API takes there")
		}
	}
	if len(r.messages) == 0 {
		return nil, wrong("messages", "at least one message is required")
	}
	if r.limit < 1 {
		return nil, wrong("max_tokens", "must be a whole number of at least 1")
	}
	messages, err := chatMessages(r.system, r.messages)
	if err != nil {
		return nil, err
	}
	edits := []rawjson.Edit{{Key: "messages", Value: encode(messages)}}
	for _, gone := range messagesOnly {
		edits = append(edits, rawjson.Edit{Key: gone})
	}
	set := func(key string, value any) {
		edits = slices.DeleteFunc(edits, func(e rawjson.Edit) bool { return e.Key == key })
		edits = append(edits, rawjson.Edit{Key: key, Value: encode(value)})
	}
	if stop, ok := body.Raw("stop_sequences"); ok {
		set("stop", stop)
	}
	if len(r.tools) > 0 {
		tools, err := chatTools(r.tools)
		if err != nil {
			return nil, err
		}
		set("tools", tools)
	}
	if err := r.choice.apply(set); err != nil {
		return nil, err
	}
	if err := thinking(body, set); err != nil {
		return nil, err
	}
	if err := output(body, set); err != nil {
		return nil, err
	}
	if r.stream {
		set("stream_options", map[string]bool{"include_usage": true})
	}
	return body.Apply(edits...), nil
}

// thinking turns reasoning on or off, for templates that can.
func thinking(body rawjson.Object, set func(key string, value any)) error {
	var t struct {
		Type string `json:"type"`
	}
	given, err := body.Decode("thinking", &t)
	if err != nil {
		return wrong("thinking", "must be an object with a type")
	}
	if !given {
		return nil
	}
	kwargs, ok := body.Raw("chat_template_kwargs")
	if !ok || string(kwargs) == "null" {
		kwargs = []byte("{}")
	}
	own, ok := rawjson.Scan(kwargs)
	if !ok {
		return wrong("chat_template_kwargs", "must be an object")
	}
	set("chat_template_kwargs",
		json.RawMessage(own.Apply(rawjson.Edit{Key: "enable_thinking", Value: encode(t.Type != "disabled")})))
	return nil
}

// output turns the schema that an answer must have, and the effort, into OpenAI's.
func output(body rawjson.Object, set func(key string, value any)) error {
	var c struct {
		Effort string `json:"effort"`
		Format *struct {
			Type   string          `json:"type"`
			Schema json.RawMessage `json:"schema"`
		} `json:"format"`
	}
	if _, err := body.Decode("output_config", &c); err != nil {
		return wrong("output_config", "is not what the Messages API takes there")
	}
	if c.Effort != "" {
		set("reasoning_effort", c.Effort)
	}
	if c.Format == nil {
		return nil
	}
	if c.Format.Type != "json_schema" || len(c.Format.Schema) == 0 {
		return wrong("output_config.format", "must be of the type json_schema and have a schema")
	}
	set("response_format", map[string]any{
		"type":        "json_schema",
		"json_schema": map[string]any{"name": "output", "strict": true, "schema": c.Format.Schema},
	})
	return nil
}

// toolChoice says whether and which tools are used.
type toolChoice struct {
	Type     string `json:"type"`
	Name     string `json:"name"`
	OneAtMax bool   `json:"disable_parallel_tool_use"`
}

func (t *toolChoice) apply(set func(key string, value any)) error {
	if t == nil {
		return nil
	}
	switch t.Type {
	case "auto", "none":
		set("tool_choice", t.Type)
	case "any":
		set("tool_choice", "required")
	case "tool":
		set("tool_choice", map[string]any{"type": "function", "function": map[string]string{"name": t.Name}})
	default:
		return wrong("tool_choice.type", "must be auto, any, tool or none")
	}
	if t.OneAtMax {
		set("parallel_tool_calls", false)
	}
	return nil
}

func chatTools(tools []tool) ([]any, error) {
	list := make([]any, len(tools))
	for i, t := range tools {
		if t.Type != "" && t.Type != "custom" {
			return nil, wrong(fmt.Sprintf("tools[%d].type", i),
				"%q runs at Anthropic, and is not to be had here", t.Type)
		}
		if t.Name == "" {
			return nil, wrong(fmt.Sprintf("tools[%d].name", i), "is required")
		}
		function := map[string]any{"name": t.Name, "description": t.Description}
		if len(t.Schema) > 0 {
			function["parameters"] = t.Schema
		}
		list[i] = map[string]any{"type": "function", "function": function}
	}
	return list, nil
}

func chatMessages(system content, messages []message) ([]chatMessage, error) {
	var list []chatMessage
	if text := system.text(); text != "" {
		list = append(list, chatMessage{Role: "system", Content: text})
	}
	for i, m := range messages {
		at := fmt.Sprintf("messages[%d]", i)
		var more []chatMessage
		var err error
		switch m.Role {
		case "user":
			more, err = fromUser(m.Content, at)
		case "assistant":
			more, err = fromAssistant(m.Content, at)
		default:
			err = wrong(at+".role", "must be user or assistant")
		}
		if err != nil {
			return nil, err
		}
		list = append(list, more...)
	}
	return list, nil
}

// text returns the text of all blocks.
func (c content) text() string {
	var all []string
	for _, b := range c {
		if b.Type == "text" {
			all = append(all, b.Text)
		}
	}
	return strings.Join(all, "\n")
}

// fromUser returns the results of tools, each a message of its own, and what the
// user says beside them.
func fromUser(blocks content, at string) (list []chatMessage, err error) {
	var parts []chatPart
	for i, b := range blocks {
		switch b.Type {
		case "text":
			parts = append(parts, chatPart{Type: "text", Text: b.Text})
		case "image":
			image, err := b.Source.image(fmt.Sprintf("%s.content[%d]", at, i))
			if err != nil {
				return nil, err
			}
			parts = append(parts, image)
		case "tool_result":
			text := b.Content.text()
			if b.IsError {
				text = "Error: " + text
			}
			list = append(list, chatMessage{Role: "tool", ToolCallID: b.ToolUseID, Content: text})
		default:
			return nil, wrong(fmt.Sprintf("%s.content[%d].type", at, i), "%q is not to be had here", b.Type)
		}
	}
	switch {
	case len(parts) > 0:
	case len(list) == 0:
		return nil, wrong(at+".content", "must not be empty")
	default:
		return list, nil
	}
	text := slices.IndexFunc(parts, func(p chatPart) bool { return p.Type != "text" }) < 0
	if text {
		return append(list, chatMessage{Role: "user", Content: blocks.text()}), nil
	}
	return append(list, chatMessage{Role: "user", Content: parts}), nil
}

func (s *source) image(at string) (chatPart, error) {
	switch {
	case s != nil && s.Type == "base64":
		return chatPart{Type: "image_url", Image: &chatImage{URL: "data:" + s.MediaType + ";base64," + s.Data}}, nil
	case s != nil && s.Type == "url":
		return chatPart{Type: "image_url", Image: &chatImage{URL: s.URL}}, nil
	}
	return chatPart{}, wrong(at+".source", "must be of type base64 or url")
}

func fromAssistant(blocks content, at string) ([]chatMessage, error) {
	m := chatMessage{Role: "assistant"}
	for i, b := range blocks {
		switch b.Type {
		case "text", "redacted_thinking": // what is redacted cannot be read here
		case "thinking":
			m.Reasoning += b.Thinking
		case "tool_use":
			input := string(b.Input)
			if input == "" {
				input = "{}"
			}
			m.ToolCalls = append(m.ToolCalls,
				chatCall{ID: b.ID, Type: "function", Function: chatFunction{Name: b.Name, Arguments: input}})
		default:
			return nil, wrong(fmt.Sprintf("%s.content[%d].type", at, i), "%q is not to be had here", b.Type)
		}
	}
	if text := blocks.text(); text != "" || len(m.ToolCalls) == 0 {
		m.Content = text
	}
	return []chatMessage{m}, nil
}

func encode(v any) json.RawMessage {
	if raw, ok := v.(json.RawMessage); ok {
		return raw
	}
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings, numbers and JSON that was decoded always encode
	}
	return text
}
