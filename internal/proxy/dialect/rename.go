package dialect

import (
	"bytes"

	"github.com/loragate/loragate/internal/proxy/pieces"
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

	Functions bool // the client knows functions, of which there is one call, and no tools
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
	inner, ok := o.Inner(r.API.Inner)
	if _, named := inner.Raw("model"); !ok || !named {
		return o.Apply()
	}
	return o.Apply(rawjson.Edit{Key: r.API.Inner, Value: inner.Apply(name)})
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
