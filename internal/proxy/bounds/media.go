package bounds

import (
	"bytes"
	"slices"
	"strings"

	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/rawjson"
)

// messageFields are where requests have their messages, and with them media.
var messageFields = []string{"messages", "input", "system"}

// checkMedia refuses pictures and sounds that are not in the request itself:
// llama-server would fetch them, from wherever it can reach and the client perhaps
// cannot.
func checkMedia(body rawjson.Object) error {
	for _, field := range messageFields {
		raw, ok := body.Raw(field)
		if !ok {
			continue
		}
		if url := remoteIn(raw); url != "" {
			return httpkit.Invalid(field,
				"Media must be in the request itself, as a data: URL; %q would have to be fetched (limits.remote_media).",
				httpkit.Shorten(url))
		}
	}
	return nil
}

// contentKeys hold the parts of a message, and of the result of a tool in it. What tools
// are called with is beside them, and is nobody's medium.
var contentKeys = []string{"content", "output"}

// place is what a value in a request's messages is.
type place int

const (
	beside  place = iota // nothing in which media would be looked for
	message              // a message, a part of one, or a list of either
	medium               // the description of a medium
	address              // where it is, if that is a string; else its description
)

// below is the place of an object's member. The case of its key's letters does not count:
// some parser might not mind it.
func (pl place) below(key []byte) place {
	switch name := strings.ToLower(rawjson.Text(key)); {
	case pl != beside && strings.HasSuffix(name, "_url") || pl == medium && name == "url":
		return address
	case pl == message && isMedia(name):
		return medium
	case pl == message && slices.Contains(contentKeys, name):
		return message
	case pl == message:
		return beside
	}
	return pl
}

// remoteIn returns the first address of a medium in a request's messages, "" if there is
// none. Every one of duplicate keys counts. It goes over the text once and builds nothing
// of it.
func remoteIn(raw []byte) (url string) {
	var open []place // the brackets that are open
	next := message  // the next value
	rawjson.Walk(raw, func(t rawjson.Token) bool {
		inner := message
		if len(open) > 0 {
			inner = open[len(open)-1]
		}
		switch t.Kind {
		case rawjson.Key:
			next = inner.below(t.Raw)
			return true
		case rawjson.Open:
			if next == address {
				next = medium
			}
			open = append(open, next)
			return true
		case rawjson.Close:
			open = open[:len(open)-1]
		case rawjson.Value:
			if next == medium && isRemote(t.Raw) || next == address && !isHere(t.Raw) {
				url = rawjson.Text(t.Raw)
			}
		}
		if next = message; len(open) > 0 {
			next = open[len(open)-1]
		}
		return url == ""
	})
	return url
}

// isRemote reports whether a value is an address of something elsewhere.
func isRemote(raw []byte) bool {
	if raw[0] != '"' || bytes.HasPrefix(raw, []byte(`"data:`)) { // spares a picture from being copied
		return false
	}
	low := strings.ToLower(strings.TrimSpace(rawjson.Text(raw)))
	return strings.HasPrefix(low, "http") || strings.HasPrefix(low, "file:")
}

// isHere reports whether a value is no address, or one of what stands in the request.
func isHere(raw []byte) bool {
	if raw[0] != '"' || bytes.HasPrefix(raw, []byte(`"data:`)) {
		return true
	}
	where := strings.ToLower(rawjson.Text(raw))
	return where == "" || strings.HasPrefix(where, "data:")
}

// isMedia knows the keys of media in parts of messages, beside those of addresses, in the
// APIs of OpenAI and Anthropic and in llama-server's own.
func isMedia(key string) bool {
	return key == "source" || key == "input_audio" || key == "input_video" || key == "file"
}
