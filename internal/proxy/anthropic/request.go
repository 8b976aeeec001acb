// Package anthropic puts requests of Anthropic's Messages API into the terms of
// OpenAI's chat completions, and the answers back. llama-server has the Messages
// API itself, but drops the fields there that choose an adapter and a slot.
package anthropic

import (
	"cmp"
	"encoding/json"
	"errors"
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
	Role    string      `json:"role"`
	Content list[block] `json:"content"`
}

// chatMessage is a message in OpenAI's terms.
type chatMessage struct {
	Role       string     `json:"role"`
	Content    any        `json:"content,omitempty"` // a string or a []chatPart
	Reasoning  string     `json:"reasoning_content,omitempty"`
	ToolCalls  []chatCall `json:"tool_calls,omitempty"`
	ToolCallID string     `json:"tool_call_id,omitempty"`

	// What a user or an assistant says and thinks is put together at the end: the turns of
	// one side may be many.
	said    []chatPart
	thought []string
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
// another meaning for, and those of a chat completion that are none of this API: it has other
// names for them, or answers could not tell of them. llama-server reads none of those here either.
var messagesOnly = []string{
	"system", "tools", "tool_choice", "stop_sequences", "metadata", "thinking", "output_config", "n", "n_cmpl",
	"stop", "n_predict", "max_completion_tokens", "max_output_tokens", "response_format", "json_schema", "functions",
	"function_call", "parallel_tool_calls", "reasoning_effort", "thinking_budget_tokens", "logprobs", "top_logprobs",
	"n_probs", "stream_options",
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
		system   list[leaf]
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
		if _, err := decode(body, f.key, f.to); err != nil {
			return nil, err
		}
	}
	if len(r.messages) == 0 {
		return nil, wrong("messages", "at least one message is required")
	}
	if r.limit != nil && (*r.limit < 0 || *r.limit != math.Trunc(*r.limit)) {
		return nil, wrong("max_tokens", "must be a whole number of at least 0")
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
	tools, err := offer(r.tools)
	if err != nil {
		return nil, err
	}
	if len(tools.chat) > 0 {
		set("tools", tools.chat)
	}
	if err := r.choice.apply(tools, set); err != nil {
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

// decode is body.Decode, whose errors name the value that is of another type.
func decode(body rawjson.Object, key string, to any) (bool, error) {
	given, err := body.Decode(key, to)
	if err == nil {
		return given, nil
	}
	m := &rawjson.Mismatch{}
	errors.As(err, &m)
	return given, wrong(key+m.Path, "must %s", cmp.Or(m.Must, "be what the Messages API takes there"))
}

// thinking turns reasoning on or off, for templates that can, and bounds it.
func thinking(body rawjson.Object, set func(key string, value any)) error {
	var t struct {
		Type   string   `json:"type"`
		Budget *float64 `json:"budget_tokens"`
	}
	given, err := decode(body, "thinking", &t)
	if err != nil || !given {
		return err
	}
	if t.Type == "enabled" && t.Budget != nil {
		if n := *t.Budget; n < 1 || n > math.MaxInt32 || n != math.Trunc(n) {
			return wrong("thinking.budget_tokens", "must be a whole number from 1 to %d", math.MaxInt32)
		}
		set("thinking_budget_tokens", int(*t.Budget))
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
	if _, err := decode(body, "output_config", &c); err != nil {
		return err
	}
	if c.Effort != "" {
		set("reasoning_effort", c.Effort)
	}
	if c.Format == nil {
		return nil
	}
	if c.Format.Type != "json_schema" {
		return wrong("output_config.format", "must be of the type json_schema")
	}
	if len(c.Format.Schema) == 0 || string(c.Format.Schema) == "null" {
		c.Format.Schema = json.RawMessage("{}") // any JSON
	}
	set("response_format", map[string]any{
		"type":        "json_schema",
		"json_schema": map[string]any{"name": "output", "strict": true, "schema": c.Format.Schema},
	})
	return nil
}

func chatMessages(system list[leaf], messages []message) ([]chatMessage, error) {
	var all []chatMessage
	if text := prompt(system); text != "" {
		all = append(all, systemMessage(text))
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
			more = []chatMessage{systemMessage(prompt(leaves(m.Content)))}
		default:
			err = wrong(at+".role", "must be user or assistant")
		}
		if err != nil {
			return nil, err
		}
		all = join(all, more)
	}
	for i := range all {
		all[i].finish()
	}
	return all, nil
}

func systemMessage(text string) chatMessage {
	return chatMessage{Role: "system", said: []chatPart{{Type: "text", Text: text}}}
}

// join appends messages. What one side says in turn is one message, as it is to Anthropic's
// models: templates of chats may take no other order than one of each. So are the system prompts
// before all else, of which many templates take one only.
func join(all, more []chatMessage) []chatMessage {
	if len(all) == 0 || len(more) == 0 {
		return append(all, more...)
	}
	last, next := &all[len(all)-1], more[0]
	if last.Role != next.Role || last.Role == "tool" || last.Role == "system" && len(all) > 1 {
		return append(all, more...)
	}
	if silent(last.said) {
		last.said = next.said
	} else if !silent(next.said) {
		last.said = append(last.said, next.said...)
	}
	last.thought = append(last.thought, next.thought...)
	last.ToolCalls = append(last.ToolCalls, next.ToolCalls...)
	return append(all, more[1:]...)
}

// silent reports whether parts say nothing.
func silent(parts []chatPart) bool {
	return !slices.ContainsFunc(parts, func(p chatPart) bool { return p.Type != "text" || p.Text != "" })
}

// finish writes down what has been said and thought. A message that only calls tools has no
// content.
func (m *chatMessage) finish() {
	if m.Content == nil && (len(m.ToolCalls) == 0 || !silent(m.said)) {
		between := "\n"
		if m.Role == "system" {
			between = "\n\n"
		}
		m.Content = plainly(m.said, between)
	}
	m.Reasoning = strings.Join(m.thought, "")
}

// fromUser returns the results of tools, each a message of its own, and what the
// user says beside them.
func fromUser(blocks list[block], at string) (all []chatMessage, err error) {
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
			all = append(all, chatMessage{Role: "tool", ToolCallID: b.ToolUseID, Content: result})
		default:
			text, err := b.piece().words(fmt.Sprintf("%s.content[%d]", at, i))
			if err != nil {
				return nil, err
			}
			parts = append(parts, chatPart{Type: "text", Text: text})
		}
	}
	switch {
	case len(parts) > 0:
	case len(all) == 0:
		return nil, wrong(at+".content", "must not be empty")
	default:
		return all, nil
	}
	return append(all, chatMessage{Role: "user", said: parts}), nil
}

// elsewhere are the blocks of what Anthropic's service did for an answer, beside the results of its
// tools.
var elsewhere = []string{"server_tool_use", "mcp_tool_use", "container_upload", "fallback"}

func fromAssistant(blocks list[block], at string) ([]chatMessage, error) {
	m := chatMessage{Role: "assistant"}
	for i, b := range blocks {
		switch b.Type {
		case "text":
			m.said = append(m.said, chatPart{Type: "text", Text: b.Text})
		case "redacted_thinking": // which cannot be read here
		case "thinking":
			m.thought = append(m.thought, b.Thinking)
		case "tool_use":
			input := string(b.Input)
			if input == "" {
				input = "{}"
			}
			m.ToolCalls = append(m.ToolCalls,
				chatCall{ID: b.ID, Type: "function", Function: chatFunction{Name: b.Name, Arguments: input}})
		case "compaction": // what was said before, in short
			if short := text(b.piece().Content); short != "" {
				m.said = append(m.said, chatPart{Type: "text", Text: short})
			}
		default:
			if slices.Contains(elsewhere, b.Type) || strings.HasSuffix(b.Type, "_tool_result") {
				continue // ran at Anthropic, in an earlier turn
			}
			return nil, wrong(fmt.Sprintf("%s.content[%d].type", at, i), "%q is not to be had here", b.Type)
		}
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
