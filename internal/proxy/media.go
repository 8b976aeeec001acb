package proxy

import (
	"slices"
	"strings"

	"github.com/loragate/loragate/internal/rawjson"
)

// messageFields are where requests have their messages, and with them media.
var messageFields = []string{"messages", "input", "system"}

// checkMedia refuses pictures and sounds that are not in the request itself:
// llama-server would fetch them, from wherever it can reach and the client perhaps
// cannot.
func (p *Proxy) checkMedia(body rawjson.Object) error {
	if p.opts.RemoteMedia {
		return nil
	}
	for _, field := range messageFields {
		raw, ok := body.Raw(field)
		if !ok {
			continue
		}
		if url := remoteIn(raw); url != "" {
			return invalid(field, "Media must be in the request itself, as a data: URL; %q would have to be fetched (limits.remote_media).", shorten(url))
		}
	}
	return nil
}

// contentKeys hold the parts of a message, and of the result of a tool in it. What tools
// are called with is beside them, and is nobody's medium.
var contentKeys = []string{"content", "output"}

// remoteIn returns the first address of a medium in a message, in a part of one, or in a
// list of either, "" if there is none. Every one of duplicate keys counts.
func remoteIn(raw []byte) string {
	for _, element := range rawjson.Elements(raw) {
		if url := remoteIn(element); url != "" {
			return url
		}
	}
	o, ok := rawjson.Scan(raw)
	if !ok {
		return ""
	}
	for key, value := range o.All() {
		url := ""
		switch {
		case isMedia(key):
			url = address(value)
		case slices.Contains(contentKeys, key):
			url = remoteIn(value)
		}
		if url != "" {
			return url
		}
	}
	return ""
}

// address returns the first string in the description of a medium that is an address of
// something else.
func address(raw []byte) string {
	var text string
	if rawjson.Unmarshal(raw, &text) == nil {
		low := strings.ToLower(strings.TrimSpace(text))
		if strings.HasPrefix(low, "http") || strings.HasPrefix(low, "file:") {
			return text
		}
		return ""
	}
	for _, element := range rawjson.Elements(raw) {
		if url := address(element); url != "" {
			return url
		}
	}
	o, _ := rawjson.Scan(raw)
	for _, value := range o.All() {
		if url := address(value); url != "" {
			return url
		}
	}
	return ""
}

// isMedia knows the keys of media in parts of messages, in the APIs of OpenAI and
// Anthropic and in llama-server's own. Their letters' case does not count here: some
// parser might not mind it.
func isMedia(key string) bool {
	key = strings.ToLower(key)
	switch key {
	case "source", "input_audio", "input_video", "file":
		return true
	}
	return strings.HasSuffix(key, "_url")
}
