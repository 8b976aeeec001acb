package failure

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/rawjson"
)

// Asked is what a worker was asked, as far as it decides whose fault an error is.
type Asked struct {
	Body  rawjson.Object
	Names map[string]string // what the client calls fields that have another name here
}

// FromWorker puts llama-server's own error into OpenAI's envelope and terms. It
// keeps the status, but where it is the request's own fault; text is the answer's body.
func FromWorker(asked Asked, status int, text []byte) *httpkit.Error {
	e := &httpkit.Error{Status: status, Type: httpkit.TypeServer, Message: http.StatusText(status)}
	if status < 500 {
		e.Type = httpkit.TypeInvalid
	}
	var body struct {
		Error struct {
			Message string `json:"message"`
			Type    string `json:"type"`
			Prompt  int    `json:"n_prompt_tokens"`
			Context int    `json:"n_ctx"`
		} `json:"error"`
	}
	if json.Unmarshal(text, &body) != nil || body.Error.Message == "" {
		e.Cause = fmt.Errorf("llama-server answered %d: %s", status, httpkit.Shorten(string(text)))
		return e
	}
	e.Message = body.Error.Message
	if body.Error.Type == "exceed_context_size_error" {
		e.Type, e.Code = httpkit.TypeInvalid, "context_length_exceeded"
		e.Prompt, e.Context = body.Error.Prompt, body.Error.Context
	}
	if status >= http.StatusInternalServerError && !strings.Contains(e.Message, unreadArguments) &&
		slices.ContainsFunc(unparsed, func(says string) bool { return strings.Contains(e.Message, says) }) {
		e.Cause = ErrUnparsed
		if strings.Contains(e.Message, brokenDiff) {
			e.Cause = ErrUnstreamed
		}
	}
	asked.blame(e)
	inPlainWords(e)
	return e
}

// ErrUnparsed is the cause of errors for an answer that llama-server could not take apart, into
// text and calls of tools. The answer is there, and is text.
var ErrUnparsed = errors.New("the answer is no call of a tool")

// ErrUnstreamed is ErrUnparsed for an answer that may well be taken apart once it is whole.
var ErrUnstreamed = fmt.Errorf("the parts of the answer do not add up: %w", ErrUnparsed)

// unparsed is how llama-server says so (common_chat_parse, common_chat_msg_diff).
var unparsed = []string{"does not match the expected", "Failed to parse tool call", brokenDiff}

// brokenDiff is how llama-server says that what it made of an answer's beginning is no beginning of
// what it makes of more.
const brokenDiff = "Invalid diff"

// unreadArguments is how llama-server says that a call in a request's history cannot be put into
// the chat's template.
const unreadArguments = "Failed to parse tool call arguments as JSON"

// FromEvent is FromWorker for an error that came as an event of a stream: there
// the status is in the error itself.
func FromEvent(asked Asked, raw json.RawMessage) *httpkit.Error {
	var body struct {
		Code int `json:"code"`
	}
	if json.Unmarshal(raw, &body) != nil || body.Code < 400 || body.Code > 599 {
		body.Code = http.StatusInternalServerError
	}
	return FromWorker(asked, body.Code, append(append([]byte(`{"error":`), raw...), '}'))
}

// fault is a mistake in a request that llama-server finds by itself, and answers with a
// status of its own making, often 500, or without a word on where it is. Its message is
// all that tells what it was.
type fault struct {
	says   string   // in llama-server's message
	fields []string // the first of them that the request has is the one at fault
	means  string   // said in place of the message, if a client could make nothing of that
	code   string
	absent bool // it may be that the field is not there
	// within returns the path of what is at fault in the field's value, "" if nothing is.
	within func(value []byte, field string) string
}

var (
	grammarFields = []string{"grammar", "json_schema", "response_format", "tools"}
	promptFields  = []string{"prompt", "messages", "input", "content", "documents", "texts"}
)

var faults = []fault{
	{says: "failed to parse grammar", fields: grammarFields, means: "makes no grammar that llama-server can read"},
	{says: "Unexpected empty grammar stack", fields: grammarFields,
		means: "leaves no way to go on: the answer came to where no token is allowed"},
	{says: "JSON schema conversion failed", fields: grammarFields[1:]},
	{says: "JSON schema error", fields: grammarFields[1:]},
	{says: "Cannot use both json_schema and grammar", fields: grammarFields},
	{says: "Cannot use custom grammar constraints with tools", fields: grammarFields},
	{says: "Failed to parse tools", fields: []string{"tools"}},
	{says: "Failed to parse messages", fields: promptFields},
	{says: unreadArguments, fields: promptFields,
		means: "has a call of a tool whose \"arguments\" are no JSON: where there are none, they are \"{}\""},
	{says: " input is not supported", fields: promptFields},
	{says: "model does not support multimodal requests", fields: promptFields},
	{says: "elements must be a string, a list of tokens", fields: promptFields, within: oddPrompt,
		means: "must be a text, a list of tokens, or a list of those or of texts and tokens"},
	{says: "type must be string", fields: promptFields[:1], within: oddPrompt, means: "must be a text"},
	{says: "\"prompt\" must not be empty", fields: promptFields, means: "must not be empty"},
	{says: "key 'prompt' not found", fields: promptFields[:1], absent: true,
		means: "is missing: a text, or a list of tokens"},
	{says: "logprobs is not supported with tools + stream", fields: []string{"logprobs", "top_logprobs"},
		means: "is not to be had in streams with tools"},
	{says: "is too large to process", fields: promptFields, code: "context_length_exceeded"},
	{says: "Prompt contains invalid tokens", fields: promptFields},
	{says: "Unknown reasoning format", fields: []string{"reasoning_format"}},
	{says: "Infill is not supported by this model", fields: []string{"suffix"},
		means: "is not to be had of this base, which has no tokens for the middle of a text: leave it out, or serve a " +
			"base that has them, as many that write code do"},
	{says: "'messages' is required", fields: []string{"messages"}, means: "is missing", absent: true},
}

// blame makes an error of llama-server's the request's own, if that is at fault: it names
// the field.
func (a Asked) blame(e *httpkit.Error) {
	if key, says, ok := ofField(e.Message); ok {
		e.Status, e.Type, e.Param = http.StatusBadRequest, httpkit.TypeInvalid, a.nameOf(key)
		e.Message = fmt.Sprintf("The field %q %s.", e.Param, says)
		return
	}
	if says, fails := ofTemplate(e.Message); fails {
		e.Cause = fmt.Errorf("llama-server says: %s", httpkit.Shorten(e.Message))
		e.Status, e.Type, e.Param = http.StatusBadRequest, httpkit.TypeInvalid, a.nameOf("messages")
		e.Message = fmt.Sprintf("The field %q %s.", e.Param, says)
		return
	}
	for _, f := range faults {
		if !strings.Contains(e.Message, f.says) {
			continue
		}
		key := a.atFault(f)
		if key == "" {
			continue
		}
		param := a.nameOf(key)
		if f.within != nil {
			value, _ := a.Body.Raw(key)
			if param = httpkit.Shorten(f.within(value, param)); param == "" {
				continue
			}
		}
		says := f.means
		if says == "" {
			says = "is refused by llama-server: " + httpkit.Shorten(e.Message)
		}
		e.Status, e.Type, e.Param = http.StatusBadRequest, httpkit.TypeInvalid, param
		e.Message = fmt.Sprintf("The field %q %s.", e.Param, says)
		if f.code != "" {
			e.Code = f.code
		}
		return
	}
}

// atFault returns the first of the fields that says more than its default, else the first
// that the request has at all, as "tools": 0. "" is none.
func (a Asked) atFault(f fault) string {
	has := func(key string) bool { _, there := a.Body.Raw(key); return there }
	for _, is := range []func(string) bool{a.Body.Given, has} {
		if at := slices.IndexFunc(f.fields, is); at >= 0 {
			return f.fields[at]
		}
	}
	if f.absent {
		return f.fields[0]
	}
	return ""
}

// nameOf is the client's name of a field that llama-server gets.
func (a Asked) nameOf(key string) string {
	if name := a.Names[key]; name != "" {
		return name
	}
	if (key == "n" || key == "n_cmpl") && a.Body.Given("best_of") {
		return "best_of"
	}
	return key
}
