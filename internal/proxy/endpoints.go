package proxy

import (
	"bytes"
	"net/http"
	"slices"
	"strings"

	"github.com/loragate/loragate/internal/anthropic"
	"github.com/loragate/loragate/internal/rawjson"
)

// endpoint is what one endpoint for completions has of its own. All that
// llama-server is asked at honour a request's lora and id_slot.
type endpoint struct {
	path   string // the gateway's
	worker string // llama-server's, if that is another
	// prompts are the fields that hold what comes before the first token, by which a
	// conversation is known; the first that is there counts.
	prompts []string
	// inner is the object in an event that has the model's name and the usage, if
	// they are not the event's own.
	inner string
	// ends tells the event that completes a stream; nil: [DONE] follows it. Several
	// may come, and the stream's end is its end.
	ends func(event rawjson.Object) bool
	// anonymous requests need no model: the default one is meant, or the base.
	anonymous bool
	// messages says that requests and answers are those of Anthropic's Messages API,
	// and llama-server is asked for a chat completion.
	messages bool
	// shape is how answers are told whole, and in events.
	shape shape
	// parses says that llama-server takes answers apart, into thoughts, text and calls.
	parses bool
	// failure renders an error as an event of a stream.
	failure func(e *apiError, requestID string) []byte
}

// responseKey is where events of the Responses API have their response.
const responseKey = "response"

// at is where llama-server is asked.
func (e *endpoint) at() string {
	if e.worker != "" {
		return e.worker
	}
	return e.path
}

// ids is the field in which numbers are tokens, whose count checkFits bounds.
func (e *endpoint) ids() string {
	if slices.Contains(e.prompts, "prompt") {
		return "prompt"
	}
	return ""
}

var endpoints = []*endpoint{
	{path: "/v1/chat/completions", prompts: []string{"messages"}, shape: chatShape{}, parses: true, failure: errorEvent},
	{path: "/v1/completions", prompts: []string{"prompt"}, shape: textShape{}, failure: errorEvent},
	{
		path: "/v1/responses", prompts: []string{"input"}, inner: responseKey, ends: endsResponse,
		shape: responseShape{}, parses: true, failure: responseError,
	},
	{path: "/completion", prompts: []string{"prompt"}, ends: endsCompletion, anonymous: true, shape: nativeShape{}, failure: errorEvent},
	{
		path: "/v1/messages", worker: "/v1/chat/completions", prompts: []string{"messages"}, messages: true,
		shape: chatShape{}, parses: true, failure: messageError,
	},
	{path: "/infill", prompts: []string{"input_extra", "input_prefix"}, ends: endsCompletion, anonymous: true, shape: nativeShape{}, failure: errorEvent},
}

// endsResponse knows the last event of a stream of the Responses API.
func endsResponse(event rawjson.Object) bool {
	kind, _ := event.Raw("type")
	return slices.ContainsFunc([]string{"completed", "incomplete", "failed"}, func(how string) bool {
		return string(kind) == `"response.`+how+`"`
	})
}

// stopKey is where events of llama-server's own API tell whether they are the last.
const stopKey = "stop"

// endsCompletion knows the last event of each prompt of llama-server's own API.
func endsCompletion(event rawjson.Object) bool {
	stop, _ := event.Raw(stopKey)
	return string(stop) == "true"
}

// responseError is an error event of the Responses API, as OpenAI's SDKs read it.
func responseError(e *apiError, _ string) []byte {
	event := e.envelope()
	object, _ := rawjson.Scan(event) // our own
	event = object.Apply(
		rawjson.Edit{Key: "type", Value: rawjson.String("error")},
		rawjson.Edit{Key: "code", Value: rawjson.String(e.Code)},
		rawjson.Edit{Key: "message", Value: rawjson.String(e.Message)},
	)
	return bytes.Join([][]byte{[]byte("event: error\n"), dataPrefix, event, []byte("\n\n")}, nil)
}

// messageError is an error event of the Messages API.
func messageError(e *apiError, requestID string) []byte {
	return bytes.Join([][]byte{[]byte("event: error\n"), dataPrefix, anthropic.Error(e.Status, e.Message, requestID), []byte("\n\n")}, nil)
}

// isMessages reports whether errors of a request are to be Anthropic's.
func isMessages(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/v1/messages") }

// rename puts the name that the client asked for into an answer or an event,
// where llama-server's own stands.
func (r *request) rename(o rawjson.Object) []byte {
	if len(r.hidden) > 0 && endsCompletion(o) { // others have all fields
		edits := make([]rawjson.Edit, len(r.hidden))
		for i, key := range r.hidden {
			edits[i].Key = key
		}
		o, _ = rawjson.Scan(o.Apply(edits...))
	}
	if r.onto != nil {
		o = r.onto.renumber(o)
	}
	name := rawjson.Edit{Key: "model", Value: rawjson.String(r.asked)}
	if _, named := o.Raw("model"); named {
		return o.Apply(name)
	}
	inner, ok := o.Inner(r.endpoint.inner)
	if _, named := inner.Raw("model"); !ok || !named {
		return o.Apply()
	}
	return o.Apply(rawjson.Edit{Key: r.endpoint.inner, Value: inner.Apply(name)})
}

// renameAll is rename for a whole answer, which llama-server's own API gives as an
// array when there were several prompts. It counts what the answer tells. It
// reports false for what is no answer.
func (r *request) renameAll(rec *record, text []byte) ([]byte, bool) {
	if trimmed := bytes.TrimLeft(text, " \t\r\n"); len(trimmed) == 0 || trimmed[0] != '[' {
		object, ok := rawjson.Scan(text)
		if !ok {
			return nil, false
		}
		rec.tally.count(object)
		return r.rename(object), true
	}
	var parts [][]byte
	for _, element := range rawjson.Elements(text) {
		object, ok := rawjson.Scan(element)
		if !ok {
			return nil, false
		}
		rec.tally.count(object)
		parts = append(parts, r.rename(object))
	}
	return slices.Concat([]byte("["), bytes.Join(parts, []byte(",")), []byte("]")), true
}
