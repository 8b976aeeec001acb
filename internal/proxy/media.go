package proxy

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/loragate/loragate/internal/rawjson"
)

// mediaFields are where requests have their messages, and with them pictures.
var mediaFields = []string{"messages", "input", "system"}

// checkMedia refuses pictures and sounds that are not in the request itself:
// llama-server would fetch them, from wherever it can reach and the client perhaps
// cannot.
func (p *Proxy) checkMedia(body rawjson.Object) error {
	if p.opts.RemoteMedia {
		return nil
	}
	for _, field := range mediaFields {
		raw, ok := body.Raw(field)
		if !ok || !mayHaveMedia(raw) {
			continue
		}
		var value any
		if json.Unmarshal(raw, &value) != nil {
			continue // too deep, for one; llama-server does not get it
		}
		if url := remote(value, false); url != "" {
			return invalid(field, "Media must be in the request itself, as a data: URL; %q would have to be fetched (limits.remote_media).", shorten(url))
		}
	}
	return nil
}

// mediaKeys are in every text that has a key of media: those of isMedia, or the one
// way to write their letters otherwise.
var mediaKeys = [][]byte{[]byte("_url"), []byte("source"), []byte("input_audio"), []byte("input_video"), []byte(`\u`)}

// mayHaveMedia spares most requests from being decoded.
func mayHaveMedia(raw []byte) bool {
	return slices.ContainsFunc(mediaKeys, func(key []byte) bool { return bytes.Contains(raw, key) })
}

// remote returns the first address of a medium that is not data. media says that the
// value is one.
func remote(value any, media bool) string {
	switch v := value.(type) {
	case string:
		low := strings.ToLower(strings.TrimSpace(v))
		if media && (strings.HasPrefix(low, "http") || strings.HasPrefix(low, "file:")) {
			return v
		}
	case []any:
		for _, element := range v {
			if url := remote(element, media); url != "" {
				return url
			}
		}
	case map[string]any:
		for key, member := range v {
			if url := remote(member, media || isMedia(key)); url != "" {
				return url
			}
		}
	}
	return ""
}

// isMedia knows the keys of media in the APIs of OpenAI and Anthropic and in
// llama-server's own.
func isMedia(key string) bool {
	switch key {
	case "source", "input_audio", "input_video":
		return true
	}
	return strings.HasSuffix(key, "_url")
}
