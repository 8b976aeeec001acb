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
		if url := remote(raw); url != "" {
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

// remote returns the first address of a medium that is not data: a string in, or
// below, a member whose key is one of media.
func remote(raw []byte) (url string) {
	var within []bool // the open brackets: those in media
	media := false    // the next value is
	rawjson.Walk(raw, func(t rawjson.Token) bool {
		outer := len(within) > 0 && within[len(within)-1]
		switch t.Kind {
		case rawjson.Key:
			media = outer || isMedia(t.Raw)
		case rawjson.Open:
			within, media = append(within, media || outer), media || outer
		case rawjson.Close:
			within = within[:len(within)-1]
			media = len(within) > 0 && within[len(within)-1]
		case rawjson.Value:
			if media && t.Raw[0] == '"' && isRemote(t.Raw) {
				url = text(t.Raw)
			}
			media = outer
		}
		return url == ""
	})
	return url
}

// isRemote reports whether a JSON string is an address of something elsewhere.
func isRemote(raw []byte) bool {
	if bytes.HasPrefix(raw, []byte(`"data:`)) {
		return false // spares a picture from being copied
	}
	low := strings.ToLower(strings.TrimSpace(text(raw)))
	return strings.HasPrefix(low, "http") || strings.HasPrefix(low, "file:")
}

// text is what a JSON string stands for.
func text(raw []byte) (s string) {
	_ = json.Unmarshal(raw, &s) // it is valid
	return s
}

// isMedia knows the keys, as they stand in the text, of media in the APIs of OpenAI and Anthropic and in
// llama-server's own.
func isMedia(raw []byte) bool {
	if bytes.IndexByte(raw, '\\') >= 0 {
		raw = rawjson.String(text(raw))
	}
	switch string(raw) {
	case `"source"`, `"input_audio"`, `"input_video"`:
		return true
	}
	return bytes.HasSuffix(raw, []byte(`_url"`))
}
