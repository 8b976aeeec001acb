package dialect

import (
	"bytes"
	"time"

	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/proxy/anthropic"
	"github.com/loragate/loragate/internal/proxy/legacy"
	"github.com/loragate/loragate/internal/proxy/pieces"
	"github.com/loragate/loragate/internal/proxy/responses"
	"github.com/loragate/loragate/internal/proxy/tally"
	"github.com/loragate/loragate/internal/proxy/tools"
	"github.com/loragate/loragate/internal/proxy/whole"
	"github.com/loragate/loragate/internal/rawjson"
)

// Renamer puts the client's name of a model into answers.
type Renamer struct {
	API    *API
	Model  string            // the name that the client asked for
	Hidden []string          // fields of llama-server's own answer that the client did not ask for
	Piece  *pieces.Numbering // of one of several prompts whose answers are one stream; nil is none
	Legacy *legacy.Options   // what a completion of the older kind has beside its text; nil is nothing
	Topped bool              // each token's likeliest ones were asked for by us alone

	Functions bool // the client knows functions, of which there is one call, and no tools

	Responded *responses.Asked // what a response tells of its request

	response *responses.Stream // of the Rewriter that was used last; nil is none
}

// Head is what the answer in the middle of other text begins with.
func (r *Renamer) Head(id string) legacy.Head {
	return legacy.Head{ID: "cmpl-" + id, Model: r.Model, Created: time.Now().Unix()}
}

// Complete gives an answer that llama-server gave whole, and that is no error, what the client's
// API promises and llama-server leaves out.
func (r *Renamer) Complete(text []byte) []byte {
	if r.API != Chat {
		return text
	}
	answer, _ := rawjson.Scan(text)
	return r.choices(answer, func(choice rawjson.Object) rawjson.Object {
		var edits []rawjson.Edit
		if _, told := choice.Raw("logprobs"); !told {
			edits = append(edits, rawjson.Edit{Key: "logprobs", Value: []byte("null")})
		}
		message, ok := choice.Inner("message")
		if _, told := message.Raw("refusal"); ok && !told {
			edits = append(edits, rawjson.Edit{Key: "message",
				Value: message.Apply(rawjson.Edit{Key: "refusal", Value: []byte("null")})})
		}
		choice, _ = rawjson.Scan(choice.Apply(edits...))
		return r.untop(choice)
	}).Apply()
}

// choices changes each choice of an answer or of an event.
func (r *Renamer) choices(o rawjson.Object, change func(rawjson.Object) rawjson.Object) rawjson.Object {
	raw, ok := o.Raw("choices")
	if !ok {
		return o
	}
	choices := rawjson.Elements(raw)
	for i, text := range choices {
		if choice, ok := rawjson.Scan(text); ok {
			choices[i] = change(choice).Apply()
		}
	}
	o, _ = rawjson.Scan(o.Apply(rawjson.Edit{Key: "choices", Value: rawjson.List(choices)})) // an edited object stays one
	return o
}

// untop takes out of a choice which tokens were likeliest, if only we have asked for them.
func (r *Renamer) untop(choice rawjson.Object) rawjson.Object {
	logprobs, ok := choice.Inner("logprobs")
	if !ok || !r.Topped {
		return choice
	}
	raw, _ := logprobs.Raw("content")
	tokens := rawjson.Elements(raw)
	for i, text := range tokens {
		token, _ := rawjson.Scan(text)
		for _, key := range []string{"top_logprobs", "top_probs"} {
			if _, told := token.Raw(key); told {
				tokens[i] = token.Apply(rawjson.Edit{Key: key, Value: []byte("[]")})
			}
		}
	}
	logprobs, _ = rawjson.Scan(logprobs.Apply(rawjson.Edit{Key: "content", Value: rawjson.List(tokens)}))
	choice, _ = rawjson.Scan(choice.Apply(rawjson.Edit{Key: "logprobs", Value: logprobs.Apply()}))
	return choice
}

// Rename puts the name that the client asked for into an answer or an event,
// where llama-server's own stands.
func (r *Renamer) Rename(o rawjson.Object) []byte {
	if len(r.Hidden) > 0 && whole.EndsCompletion(o) { // others have all fields
		edits := make([]rawjson.Edit, len(r.Hidden))
		for i, key := range r.Hidden {
			edits[i].Key = key
		}
		o, _ = rawjson.Scan(o.Apply(edits...))
	}
	if r.Piece != nil {
		o = r.Piece.Renumber(o)
	}
	name := rawjson.Edit{Key: "model", Value: rawjson.String(r.Model)}
	if _, named := o.Raw("model"); named {
		return o.Apply(name)
	}
	return o.Apply()
}

// ForClient returns a whole answer, which has the client's name of the model, in its API's terms, by
// what llama-server was asked and the request's id. It reports false for what is no answer.
func (r *Renamer) ForClient(text []byte, asked rawjson.Object, requestID string) ([]byte, bool) {
	switch {
	case r.API.Messages:
		return anthropic.Answer(text, anthropic.AskedIn(asked))
	case r.API.Responses:
		return responses.Answer(text, r.Responded, r.Model)
	case r.Legacy != nil:
		return r.Legacy.Answer(text, r.Head(requestID))
	}
	return r.Told(text), true
}

// Failure renders an error as the events that end a stream, of which the client may have some.
func (r *Renamer) Failure(e *httpkit.Error, requestID string) []byte {
	if r.response != nil {
		return r.response.Failure(e)
	}
	return r.API.Failure(e, requestID)
}

// Told returns an answer, or an event of one, in the client's words.
func (r *Renamer) Told(answer []byte) []byte {
	if !r.Functions {
		return answer
	}
	return tools.Functions(answer)
}

// RenameAll is Rename for a whole answer, which llama-server's own API gives as an
// array when there were several prompts. It counts what the answer tells. It
// reports false for what is no answer.
func (r *Renamer) RenameAll(t *tally.Tally, text []byte) ([]byte, bool) {
	if trimmed := bytes.TrimLeft(text, " \t\r\n"); len(trimmed) == 0 || trimmed[0] != '[' {
		object, ok := rawjson.Scan(text)
		if !ok {
			return nil, false
		}
		t.Count(object)
		return r.Rename(object), true
	}
	var parts [][]byte
	for _, element := range rawjson.Elements(text) {
		object, ok := rawjson.Scan(element)
		if !ok {
			return nil, false
		}
		t.Count(object)
		parts = append(parts, r.Rename(object))
	}
	return rawjson.List(parts), true
}
