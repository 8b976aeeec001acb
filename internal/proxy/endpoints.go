package proxy

import (
	"net/http"
	"slices"
	"strings"

	"github.com/loragate/loragate/internal/proxy/dialect"
)

// endpoint is one for completions.
type endpoint struct {
	*dialect.API

	path string // the gateway's
	// anonymous requests need no model: the default one is meant, or the base.
	anonymous bool
}

var endpoints = []*endpoint{
	{API: dialect.Chat, path: "/v1/chat/completions"},
	{API: dialect.Text, path: "/v1/completions"},
	{API: dialect.Responses, path: "/v1/responses"},
	{API: dialect.Native, path: "/completion", anonymous: true},
	{API: dialect.Messages, path: "/v1/messages"},
	{API: dialect.Infill, path: "/infill", anonymous: true},
}

// ids is the field in which numbers are tokens, whose count bounds.CheckFits bounds.
func (e *endpoint) ids() string {
	if e.hasPrompt() {
		return "prompt"
	}
	return ""
}

// hasPrompt reports whether requests have prompts, of which there may be several.
func (e *endpoint) hasPrompt() bool { return slices.Contains(e.Prompts, "prompt") }

// isMessages reports whether errors of a request are to be Anthropic's.
func isMessages(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/v1/messages") }
