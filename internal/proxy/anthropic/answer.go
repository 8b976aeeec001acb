package anthropic

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/loragate/loragate/internal/rawjson"
)

// chatAnswer is what counts of a chat completion, or of a chunk of one.
type chatAnswer struct {
	ID      string `json:"id"`
	Model   string `json:"model"`
	Choices []struct {
		Message      chatDelta `json:"message"`
		Delta        chatDelta `json:"delta"`
		FinishReason string    `json:"finish_reason"`
	} `json:"choices"`
	Usage   *chatUsage `json:"usage"`
	Verbose struct {
		Word string `json:"stopping_word"`
	} `json:"__verbose"`
}

type chatDelta struct {
	Content   string `json:"content"`
	Reasoning string `json:"reasoning_content"`
	ToolCalls []struct {
		Index    int          `json:"index"`
		ID       string       `json:"id"`
		Function chatFunction `json:"function"`
	} `json:"tool_calls"`
}

type chatUsage struct {
	Prompt     int `json:"prompt_tokens"`
	Completion int `json:"completion_tokens"`
	Details    struct {
		Cached int `json:"cached_tokens"`
	} `json:"prompt_tokens_details"`
}

// usage is what a message took, in tokens; the cached ones are not among the
// input's. What Anthropic's tells of more is never there, and its types say that it is null
// then.
type usage struct {
	Input   int     `json:"input_tokens"`
	Cached  int     `json:"cache_read_input_tokens"`
	Output  int     `json:"output_tokens"`
	Created nothing `json:"cache_creation_input_tokens"`
	Details nothing `json:"output_tokens_details"`
	Tools   nothing `json:"server_tool_use"`
}

// wholeUsage is the usage of a whole message.
type wholeUsage struct {
	usage
	Creation nothing `json:"cache_creation"`
	Geo      nothing `json:"inference_geo"`
	Tier     nothing `json:"service_tier"`
	Speed    nothing `json:"speed"`
}

// nothing is always null.
type nothing *struct{}

func (u *chatUsage) usage() usage {
	if u == nil {
		return usage{}
	}
	return usage{Input: u.Prompt - u.Details.Cached, Cached: u.Details.Cached, Output: u.Completion}
}

// stopReasons are OpenAI's finish reasons in Anthropic's words.
var stopReasons = map[string]string{"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use",
	"content_filter": "refusal"}

// ending is why a message ended.
type ending struct {
	Reason    *string `json:"stop_reason"`
	Sequence  *string `json:"stop_sequence"`
	Container nothing `json:"container"`
	Details   nothing `json:"stop_details"`
}

// Asked is what of a request decides how its answer is told.
type Asked struct {
	stop    []byte // the words that were to end it, as JSON
	nothing bool   // the prompt was to be read, and nothing said
}

// AskedIn reads it from a chat completion's body.
func AskedIn(chat rawjson.Object) Asked {
	stop, _ := chat.Raw("stop")
	most, _ := chat.Raw("max_tokens")
	return Asked{stop: stop, nothing: string(most) == "0"} // of which llama-server says one token
}

// endingOf returns why a message ended. The word that did is the client's if it is among those
// that it gave: a chat's template has some of its own.
func (a Asked) endingOf(finish, word string) (e ending) {
	stop := a.stop
	if reason, ok := stopReasons[finish]; ok {
		e.Reason = &reason
	}
	own := [][]byte{stop} // one that is no list
	if len(stop) > 0 && stop[0] == '[' {
		own = rawjson.Elements(stop)
	}
	if word != "" && slices.ContainsFunc(own, func(one []byte) bool { return rawjson.Text(one) == word }) {
		reason := "stop_sequence"
		e.Reason, e.Sequence = &reason, &word
	}
	return e
}

// envelope is a message without its content.
type envelope struct {
	ID          string     `json:"id"`
	Type        string     `json:"type"`
	Role        string     `json:"role"`
	Model       string     `json:"model"`
	Content     []any      `json:"content"`
	Usage       wholeUsage `json:"usage"`
	Diagnostics nothing    `json:"diagnostics"`
	ending
}

func (a *chatAnswer) envelope() envelope {
	return envelope{
		ID: "msg_" + strings.TrimPrefix(a.ID, "chatcmpl-"), Type: "message", Role: "assistant", Model: a.Model,
		Content: []any{}, Usage: wholeUsage{usage: a.Usage.usage()},
	}
}

type textBlock struct {
	Type      string  `json:"type"`
	Text      string  `json:"text"`
	Citations nothing `json:"citations"`
}

type thinkingBlock struct {
	Type      string `json:"type"`
	Thinking  string `json:"thinking"`
	Signature string `json:"signature"`
}

type toolBlock struct {
	Type  string          `json:"type"`
	ID    string          `json:"id"`
	Name  string          `json:"name"`
	Input json.RawMessage `json:"input"`

	Caller caller `json:"caller"`
}

// caller says who called a tool: the model does, and no code of its own.
type caller struct{}

func (caller) MarshalJSON() ([]byte, error) { return []byte(`{"type":"direct"}`), nil }

// Answer returns a chat completion as a message. It reports false for what is no chat
// completion.
func Answer(text []byte, asked Asked) ([]byte, bool) {
	var a chatAnswer
	if json.Unmarshal(text, &a) != nil || len(a.Choices) == 0 {
		return nil, false
	}
	m, choice := a.envelope(), a.Choices[0]
	m.ending = asked.endingOf(choice.FinishReason, a.Verbose.Word)
	if asked.nothing {
		return encode(m), true
	}
	if choice.Message.Reasoning != "" {
		m.Content = append(m.Content, thinkingBlock{Type: "thinking", Thinking: choice.Message.Reasoning})
	}
	if choice.Message.Content != "" {
		m.Content = append(m.Content, textBlock{Type: "text", Text: choice.Message.Content})
	}
	for _, call := range choice.Message.ToolCalls {
		input := json.RawMessage(call.Function.Arguments)
		if !json.Valid(input) {
			input = json.RawMessage("{}") // cut by max_tokens
		}
		m.Content = append(m.Content, toolBlock{"tool_use", call.ID, call.Function.Name, input, caller{}})
	}
	return encode(m), true
}

// Stream turns a chat completion's chunks into a message's events.
type Stream struct {
	Asked Asked

	started bool
	index   int    // of the block that is open, or is next
	open    string // its type; "" is none
	tool    int    // the index of the tool call in it
	finish  string
	word    string // that ended it
	usage   *chatUsage
	out     bytes.Buffer
}

// Prompt says how many tokens of the prompt have been read, and how many of them
// came out of a cache. The first event tells it.
func (s *Stream) Prompt(read, cached int) {
	s.usage = &chatUsage{Prompt: read}
	s.usage.Details.Cached = cached
}

// Begins reports whether no chunk has come.
func (s *Stream) Begins() bool { return !s.started }

// Chunk returns the events that stand for one chunk, none perhaps; they are valid
// until the next call. Text that is no chunk has none.
func (s *Stream) Chunk(text []byte) []byte {
	s.out.Reset()
	var a chatAnswer
	if json.Unmarshal(text, &a) != nil {
		return nil
	}
	if !s.started {
		s.started = true
		m := a.envelope()
		m.Usage.usage = s.usage.usage()
		s.event("message_start", map[string]any{"message": m})
	}
	if a.Usage != nil {
		s.usage = a.Usage
	}
	if a.Verbose.Word != "" {
		s.word = a.Verbose.Word
	}
	if len(a.Choices) == 0 {
		return s.out.Bytes()
	}
	delta := a.Choices[0].Delta
	if s.Asked.nothing {
		delta = chatDelta{}
	}
	if delta.Reasoning != "" {
		s.begin("thinking", 0, thinkingBlock{Type: "thinking"})
		s.delta(map[string]string{"type": "thinking_delta", "thinking": delta.Reasoning})
	}
	if delta.Content != "" {
		s.begin("text", 0, textBlock{Type: "text"})
		s.delta(map[string]string{"type": "text_delta", "text": delta.Content})
	}
	for _, call := range delta.ToolCalls {
		s.begin("tool_use", call.Index, toolBlock{"tool_use", call.ID, call.Function.Name, json.RawMessage("{}"), caller{}})
		if call.Function.Arguments != "" {
			s.delta(map[string]string{"type": "input_json_delta", "partial_json": call.Function.Arguments})
		}
	}
	if finish := a.Choices[0].FinishReason; finish != "" {
		s.finish = finish
	}
	return s.out.Bytes()
}

// End returns the events that complete the message.
func (s *Stream) End() []byte {
	s.out.Reset()
	s.close()
	s.event("message_delta", map[string]any{"delta": s.Asked.endingOf(s.finish, s.word), "usage": s.usage.usage()})
	s.event("message_stop", map[string]any{})
	return s.out.Bytes()
}

// begin opens a block, unless the open one goes on.
func (s *Stream) begin(kind string, tool int, block any) {
	if s.open == kind && s.tool == tool {
		return
	}
	s.close()
	s.open, s.tool = kind, tool
	s.event("content_block_start", map[string]any{"index": s.index, "content_block": block})
}

func (s *Stream) close() {
	if s.open == "" {
		return
	}
	if s.open == "thinking" { // nothing here is signed, but clients wait for it
		s.delta(map[string]string{"type": "signature_delta", "signature": ""})
	}
	s.event("content_block_stop", map[string]any{"index": s.index})
	s.open = ""
	s.index++
}

func (s *Stream) delta(delta map[string]string) {
	s.event("content_block_delta", map[string]any{"index": s.index, "delta": delta})
}

func (s *Stream) event(kind string, fields map[string]any) {
	fields["type"] = kind
	s.out.WriteString("event: " + kind + "\ndata: ")
	s.out.Write(encode(fields))
	s.out.WriteString("\n\n")
}

// errorTypes are Anthropic's types of errors, by status.
var errorTypes = map[int]string{
	400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 403: "permission_error",
	404: "not_found_error",
	413: "request_too_large", 429: "rate_limit_error", 503: "overloaded_error", 504: "timeout_error",
}

// tooLong is how llama-server, and the gateway, say that a prompt does not fit.
var tooLong = regexp.MustCompile(`^request \((?:at least )?(\d+) tokens\) exceeds the available context size \((\d+) tokens\)`)

// inItsWords returns an error's message as Anthropic has it where clients act on the words: of
// a prompt that is too long they make a shorter one.
func inItsWords(message string) string {
	if m := tooLong.FindStringSubmatch(message); m != nil {
		return "prompt is too long: " + m[1] + " tokens > " + m[2] + " maximum"
	}
	return message
}

// Error renders an error as the Messages API does, for an answer of that status.
func Error(status int, message, requestID string) []byte {
	kind := errorTypes[status]
	switch {
	case kind != "":
	case status < 500:
		kind = "invalid_request_error"
	default:
		kind = "api_error"
	}
	return encode(map[string]any{
		"type": "error", "request_id": requestID,
		"error": map[string]string{"type": kind, "message": inItsWords(message)},
	})
}
