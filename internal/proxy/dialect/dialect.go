// Package dialect knows the APIs in which llama-server is asked and clients are answered, and
// puts the client's name of a model where an answer has llama-server's.
package dialect

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/proxy/anthropic"
	"github.com/loragate/loragate/internal/proxy/failure"
	"github.com/loragate/loragate/internal/proxy/pieces"
	"github.com/loragate/loragate/internal/proxy/responses"
	"github.com/loragate/loragate/internal/proxy/sse"
	"github.com/loragate/loragate/internal/proxy/whole"
	"github.com/loragate/loragate/internal/rawjson"
)

// API is what one API for completions has of its own. All that llama-server is asked at
// honour a request's lora and id_slot.
type API struct {
	whole.Shape // of answers

	Path string // llama-server's
	// Prompts are the fields that hold what comes before the first token, by which a
	// conversation is known; the first that is there counts.
	Prompts []string
	// Messages says that requests and answers are those of Anthropic's Messages API, Responses
	// that they are those of OpenAI's Responses API; llama-server is asked for a chat completion.
	Messages, Responses bool
	// Tools says that requests have the tools, or functions, of OpenAI's chats.
	Tools bool
	// Names are what clients call fields that llama-server gets under other names.
	Names map[string]string
	// Merge makes one answer of those to several prompts, with so many choices each. It
	// reports false for what are no answers. nil: a request has but one.
	Merge func(answers [][]byte, choices int) ([]byte, bool)
	// Usage says that a stream tells what it took in an event of its own, to who asks for it.
	Usage bool
	// Failure renders an error as an event of a stream.
	Failure func(e *httpkit.Error, requestID string) []byte
	// Alive is what a stream has in place of an event while there is none, so that it is
	// not taken for dead.
	Alive []byte
}

// Signs of life, of OpenAI's API and of Anthropic's.
var (
	comment = []byte(": keep-alive\n\n")
	ping    = []byte("event: ping\ndata: {\"type\": \"ping\"}\n\n")
)

// The APIs.
var (
	Chat = &API{
		Path: "/v1/chat/completions", Prompts: []string{"messages"}, Shape: whole.Chat, Tools: true, Usage: true,
		Failure: errorEvent, Alive: comment,
	}
	Text = &API{
		Path: "/v1/completions", Prompts: []string{"prompt"}, Shape: whole.Text, Merge: pieces.MergeTexts,
		Usage: true, Failure: errorEvent, Alive: comment,
	}
	// Middle is Text for what goes between a prompt and a suffix.
	Middle = &API{
		Path: "/infill", Prompts: []string{"input_prefix"}, Shape: whole.Native, Usage: true,
		Failure: errorEvent, Alive: comment,
	}
	Responses = &API{
		Path: Chat.Path, Prompts: Chat.Prompts, Shape: whole.Chat, Responses: true,
		Names: map[string]string{
			"messages": "input", "response_format": "text", "max_tokens": "max_output_tokens",
			"reasoning_effort": "reasoning", "tools": "tools",
		},
		Failure: responseError, Alive: comment,
	}
	Messages = &API{
		Path: Chat.Path, Prompts: Chat.Prompts, Shape: whole.Chat, Messages: true,
		Names:   map[string]string{"response_format": "output_config", "stop": "stop_sequences", "tools": "tools"},
		Failure: messageError, Alive: ping,
	}
	Native = &API{
		Path: "/completion", Prompts: []string{"prompt"}, Shape: whole.Native, Merge: pieces.MergeNative,
		Failure: errorEvent, Alive: comment,
	}
	Infill = &API{
		Path: "/infill", Prompts: []string{"input_extra", "input_prefix"}, Shape: whole.Native,
		Failure: errorEvent, Alive: comment,
	}
)

// Asked is what llama-server was asked in a body.
func (a *API) Asked(body rawjson.Object) failure.Asked {
	return failure.Asked{Body: body, Names: a.Names}
}

// InItsWords gives an error that names a field of what llama-server is asked the client's name of
// that.
func (a *API) InItsWords(err error) error {
	var e *httpkit.Error
	if !errors.As(err, &e) {
		return err
	}
	field, inside := e.Param, ""
	if at := strings.IndexAny(field, ".["); at >= 0 {
		field, inside = field[:at], field[at:]
	}
	name := a.Names[field]
	if name == "" {
		return err
	}
	if slices.Contains(remade, field) {
		inside = ""
	}
	own := *e
	own.Param = name + inside
	own.Message = strings.ReplaceAll(e.Message, strconv.Quote(e.Param), strconv.Quote(own.Param))
	return &own
}

// remade are fields that are made anew from those of other APIs: a path inside says nothing to
// their clients.
var remade = []string{"messages", "response_format", "tools"}

func errorEvent(e *httpkit.Error, _ string) []byte { return sse.Event("", e.JSON()) }

// responseError is an error event of the Responses API, as OpenAI's SDKs read it.
func responseError(e *httpkit.Error, _ string) []byte { return new(responses.Stream).Failure(e) }

// messageError is an error event of the Messages API.
func messageError(e *httpkit.Error, requestID string) []byte {
	return sse.Event("event: error\n", anthropic.Error(e.Status, e.Message, requestID))
}
