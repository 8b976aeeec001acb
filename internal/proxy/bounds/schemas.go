package bounds

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/loragate/loragate/internal/grammar"
	"github.com/loragate/loragate/internal/httpkit"
	"github.com/loragate/loragate/internal/lru"
	"github.com/loragate/loragate/internal/rawjson"
	"github.com/loragate/loragate/internal/schema"
)

// keptSchemas bounds what is remembered of schemas that have been rewritten.
var keptSchemas = lru.Limits{Entries: 1024, Weight: 8 << 20}

// held is what became of a schema.
type held struct {
	text []byte
	err  error
}

// Schemas rewrites the schemas of answers. It remembers what it has made of them. It is safe for
// concurrent use.
type Schemas struct {
	most int64 // bytes of one

	mu    sync.Mutex // guards known
	known *lru.Set[[sha256.Size]byte, held]
}

// NewSchemas returns one for schemas of so many bytes at most, which a Checker refuses beyond.
func NewSchemas(most int64) *Schemas {
	return &Schemas{most: most, known: lru.NewWeighted(keptSchemas, weigh)}
}

func weigh(_ [sha256.Size]byte, h held) int64 { return int64(len(h.text)) + 256 }

// Hold rewrites the schema that an answer must satisfy to what llama-server's grammar holds, or
// refuses it: llama-server would leave out what it does not know, and say nothing. format is the
// client's name of response_format, "" is that.
func (c *Schemas) Hold(body rawjson.Object, format string) (rawjson.Object, error) {
	var edits []rawjson.Edit
	if raw, ok := body.Raw("json_schema"); ok && raw[0] == '{' {
		text, err := c.held(raw, "json_schema", false)
		if err != nil {
			return body, err
		}
		edits = append(edits, rawjson.Edit{Key: "json_schema", Value: text})
	}
	if o, ok := body.Inner("response_format"); ok {
		text, err := c.holdFormat(o, format)
		if err != nil {
			return body, err
		}
		edits = append(edits, rawjson.Edit{Key: "response_format", Value: text})
	}
	changed := false
	for _, e := range edits {
		raw, _ := body.Raw(e.Key)
		changed = changed || string(raw) != string(e.Value)
	}
	if !changed {
		return body, nil
	}
	return rawjson.Parse(body.Apply(edits...))
}

// holdFormat is Hold for a response_format.
func (c *Schemas) holdFormat(o rawjson.Object, format string) ([]byte, error) {
	kind, _ := o.Raw("type")
	outer, path := o, "response_format.schema"
	switch string(kind) {
	case `"json_object"`:
	case `"json_schema"`:
		path = "response_format.json_schema.schema"
		if format != "" {
			path = format + ".format.schema"
		}
		outer, _ = o.Inner("json_schema")
	default:
		return o.Apply(), nil
	}
	raw, ok := outer.Raw("schema")
	if !ok || raw[0] != '{' {
		return o.Apply(), nil
	}
	strict, _ := outer.Raw("strict")
	text, err := c.held(raw, path, string(strict) == "false")
	if err != nil {
		return nil, err
	}
	edit := rawjson.Edit{Key: "schema", Value: text}
	if string(kind) == `"json_object"` {
		return o.Apply(edit), nil
	}
	return o.Apply(rawjson.Edit{Key: "json_schema", Value: outer.Apply(edit)}), nil
}

// held returns a schema as it can be held. With loose, one that cannot is left as it is: its
// client has said that answers need not satisfy it.
func (c *Schemas) held(raw json.RawMessage, path string, loose bool) ([]byte, error) {
	if int64(len(raw)) > c.most || grammar.Depth(raw) > grammar.MaxDepth {
		return raw, nil // a Checker says so
	}
	key := sha256.Sum256(raw)
	c.mu.Lock()
	h, known := c.known.Get(key)
	c.mu.Unlock()
	if !known {
		h.text, h.err = schema.Hold(raw)
		if h.err == nil && int64(len(h.text)) > c.most {
			h.text, h.err = nil, fmt.Errorf("takes %d bytes once its alternatives are written out, more than %d "+
				"(limits.grammar)", len(h.text), c.most)
		}
		c.mu.Lock()
		_, _ = c.known.Put(key, h) // fails only where all entries are pinned, and none is
		c.mu.Unlock()
	}
	switch {
	case h.err == nil:
		return h.text, nil
	case loose:
		return raw, nil
	}
	return nil, unheld(path, h.err)
}

// unheld names the field that a schema cannot be held for.
func unheld(path string, err error) error {
	var why *schema.Unheld
	if !errors.As(err, &why) {
		return httpkit.Invalid(path, "The schema in %q %s.", path, err)
	}
	at := path
	if why.Path() != "" {
		at += "." + why.Path()
	}
	return httpkit.Invalid(httpkit.Shorten(at), "The schema in %q cannot be held, at %q: %s.", path,
		httpkit.Shorten(at), why)
}
