// Package dialect knows the APIs in which llama-server is asked and clients are answered, and
// puts the client's name of a model where an answer has llama-server's.
package dialect

import (
	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/proxy/anthropic"
	"github.com/loragate/loragate/internal/proxy/failure"
	"github.com/loragate/loragate/internal/proxy/pieces"
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
	// Messages says that requests and answers are those of Anthropic's Messages API,
	// and llama-server is asked for a chat completion.
	Messages bool
	// Tools says that requests have OpenAI's tools, or functions.
	Tools bool
	// Format is the client's name of the field response_format; "" is that.
	Format string
	// Merge makes one answer of those to several prompts, with so many choices each. It
	// reports false for what are no answers. nil: a request has but one.
	Merge func(answers [][]byte, choices int) ([]byte, bool)
	// Failure renders an error as an event of a stream.
	Failure func(e *httpkit.Error, requestID string) []byte
}

// The APIs.
var (
	Chat = &API{
		Path: "/v1/chat/completions", Prompts: []string{"messages"}, Shape: whole.Chat, Tools: true, Failure: errorEvent,
	}
	Text = &API{
		Path: "/v1/completions", Prompts: []string{"prompt"}, Shape: whole.Text, Merge: pieces.MergeTexts,
		Failure: errorEvent,
	}
	Responses = &API{
		Path: "/v1/responses", Prompts: []string{"input"}, Shape: whole.Response, Format: "text",
		Failure: responseError,
	}
	Messages = &API{
		Path: Chat.Path, Prompts: Chat.Prompts, Shape: whole.Chat, Messages: true, Format: "output_config",
		Failure: messageError,
	}
	Native = &API{
		Path: "/completion", Prompts: []string{"prompt"}, Shape: whole.Native, Merge: pieces.MergeNative,
		Failure: errorEvent,
	}
	Infill = &API{
		Path: "/infill", Prompts: []string{"input_extra", "input_prefix"}, Shape: whole.Native, Failure: errorEvent,
	}
)

// Asked is what llama-server was asked in a body.
func (a *API) Asked(body rawjson.Object) failure.Asked {
	return failure.Asked{Body: body, Format: a.Format}
}

func errorEvent(e *httpkit.Error, _ string) []byte { return sse.Event("", e.JSON()) }

// responseError is an error event of the Responses API, as OpenAI's SDKs read it.
func responseError(e *httpkit.Error, _ string) []byte {
	object, _ := rawjson.Scan(e.JSON()) // our own
	return sse.Event("event: error\n", object.Apply(
		rawjson.Edit{Key: "type", Value: rawjson.String("error")},
		rawjson.Edit{Key: "code", Value: rawjson.String(e.Code)},
		rawjson.Edit{Key: "message", Value: rawjson.String(e.Message)},
	))
}

// messageError is an error event of the Messages API.
func messageError(e *httpkit.Error, requestID string) []byte {
	return sse.Event("event: error\n", anthropic.Error(e.Status, e.Message, requestID))
}
