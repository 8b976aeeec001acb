// Package anthropic puts requests of Anthropic's Messages API into the terms of
// OpenAI's chat completions, and the answers back. llama-server has the Messages
// API itself, but drops the fields there that choose an adapter and a slot.
package anthropic

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math"
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
	Source    *source         `json:"-"`
	SourceRaw json.RawMessage `json:"source"` // an object, or of a search result a string
	Title     string          `json:"title"`
	ToolName  string          `json:"tool_name"`
	ID        string          `json:"id"`
	Name      string          `json:"name"`
	Input     json.RawMessage `json:"input"`
	ToolUseID string          `json:"tool_use_id"`
	Content   content         `json:"content"`
	IsError   bool            `json:"is_error"`
}

func (b *block) UnmarshalJSON(text []byte) error {
	type plain block // without this method
	if err := rawjson.Unmarshal(text, (*plain)(b)); err != nil {
		return err
	}
	if bytes.HasPrefix(b.SourceRaw, []byte{'{'}) {
		return rawjson.Unmarshal(b.SourceRaw, &b.Source)
	}
	return nil
}

// source is an image, or a document.
type source struct {
	Type      string  `json:"type"`
	MediaType string  `json:"media_type"`
	Data      string  `json:"data"`
	URL       string  `json:"url"`
	Content   content `json:"content"`
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

// defaultTokens bounds an answer to a request without a bound, which Anthropic would refuse:
// it is llama-server's.
const defaultTokens = 4096

// Chat returns the body of a chat completion that asks for the same. Fields that
// neither API gives another meaning stay as they are. The error is a
// *RequestError.
func Chat(body rawjson.Object) ([]byte, error) {
	var r struct {
		messages []message
		system   content
		tools    []tool
		choice   *toolChoice
		limit    *float64
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
	if r.limit != nil && (*r.limit < 1 || *r.limit != math.Trunc(*r.limit)) {
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
	if r.limit == nil {
		set("max_tokens", defaultTokens)
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
	if err := r.choice.apply(r.tools, set); err != nil {
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

// thinking turns reasoning on or off, for templates that can, and bounds it.
func thinking(body rawjson.Object, set func(key string, value any)) error {
	var t struct {
		Type   string   `json:"type"`
		Budget *float64 `json:"budget_tokens"`
	}
	given, err := body.Decode("thinking", &t)
	if err != nil {
		return wrong("thinking", "must be an object with a type")
	}
	if !given {
		return nil
	}
	if t.Type == "enabled" && t.Budget != nil {
		set("thinking_budget_tokens", *t.Budget)
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

func chatMessages(system content, messages []message) ([]chatMessage, error) {
	var list []chatMessage
	if text := system.prompt(); text != "" {
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
		case "system": // which is none of Anthropic's roles, and sent all the same
			more = []chatMessage{{Role: "system", Content: m.Content.prompt()}}
		default:
			err = wrong(at+".role", "must be user or assistant")
		}
		if err != nil {
			return nil, err
		}
		list = join(list, more)
	}
	return list, nil
}

// join appends messages. What one side says in turn is one message, as it is to Anthropic's
// models: templates of chats may take no other order than one of each.
func join(list, more []chatMessage) []chatMessage {
	if len(list) == 0 || len(more) == 0 {
		return append(list, more...)
	}
	last, next := &list[len(list)-1], more[0]
	if last.Role != next.Role || last.Role == "tool" || last.Role == "system" {
		return append(list, more...)
	}
	last.Content = both(last.Content, next.Content)
	last.Reasoning += next.Reasoning
	last.ToolCalls = append(last.ToolCalls, next.ToolCalls...)
	return append(list, more[1:]...)
}

// both is the content of two messages as one: a string, or parts if either has some.
func both(a, b any) any {
	if a == nil || b == nil {
		return cmp.Or(a, b)
	}
	first, plain := a.(string)
	second, plainToo := b.(string)
	if plain && plainToo {
		return first + "\n" + second
	}
	return append(parts(a), parts(b)...)
}

func parts(content any) []chatPart {
	if text, is := content.(string); is {
		return []chatPart{{Type: "text", Text: text}}
	}
	list, _ := content.([]chatPart)
	return list
}

// prompt returns the text of all blocks of a system prompt, as llama-server reads it.
func (c content) prompt() string {
	var all strings.Builder
	for _, b := range c {
		if b.Type == "text" {
			all.WriteString(steady(b.Text))
		}
	}
	return all.String()
}

// billing begins the block that Claude Code puts before its system prompt.
const billing = "x-anthropic-billing-header:"

// steady returns a text of a system prompt without what changes with every request, in the
// way of llama-server: the digits after "cch=" of the block that begins with billing are
// all "f". Otherwise no prompt would be like the one before.
func steady(text string) string {
	if !strings.HasPrefix(text, billing) {
		return text
	}
	before, rest, found := strings.Cut(text, "cch=")
	digits, after, ends := strings.Cut(rest, ";")
	if !found || !ends || strings.Trim(digits, "0123456789abcdefABCDEF") != "" {
		return text
	}
	return before + "cch=" + strings.Repeat("f", len(digits)) + ";" + after
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
			result, err := b.result(fmt.Sprintf("%s.content[%d]", at, i))
			if err != nil {
				return nil, err
			}
			list = append(list, chatMessage{Role: "tool", ToolCallID: b.ToolUseID, Content: result})
		default:
			text, err := b.words(fmt.Sprintf("%s.content[%d]", at, i))
			if err != nil {
				return nil, err
			}
			parts = append(parts, chatPart{Type: "text", Text: text})
		}
	}
	switch {
	case len(parts) > 0:
	case len(list) == 0:
		return nil, wrong(at+".content", "must not be empty")
	default:
		return list, nil
	}
	return append(list, chatMessage{Role: "user", Content: plainly(parts, "\n")}), nil
}

// plainly returns parts as one string if all are text, which every template takes.
func plainly(parts []chatPart, between string) any {
	texts := make([]string, len(parts))
	for i, p := range parts {
		if p.Type != "text" {
			return parts
		}
		texts[i] = p.Text
	}
	return strings.Join(texts, between)
}

// result returns what a tool has answered: a string, or parts if there are pictures.
func (b *block) result(at string) (any, error) {
	var parts []chatPart
	if b.IsError {
		parts = append(parts, chatPart{Type: "text", Text: "Error: "})
	}
	for i, c := range b.Content {
		at := fmt.Sprintf("%s.content[%d]", at, i)
		if c.Type == "image" {
			image, err := c.Source.image(at)
			if err != nil {
				return nil, err
			}
			parts = append(parts, image)
			continue
		}
		text, err := c.words(at)
		if err != nil {
			return nil, err
		}
		parts = append(parts, chatPart{Type: "text", Text: text})
	}
	return plainly(parts, ""), nil
}

// words returns a block as text, if it is made of nothing else.
func (b *block) words(at string) (string, error) {
	switch b.Type {
	case "text":
		return b.Text, nil
	case "search_result":
		var origin string
		_ = json.Unmarshal(b.SourceRaw, &origin)
		return strings.Join([]string{b.Title, origin, b.Content.text()}, "\n"), nil
	case "tool_reference":
		return b.ToolName, nil
	case "document":
		switch s := b.Source; {
		case s != nil && s.Type == "text":
			return titled(b.Title, s.Data), nil
		case s != nil && s.Type == "content":
			return titled(b.Title, s.Content.text()), nil
		}
		return "", wrong(at+".source", "only documents that are text are to be had here")
	}
	return "", wrong(at+".type", "%q is not to be had here", b.Type)
}

func titled(title, text string) string {
	if title == "" {
		return text
	}
	return title + "\n" + text
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
			if b.Type == "server_tool_use" || strings.HasSuffix(b.Type, "_tool_result") {
				continue // ran at Anthropic, in an earlier turn
			}
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
