package dialect

import (
	"encoding/json"
	"errors"
	"slices"

	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/proxy/anthropic"
	"github.com/loragate/loragate/internal/proxy/tools"
	"github.com/loragate/loragate/internal/proxy/whole"
	"github.com/loragate/loragate/internal/rawjson"
)

// Translate returns a client's body in the terms in which llama-server is asked.
func (a *API) Translate(body rawjson.Object) (rawjson.Object, error) {
	switch {
	case a.Messages:
		return asChat(body)
	case a.Tools:
		return tools.Chat(body)
	case a.Inner == whole.ResponseKey:
		return moveFormat(body)
	}
	return body, nil
}

// moveFormat puts the schema that the answer to a request of the Responses API must
// have where llama-server looks for it, as in a chat completion.
func moveFormat(body rawjson.Object) (rawjson.Object, error) {
	var text struct {
		Format json.RawMessage `json:"format"`
	}
	if _, err := body.Decode("text", &text); err != nil {
		return body, httpkit.Invalid("text", "The field \"text\" must be an object.")
	}
	format, ok := rawjson.Scan(text.Format)
	if !ok {
		return body, nil
	}
	edit := rawjson.Edit{Key: "response_format", Value: []byte(text.Format)}
	if kind, _ := format.Raw("type"); string(kind) == `"json_schema"` {
		edit.Value = slices.Concat([]byte(`{"type":"json_schema","json_schema":`),
			format.Apply(rawjson.Edit{Key: "type"}), []byte("}"))
	}
	return rawjson.Parse(body.Apply(edit))
}

// maxPieces bounds what a conversation of the Messages API consists of: each message
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

// asChat returns the body of a chat completion that asks for the same.
func asChat(body rawjson.Object) (rawjson.Object, error) {
	for _, key := range []string{"messages", "system", "tools", "output_config", "tool_choice", "thinking"} {
		if piecesOf(body, key) > maxPieces {
			return body, httpkit.Invalid(key, "The field %q has more than %d values.", key, maxPieces)
		}
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
