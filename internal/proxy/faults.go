package proxy

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// fault is a mistake in a request that llama-server finds by itself, and answers with a
// status of its own making, often 500, or without a word on where it is. Its message is
// all that tells what it was.
type fault struct {
	says   string   // in llama-server's message
	fields []string // the first of them that the request has is the one at fault
	means  string   // said in place of the message, if a client could make nothing of that
	code   string
}

var (
	grammarFields = []string{"grammar", "json_schema", "response_format", "tools"}
	promptFields  = []string{"prompt", "messages", "input", "content", "documents", "texts"}
)

var faults = []fault{
	{says: "failed to parse grammar", fields: grammarFields, means: "makes no grammar that llama-server can read"},
	{says: "Unexpected empty grammar stack", fields: grammarFields, means: "leaves no way to go on: the answer came to where no token is allowed"},
	{says: "JSON schema conversion failed", fields: grammarFields[1:]},
	{says: "JSON schema error", fields: grammarFields[1:]},
	{says: "Cannot use both json_schema and grammar", fields: grammarFields},
	{says: "Cannot use custom grammar constraints with tools", fields: grammarFields},
	{says: "Failed to parse tools", fields: []string{"tools"}},
	{says: "Failed to parse messages", fields: promptFields},
	{says: " input is not supported", fields: promptFields},
	{says: "model does not support multimodal requests", fields: promptFields},
	{says: "is too large to process", fields: promptFields, code: "context_length_exceeded"},
	{says: "Prompt contains invalid tokens", fields: promptFields},
	{says: "Unknown reasoning format", fields: []string{"reasoning_format"}},
	{says: "'messages' is required", fields: []string{"messages"}, means: "is missing"},
}

// blame makes an error of llama-server's the request's own, if that is at fault: it names
// the field.
func (r *request) blame(e *apiError) {
	for _, f := range faults {
		if !strings.Contains(e.Message, f.says) {
			continue
		}
		key := r.atFault(f.fields)
		if key == "" {
			continue
		}
		says := f.means
		if says == "" {
			says = "is refused by llama-server: " + shorten(e.Message)
		}
		e.Status, e.Type, e.Param = http.StatusBadRequest, typeInvalid, r.nameOf(key)
		e.Message = fmt.Sprintf("The field %q %s.", e.Param, says)
		if f.code != "" {
			e.Code = f.code
		}
		return
	}
}

// atFault returns the first of the fields that says more than its default, else the first
// that the request has at all, as "tools": 0. A mistake that can only be in one field is
// that one's, though it may be that it is not there. "" is none.
func (r *request) atFault(fields []string) string {
	has := func(key string) bool { _, there := r.body.Raw(key); return there }
	for _, is := range []func(string) bool{r.given, has} {
		if at := slices.IndexFunc(fields, is); at >= 0 {
			return fields[at]
		}
	}
	if len(fields) == 1 {
		return fields[0]
	}
	return ""
}

// nameOf is the client's name of a field that llama-server gets.
func (r *request) nameOf(key string) string {
	switch {
	case key == "response_format" && r.endpoint.messages:
		return "output_config"
	case key == "response_format" && r.endpoint.inner == responseKey:
		return "text"
	}
	return key
}
