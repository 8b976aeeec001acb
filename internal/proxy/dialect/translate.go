package dialect

import (
	"errors"

	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/proxy/anthropic"
	"github.com/loragate/loragate/internal/proxy/responses"
	"github.com/loragate/loragate/internal/proxy/tools"
	"github.com/loragate/loragate/internal/rawjson"
)

// Translate returns a client's body in the terms in which llama-server is asked, and what a
// response must tell of it.
func (a *API) Translate(body rawjson.Object) (rawjson.Object, *responses.Asked, error) {
	switch {
	case a.Messages:
		body, err := asChat(body)
		return body, nil, err
	case a.Responses:
		return fromResponses(body)
	case a.Tools:
		body, err := tools.Chat(body)
		return body, nil, err
	}
	return body, nil, nil
}

// responseKeys are the fields of the Responses API of which everything is looked at.
var responseKeys = []string{"input", "tools", "tool_choice", "text", "reasoning", "metadata", "include"}

// fromResponses returns the body of a chat completion that asks for the same as one of the
// Responses API.
func fromResponses(body rawjson.Object) (rawjson.Object, *responses.Asked, error) {
	if err := checkPieces(body, responseKeys); err != nil {
		return body, nil, err
	}
	text, asked, err := responses.Chat(body)
	var wrong *responses.RequestError
	switch {
	case errors.As(err, &wrong):
		return body, nil, httpkit.Invalid(wrong.Field, "%s", wrong.Message)
	case err != nil:
		return body, nil, err
	}
	body, err = rawjson.Parse(text)
	return body, asked, err
}

// maxPieces bounds what a conversation that is translated consists of: each message
// and block, and each of their fields, is decoded.
const maxPieces = 1 << 17

// piecesOf reports how many there are in a field.
func piecesOf(body rawjson.Object, key string) (n int) {
	raw, _ := body.Raw(key)
	rawjson.Walk(raw, func(t rawjson.Token) bool {
		if t.Kind != rawjson.Close {
			n++
		}
		return n <= maxPieces
	})
	return n
}

// checkPieces refuses a body that has too many.
func checkPieces(body rawjson.Object, keys []string) error {
	for _, key := range keys {
		if piecesOf(body, key) > maxPieces {
			return httpkit.Invalid(key, "The field %q has more than %d values.", key, maxPieces)
		}
	}
	return nil
}

// messageKeys are the fields of the Messages API of which everything is looked at.
var messageKeys = []string{"messages", "system", "tools", "output_config", "tool_choice", "thinking"}

// asChat returns the body of a chat completion that asks for the same.
func asChat(body rawjson.Object) (rawjson.Object, error) {
	if err := checkPieces(body, messageKeys); err != nil {
		return body, err
	}
	text, err := anthropic.Chat(body)
	var wrong *anthropic.RequestError
	switch {
	case errors.As(err, &wrong):
		return body, httpkit.Invalid(wrong.Field, "%s", wrong.Message)
	case err != nil:
		return body, err
	}
	return rawjson.Parse(text)
}
